"""The reference backend: the input projection of all steps at once, then the plain loop of `cells.scan`."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from storyline.cells import Cell, Noise, State, scan
from storyline.kernels.ragged import Ragged
from storyline.kernels.weights import Recurrence, Weights


def reference(
    cell: Cell,
    weights: Weights,
    input: Tensor,
    state: State,
    fresh: State,
    ragged: Ragged | None = None,
    resets: Tensor | None = None,
    noise: Noise | None = None,
) -> Recurrence:
    """One layer in one direction; see `recurrence` for the arguments. The definition, not fast."""
    gates_x = functional.linear(input, weights.weight_ih, weights.bias_ih)
    lengths = None if ragged is None else ragged.lengths
    result = scan(
        cell, gates_x, state, weights.weight_hh, weights.bias_hh, lengths, resets, fresh, weights.weight_hr,
        weights.own, noise,
    )  # fmt: skip
    output = result.states["h"][1:]
    if ragged is not None:
        output = ragged.clear(output)
    return Recurrence(output, tuple(result.states[name][-1] for name in cell.states), result)
