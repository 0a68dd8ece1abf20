"""Erase a fact from a layer's state, and leave all else in it as it is, as nearly as can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf
from torch import Tensor, nn

from storyline.layers import Recurrent, State
from storyline.memory.inside.fact_states import Fact, states_at
from storyline.memory.inside.parts import as_ours
from storyline.memory.steps import MeasureError

Array: TypeAlias = NDArray[np.float64]
# What of a fact must be its own, beside those that are kept: of its variance in the sample, and of its directions in
# the state, as a sine; below it, what is erased would be all noise.
_APART = 0.05


@dataclass(frozen=True, eq=False)
class Forgetting:
    """Edits a state so that no linear readout finds a fact in it; made by `forget`.

        _, state = layer(x[:, :step])
        output, _ = layer(x[:, step:], forgetting(state))     # goes on, and has forgotten

    With x the whole state, all letters of all layers side by side,

        x' = x - L R (x - mean)

    Attributes:
        mean: (size,). left: L, (size, directions). right: R, (directions, size).
        sizes: of each letter's state, (layers, size), in the layer's order: h, c.
        name: of the fact.
    """

    mean: Array
    left: Array
    right: Array
    sizes: tuple[tuple[int, int], ...]
    name: str

    @property
    def directions(self) -> int:
        """How many directions are erased: with nothing to keep, one less than the fact has classes, 1 of a number."""
        return int(self.left.shape[1])

    def __call__(self, state: State) -> State:
        """The state without the fact: same shapes, type and device; gradients pass.

        state: as the layer returns it: (layers, batch, size), or (layers, size), a tuple (h, c) of an LSTM.
        """
        given = (state,) if isinstance(state, Tensor) else tuple(state)
        shapes = [tuple(each.shape[:1] + each.shape[-1:]) for each in given]
        if shapes != list(self.sizes) or any(each.dim() not in (2, 3) for each in given):
            raise MeasureError(
                f"the state has the shapes {[tuple(each.shape) for each in given]}; (layers, batch, size) was wanted, "
                f"with layers and size {list(self.sizes)}"
            )
        batched = [each if each.dim() == 3 else each.unsqueeze(1) for each in given]
        flat = torch.cat([each.transpose(0, 1).flatten(1) for each in batched], 1)
        mean, left, right = (torch.as_tensor(each).to(flat) for each in (self.mean, self.left, self.right))
        flat = flat - (flat - mean) @ right.T @ left.T
        edited, start = [], 0
        for each, (layers, size) in zip(given, self.sizes, strict=True):
            part = flat[:, start : start + layers * size].reshape(-1, layers, size)
            edited.append(part.transpose(0, 1).reshape(each.shape))
            start += layers * size
        return edited[0] if isinstance(state, Tensor) else tuple(edited)


def forget(layer: nn.Module, fact: Fact, lags: Sequence[int], keep: Sequence[Fact] = ()) -> Forgetting:
    """What erases a fact from the state of a recurrent layer, in closed form: LEACE (Belrose et al. 2023, theorem 4.3).

    With Sigma_xx the covariance of the states, Sigma_xz that of the states with the fact (a column a class, or the
    number itself), W = Sigma_xx^(-1/2), and P the orthogonal projection on the columns of W Sigma_xz,

        x' = x - W^(-1) P W (x - mean)

    Afterwards every class has the same mean: on these states no linear readout beats a constant, and of all maps of
    which this is true it moves the states least, in the norm of W. A network reads by products and thresholds too.
    One that holds a second fact in another form for every value of the first still tells the first by it, and may
    misread the second without the first. So, with facts to ``keep``, z gets a column for every pair of a value of
    the fact and of a kept one, less what the kept one alone explains, and P becomes the oblique projection on the
    columns of W Sigma_xz that is 0 on those of the kept facts: their class means stay where they are, exactly.

    What is kept are means; the edited state may still be one that the network never met, and what it answers there
    must be asked: `benchmarks/memory/inside.py` does, on both facts.

    Sigma_xx is shrunk as in Ledoit and Wolf 2004, with every number scaled to variance 1, so that few sequences
    suffice; the covariance with the fact is 0 with any W.

    Args:
        layer: a recurrent layer as for `trace`, in one direction.
        fact: what to forget, in a sample of sequences; a few times as many of them as the state has numbers is good.
            Facts that go with it in the sample, and are not kept, go with it from the state.
        lags: the states that it is to be erased from are those after the steps planted + lag, all together.
        keep: facts about the same sequences, of which the labels are read; of them the state should keep all.

    Raises:
        MeasureError: the fact does not fit the layer or the lags; the layer reads in both directions; the state does
            not hold the fact at all; a kept fact goes with it in the sample.
    """
    stack = as_ours(layer)
    letters = stack.cell.states
    _check_layer(stack)
    for other in keep:
        if len(other.answers) != len(fact.answers):
            raise MeasureError(
                f"{other.name} has {len(other.answers)} labels and {fact.name} {len(fact.answers)}; both must be of "
                "the same sequences"
            )
    found, names = states_at(layer, fact, lags, "".join(letters))
    x = found.reshape(-1, found.shape[-1])[:, _in_state_order(names, letters)]
    mean, scale = x.mean(0), x.std(0)
    scale[scale == 0] = 1.0  # a number that never moves holds nothing
    x = (x - mean) / scale
    kept, z = (np.tile(each, (len(found), 1)) for each in _targets(fact, keep))
    values, vectors = np.linalg.eigh(ledoit_wolf(x, assume_centered=True)[0])
    real = (
        values > np.finfo(float).eps * len(values) * values.max()
    )  # the others are directions that never move
    vectors, root = vectors[:, real], np.sqrt(values[real])
    whiten, unwhiten = (vectors / root) @ vectors.T, (vectors * root) @ vectors.T
    basis = _basis(whiten @ (x.T @ z) / len(x), z)
    if not basis.shape[1]:
        raise MeasureError(
            f"the state after lags {list(lags)} holds nothing of {fact.name}; there is nothing to erase"
        )
    others = _basis(whiten @ (x.T @ kept) / len(x), kept)
    readers, sine, _ = np.linalg.svd(basis - others @ (others.T @ basis), full_matrices=False)
    if sine.min() < _APART:
        raise MeasureError(_together("in the state", fact, keep))
    left = basis @ np.linalg.inv(readers.T @ basis)
    start = stack.initial_state(1)
    sizes = tuple(
        (each.shape[0], each.shape[2]) for each in ((start,) if isinstance(start, Tensor) else start)
    )
    return Forgetting(
        mean, scale[:, None] * (unwhiten @ left), (readers.T @ whiten) / scale, sizes, fact.name
    )


def _check_layer(stack: Recurrent) -> None:
    if stack.bidirectional:
        raise MeasureError(
            "the layer is bidirectional, so no single state is handed on; pass one that reads forwards"
        )
    if not set(stack.cell.states) <= {"h", "c"}:
        raise MeasureError(
            f"the states of {stack.cell.name} are {', '.join(stack.cell.states)}, some of which weigh others and mean "
            "nothing when edited alone; a layer whose states are h, or h and c, was wanted"
        )


def _targets(fact: Fact, keep: Sequence[Fact]) -> tuple[Array, Array]:
    """Columns of mean 0 for the kept facts, and for the fact, its pairs with them too, less what they explain."""
    z = own = _columns(fact)
    kept = np.concatenate([np.empty((len(z), 0)), *(_columns(each) for each in keep)], 1)
    if keep:
        z = np.concatenate([z, (z[:, :, None] * kept[:, None, :]).reshape(len(z), -1)], 1)
    z, kept = z - z.mean(0), kept - kept.mean(0)
    left = z - kept @ np.linalg.lstsq(kept, z, rcond=None)[0]
    if left[:, : own.shape[1]].var(0).sum() < _APART * own.var(0).sum():
        raise MeasureError(_together("in these sequences", fact, keep))
    return kept, left


def _together(where: str, fact: Fact, keep: Sequence[Fact]) -> str:
    return (
        f"{where} {fact.name} goes with {' and '.join(each.name for each in keep)}, so that one cannot be forgotten "
        "without the other; give sequences in which they vary apart, or keep fewer facts"
    )


def _basis(columns: Array, targets: Array) -> Array:
    """An orthonormal basis of the columns (size, targets), which are correlations with the targets, up to rounding."""
    vectors, size, _ = np.linalg.svd(columns, full_matrices=False)
    return np.asarray(vectors[:, size > 1e-6 * np.sqrt(targets.var(0).sum())])


def _columns(fact: Fact) -> Array:
    """The fact in columns: the number, or a column a class, 1 where it is that."""
    if fact.numeric:
        return fact.answers.astype(np.float64)[:, None]
    return np.asarray(fact.answers[:, None] == np.unique(fact.answers), dtype=np.float64)


def _in_state_order(names: tuple[str, ...], letters: tuple[str, ...]) -> list[int]:
    """Where the columns stand that come layer by layer, in the order letter by letter, as in a state."""
    by_letter = [[i for i, name in enumerate(names) if name.startswith(f"{letter}_")] for letter in letters]
    return [index for each in by_letter for index in each]
