"""A fact planted in sequences, and the states that were reached some steps after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from storyline.layers import Recurrent
from storyline.memory.inside.layer_trace import pieces_of
from storyline.memory.inside.parts import as_ours, in_chunks
from storyline.memory.inside.sample import sample_of
from storyline.memory.steps import MeasureError


@dataclass(frozen=True, eq=False)
class Fact:
    """Something that differs from sequence to sequence, and stands at a known step of each.

    Attributes:
        inputs: as the layer or the function reads them.
        labels: (sequences,), what was planted: classes, as integers, bools or strings, or numbers, as floats.
        planted: (sequences,) the step that holds it, from 0, or one for all.
        lengths: (sequences,) steps of each sequence; None: all are full.
        name: for sentences.

    Raises:
        MeasureError: labels that are not one a sequence, all alike, or not finite; steps that are not integers.
    """

    inputs: Tensor
    labels: ArrayLike
    planted: int | Sequence[int] | NDArray[np.int64] | Tensor
    lengths: Tensor | Sequence[int] | None = None
    name: str = "the fact"
    answers: NDArray[np.generic] = field(init=False, repr=False)
    steps: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the labels and steps, and keep them as arrays: ``answers`` and ``steps``, (sequences,)."""
        labels = self.labels.detach().cpu().numpy() if isinstance(self.labels, Tensor) else self.labels
        answers = np.asarray(labels)
        if answers.ndim != 1 or answers.dtype.kind not in "biufUS":
            raise MeasureError(
                f"the labels of {self.name} have shape {answers.shape} and type {answers.dtype}; one class "
                "(integer, bool, string) or number a sequence was wanted"
            )
        if answers.dtype.kind == "f" and not np.isfinite(answers).all():
            row = int(np.flatnonzero(~np.isfinite(answers))[0])
            raise MeasureError(f"the label of sequence {row} is {answers[row]}; mend it or drop the sequence")
        if len(answers) == 0 or (answers == answers[0]).all():
            came = f"all {answers[0]!s}" if len(answers) else "none"
            raise MeasureError(f"the labels of {self.name} are {came}; a fact must differ between sequences")
        planted = self.planted.detach().cpu().numpy() if isinstance(self.planted, Tensor) else self.planted
        steps = np.asarray(planted)
        if steps.dtype.kind not in "iu" or steps.shape not in ((), answers.shape) or (steps < 0).any():
            raise MeasureError(
                f"planted is {steps.dtype} of shape {steps.shape}; a step, 0 or more, for each of the "
                f"{len(answers)} sequences, or one for all, was wanted"
            )
        object.__setattr__(self, "answers", answers)
        object.__setattr__(self, "steps", np.broadcast_to(steps, answers.shape).astype(np.int64))

    @property
    def numeric(self) -> bool:
        """Whether the labels are numbers, not classes."""
        return self.answers.dtype.kind == "f"


def states_at(
    source: nn.Module | Callable[[Tensor], Tensor],
    fact: Fact,
    lags: Sequence[int],
    letters: str | None,
    rows_at_once: int = 32,
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """The states after step planted + lag: (lags, sequences, units), and the units' names; see `probe_fact`."""
    whole = [isinstance(lag, int | np.integer) and not isinstance(lag, bool) and lag >= 0 for lag in lags]
    if not len(lags) or not all(whole):
        raise MeasureError(
            f"lags are {list(lags)}; at least one whole number of steps, 0 or more, was wanted"
        )
    wanted = fact.steps + np.asarray(lags, dtype=np.int64)[:, None]
    if isinstance(source, nn.Module):
        found, names = _of_layer(source, fact, wanted, letters, rows_at_once)
    elif callable(source):
        found, names = _of_function(source, fact, wanted, rows_at_once)
    else:
        raise MeasureError(
            f"the source is {type(source).__name__}; a recurrent layer or a function was wanted"
        )
    if not np.isfinite(found).all():
        row = int(np.argwhere(~np.isfinite(found))[0, 1])
        raise MeasureError(f"a state of sequence {row} is NaN or infinite; the model has diverged on it")
    return found, names


def _of_layer(
    layer: nn.Module, fact: Fact, wanted: NDArray[np.int64], letters: str | None, rows_at_once: int
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    stack = as_ours(layer)
    sample = sample_of(layer, fact.inputs, fact.lengths)
    _check_reach(fact, wanted, sample.lengths.cpu().numpy())
    read = _letters(stack, letters)
    steps = torch.as_tensor(wanted, device=sample.inputs.device)
    blocks: dict[str, Tensor] = {}
    for piece in pieces_of(sample, rows_at_once=rows_at_once):
        if piece.part.reverse:
            continue
        here = steps[:, piece.rows] - piece.start
        lag, row = ((here >= 0) & (here < piece.input.shape[1])).nonzero(as_tuple=True)
        for letter in read:
            values = piece.after[letter]
            shape = (*wanted.shape, values.shape[-1])
            block = blocks.setdefault(
                letter + piece.part.suffix, values.new_zeros(shape, dtype=torch.float64)
            )
            block[lag, row + piece.rows.start] = values[row, here[lag, row]].double()
    names = tuple(f"{key}[{unit}]" for key, block in blocks.items() for unit in range(block.shape[-1]))
    return torch.cat(list(blocks.values()), -1).cpu().numpy(), names


def _of_function(
    function: Callable[[Tensor], Tensor], fact: Fact, wanted: NDArray[np.int64], rows_at_once: int
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    count = len(fact.answers)
    if not isinstance(fact.inputs, Tensor) or len(fact.inputs) != count:
        came = tuple(fact.inputs.shape) if isinstance(fact.inputs, Tensor) else type(fact.inputs).__name__
        raise MeasureError(
            f"inputs are {came} and there are {count} labels; a tensor of ({count}, ...) was wanted"
        )
    steps, found = torch.as_tensor(wanted), []
    for rows in in_chunks(count, rows_at_once):
        with torch.no_grad():
            states = function(fact.inputs[rows])
        size = rows.stop - rows.start
        if not isinstance(states, Tensor) or states.dim() != 3 or len(states) != size:
            came = tuple(states.shape) if isinstance(states, Tensor) else type(states).__name__
            raise MeasureError(
                f"the function returned {came} for {size} sequences; ({size}, time, size) was wanted"
            )
        lengths = np.full(count, states.shape[1]) if fact.lengths is None else np.asarray(fact.lengths)
        _check_reach(fact, wanted, lengths.clip(max=states.shape[1]))
        found.append(states.detach().cpu().double()[torch.arange(size), steps[:, rows]])
    values = torch.cat(found, 1).numpy()
    return values, tuple(f"state[{unit}]" for unit in range(values.shape[-1]))


def _check_reach(fact: Fact, wanted: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
    """Refuse a step that is asked for and is not there."""
    if len(lengths) != len(fact.answers):
        raise MeasureError(
            f"there are {len(lengths)} sequences and {len(fact.answers)} labels; one each was wanted"
        )
    late = wanted.max(0) >= lengths
    if late.any():
        row = int(np.flatnonzero(late)[0])
        raise MeasureError(
            f"sequence {row} has {lengths[row]} steps and {fact.name} at step {fact.steps[row]}, so that lag "
            f"{wanted.max(0)[row] - fact.steps[row]} lies beyond its end; give longer sequences, or lags up to "
            f"{int((lengths - fact.steps).min()) - 1}"
        )


def _letters(stack: Recurrent, letters: str | None) -> str:
    names = stack.cell.states
    if letters is None:
        return "c" if "c" in names else names[0]
    if not letters or not set(letters) <= set(names):
        raise MeasureError(f"states is {letters!r}; letters out of {''.join(names)!r} were wanted")
    return letters
