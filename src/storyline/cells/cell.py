"""What a cell is, and `scan`, the plain loop over time that every fast backend must equal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from storyline.cells.noise import Noise

State: TypeAlias = tuple[Tensor, ...]
Gates: TypeAlias = tuple[Tensor, ...]


def vector(times: int) -> Callable[[int], tuple[int, ...]]:
    """The shape of a vector of `times` numbers a unit: hidden_size -> (times * hidden_size,)."""
    # A partial of a named function, since a layer that holds a lambda could not be pickled.
    return partial(_vector, times)


def _vector(times: int, hidden_size: int) -> tuple[int, ...]:
    return (times * hidden_size,)


@dataclass(frozen=True)
class OwnParameter:
    """A parameter that only this cell has, beside the weights and biases that every recurrent layer has.

    name: what the layer's suffix is put behind: `peephole_i` becomes `peephole_i_l0`.
    shape: hidden_size -> its shape.
    start: the number that it starts from everywhere; None: uniform on +-1 / sqrt(hidden_size), as torch.nn's.

    One that is called `bias`, of shape (preactivations * hidden_size,), takes the place of bias_ih and bias_hh:
    the layer has neither, and the two shares of the preactivations come to the step without any bias.
    """

    name: str
    shape: Callable[[int], tuple[int, ...]]
    start: float | None = None


@dataclass(frozen=True)
class Cell:
    """A recurrent cell: the names of what it computes, and one pure function, the step.

    `step(gates_x, gates_h, state, *own) -> (gates, state)` reads
    `gates_x = weight_ih x_t + bias_ih` and `gates_h = weight_hh h_(t-1) + bias_hh`, both of shape
    (batch, preactivations * hidden_size), the state before the step, one tensor (batch, size) a name in
    `states`, `h` first, and the cell's own parameters, one tensor for each of `parameters`. It returns the
    gates after their non-linearity, one tensor (batch, hidden_size) a name in `gates`, and the state after the
    step. The two shares of the preactivations stay apart because the GRU multiplies one of them before it
    adds the other.

    heads: h is cut into so many pieces of equal size, and a unit reads only the piece that it belongs to;
        weight_hh then is (preactivations * hidden_size, size of h / heads), see `recurrent_share`.
    """

    name: str
    gates: tuple[str, ...]
    states: tuple[str, ...]
    preactivations: int
    step: Callable[..., tuple[Gates, State]]
    parameters: tuple[OwnParameter, ...] = ()
    heads: int = 1

    @property
    def has_own_bias(self) -> bool:
        """Whether the cell adds its bias itself, so that the layer has neither bias_ih nor bias_hh."""
        return any(each.name == "bias" for each in self.parameters)


@dataclass(frozen=True)
class Scan:
    """Every state and gate of one pass over time.

    states: a name of the cell -> (time + 1, batch, size); slot 0 is the initial state, slot t + 1 the state
        after step t. Beyond the length of its row a state is held as it was.
    gates: a name of the cell -> (time, batch, hidden_size), after the non-linearity; 0 beyond the length.
    """

    states: dict[str, Tensor]
    gates: dict[str, Tensor]


def recurrent_share(h: Tensor, weight_hh: Tensor, bias_hh: Tensor | None, heads: int = 1) -> Tensor:
    """The recurrent share of the preactivations: h (batch, size of h) -> (batch, rows).

    heads: weight_hh (rows, size of h / heads) is block-diagonal. Row g * hidden_size + u belongs to unit u of
    gate g, and reads the piece of h that stands at head u * heads // hidden_size.
    """
    if heads == 1:
        return functional.linear(h, weight_hh, bias_hh)
    size = weight_hh.shape[1]
    blocks = weight_hh.reshape(-1, heads, size, size)  # (gates, heads, units, units read)
    share = torch.einsum("bnk,gnuk->bgnu", h.reshape(-1, heads, size), blocks).flatten(1)
    return share if bias_hh is None else share + bias_hh


def step(
    cell: Cell,
    gates_x: Tensor,
    state: State,
    weight_hh: Tensor,
    bias_hh: Tensor | None,
    weight_hr: Tensor | None = None,
    own: tuple[Tensor, ...] = (),
    noise: Noise | None = None,
) -> tuple[Gates, State]:
    """One step of `cell`: the recurrent share, the cell's equations, the projection, then zoneout.

    With `weight_hr` (proj_size, hidden_size) the state that is read at the next step is `weight_hr h_t`
    (Sak, Senior and Beaufays 2014, section 2.2), of size proj_size. `noise` is that of this step, see
    `Noise.at`. Shapes as in `scan`, without time.
    """
    h = state[0] if noise is None else noise.mask(state[0])
    gates, after = cell.step(gates_x, recurrent_share(h, weight_hh, bias_hh, cell.heads), state, *own)
    if weight_hr is not None:
        after = (functional.linear(after[0], weight_hr), *after[1:])
    return gates, after if noise is None else noise.zone_out(state, after)


def scan(
    cell: Cell,
    gates_x: Tensor,
    state: State,
    weight_hh: Tensor,
    bias_hh: Tensor | None = None,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
    fresh: State | None = None,
    weight_hr: Tensor | None = None,
    own: tuple[Tensor, ...] = (),
    noise: Noise | None = None,
) -> Scan:
    """Run `cell` over time, one step after another. This loop is the definition of every cell's recurrence.

    gates_x (time, batch, preactivations * hidden_size): the input's share for all steps; finite everywhere,
        also beyond `lengths`, since 0 * NaN is NaN in a gradient.
    state: the initial one, a tensor (batch, size) a name in `cell.states`.
    weight_hh (preactivations * hidden_size, size of h / heads), bias_hh (preactivations * hidden_size,).
    lengths (batch,): row b is read for lengths[b] steps; after them its state is held.
    resets (time, batch) bool: where True, the state of the row is replaced by `fresh` (by zeros if that is
        None) before the step reads it.
    weight_hr (proj_size, hidden_size): see `step`.
    own: the cell's own parameters, in the order of `cell.parameters`.
    noise: recurrent dropout and zoneout; what zoneout keeps at a reset is the fresh state.
    """
    if fresh is None:
        fresh = tuple(torch.zeros_like(each) for each in state)
    states, gates = [state], []
    for t in range(gates_x.shape[0]):
        if resets is not None:
            state = _choose(resets[t], fresh, state)
        now = None if noise is None else noise.at(t)
        gates_t, after = step(cell, gates_x[t], state, weight_hh, bias_hh, weight_hr, own, now)
        if lengths is not None:
            inside = t < lengths
            # The state before any reset: a reset beyond the length must not touch what is held.
            after = _choose(inside, after, states[-1])
            gates_t = tuple(torch.where(inside.unsqueeze(-1), gate, 0) for gate in gates_t)
        state = after
        states.append(state)
        gates.append(gates_t)
    return Scan(
        states={
            name: torch.stack(all_) for name, all_ in zip(cell.states, zip(*states, strict=True), strict=True)
        },
        gates={
            name: torch.stack(all_) for name, all_ in zip(cell.gates, zip(*gates, strict=True), strict=True)
        },
    )


def _choose(where: Tensor, yes: State, no: State) -> State:
    """Rows of `yes` where `where` (batch,) is True, else rows of `no`."""
    return tuple(torch.where(where.unsqueeze(-1), a, b) for a, b in zip(yes, no, strict=True))
