"""What a cell is, and `scan`, the plain loop over time that every fast backend must equal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

State: TypeAlias = tuple[Tensor, ...]
Gates: TypeAlias = tuple[Tensor, ...]


@dataclass(frozen=True)
class Cell:
    """A recurrent cell: the names of what it computes, and one pure function, the step.

    `step(gates_x, gates_h, state) -> (gates, state)` reads
    `gates_x = weight_ih x_t + bias_ih` and `gates_h = weight_hh h_(t-1) + bias_hh`, both of shape
    (batch, preactivations * hidden_size), and the state before the step, one tensor (batch, size) a name in
    `states`, `h` first. It returns the gates after their non-linearity, one tensor (batch, hidden_size) a
    name in `gates`, and the state after the step. The two shares of the preactivations stay apart because
    the GRU multiplies one of them before it adds the other.
    """

    name: str
    gates: tuple[str, ...]
    states: tuple[str, ...]
    preactivations: int
    step: Callable[[Tensor, Tensor, State], tuple[Gates, State]]


@dataclass(frozen=True)
class Scan:
    """Every state and gate of one pass over time.

    states: a name of the cell -> (time + 1, batch, size); slot 0 is the initial state, slot t + 1 the state
        after step t. Beyond the length of its row a state is held as it was.
    gates: a name of the cell -> (time, batch, hidden_size), after the non-linearity; 0 beyond the length.
    """

    states: dict[str, Tensor]
    gates: dict[str, Tensor]


def step(
    cell: Cell,
    gates_x: Tensor,
    state: State,
    weight_hh: Tensor,
    bias_hh: Tensor | None,
    weight_hr: Tensor | None = None,
) -> tuple[Gates, State]:
    """One step of `cell`: the recurrent share, the cell's equations, then the projection if there is one.

    With `weight_hr` (proj_size, hidden_size) the state that is read at the next step is `weight_hr h_t`
    (Sak, Senior and Beaufays 2014, section 2.2), of size proj_size. Shapes as in `scan`, without time.
    """
    gates, state = cell.step(gates_x, functional.linear(state[0], weight_hh, bias_hh), state)
    if weight_hr is not None:
        state = (functional.linear(state[0], weight_hr), *state[1:])
    return gates, state


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
) -> Scan:
    """Run `cell` over time, one step after another. This loop is the definition of every cell's recurrence.

    gates_x (time, batch, preactivations * hidden_size): the input's share for all steps; finite everywhere,
        also beyond `lengths`, since 0 * NaN is NaN in a gradient.
    state: the initial one, a tensor (batch, size) a name in `cell.states`.
    weight_hh (preactivations * hidden_size, size of h), bias_hh (preactivations * hidden_size,).
    lengths (batch,): row b is read for lengths[b] steps; after them its state is held.
    resets (time, batch) bool: where True, the state of the row is replaced by `fresh` (by zeros if that is
        None) before the step reads it.
    weight_hr (proj_size, hidden_size): see `step`.
    """
    if fresh is None:
        fresh = tuple(torch.zeros_like(each) for each in state)
    states, gates = [state], []
    for t in range(gates_x.shape[0]):
        if resets is not None:
            state = _choose(resets[t], fresh, state)
        gates_t, after = step(cell, gates_x[t], state, weight_hh, bias_hh, weight_hr)
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
