"""Reading backwards, for backends that only read forwards: turn the rows round, and the results back."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from storyline.cells import Cell, Noise, Scan, State
from storyline.kernels.ragged import Ragged, reverse_resets
from storyline.kernels.weights import Recurrence, Weights


def in_reverse(
    run: Callable[..., Recurrence],
    cell: Cell,
    weights: Weights,
    input: Tensor,
    state: State,
    fresh: State,
    ragged: Ragged | None = None,
    resets: Tensor | None = None,
    noise: Noise | None = None,
) -> Recurrence:
    """`run` with each row read from its own last step to its first; see `backend.recurrence`."""
    time, batch, _ = input.shape
    ends = ragged or Ragged(torch.full((batch,), time, device=input.device), time)
    if resets is not None:
        resets = reverse_resets(resets, ends.lengths)
    done = run(cell, weights, ends.flip(input), state, fresh, ragged, resets, noise)
    return Recurrence(ends.flip(done.output), done.state, done.scan and _turn_round(done.scan, ends))


def _turn_round(scan: Scan, ends: Ragged) -> Scan:
    return Scan(
        states={name: ends.flip_states(values) for name, values in scan.states.items()},
        gates={name: ends.flip(values) for name, values in scan.gates.items()},
    )
