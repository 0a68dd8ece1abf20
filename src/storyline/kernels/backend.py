"""Which backend serves a call, and why; and the one door through which layers reach them all."""

from __future__ import annotations

import torch
from torch import Tensor

from storyline.cells import Cell, Scan, State
from storyline.kernels.fused import OPERATORS, fused, why_not_autocast
from storyline.kernels.ragged import Ragged, reverse_resets
from storyline.kernels.reference import reference
from storyline.kernels.transforms import why_plain_operators
from storyline.kernels.weights import Recurrence, Weights

BACKENDS = {"reference": reference, "torch": fused}


def choose_backend(
    requested: str,
    cell: Cell,
    *,
    trace: bool = False,
    resets: bool = False,
    device: torch.device | None = None,
) -> tuple[str, str]:
    """The backend for a call, and the reason.

    requested: "auto", or the name of a backend, which must then serve. trace: every state and gate is wanted.
    resets: rows start afresh inside. device: where the call runs.
    Raises ValueError where the name is unknown, or where the backend asked for cannot serve.
    """
    if requested == "reference":
        return "reference", "asked for"
    if requested not in ("auto", "torch"):
        wanted = ", ".join(repr(name) for name in ("auto", *BACKENDS))
        raise ValueError(f"backend is {requested!r}; it must be one of {wanted}")
    obstacle = (
        _why_not_fused(cell, trace)
        or why_plain_operators(device, resets=resets)
        or why_not_autocast(cell, device)
    )
    if obstacle is None:
        return "torch", "asked for" if requested == "torch" else f"torch has a fused operator for {cell.name}"
    if requested == "torch":
        raise ValueError(f"backend='torch' cannot serve this call: {obstacle}; use backend='auto'")
    return "reference", obstacle


def _why_not_fused(cell: Cell, trace: bool) -> str | None:
    if cell.name not in OPERATORS:
        return f"torch has no fused operator for {cell.name}"
    if trace:
        return "a trace was asked for, and torch's fused operators return neither gates nor all states"
    return None


def recurrence(
    backend: str,
    cell: Cell,
    weights: Weights,
    input: Tensor,
    state: State,
    fresh: State,
    ragged: Ragged | None = None,
    resets: Tensor | None = None,
    *,
    reverse: bool = False,
) -> Recurrence:
    """One layer in one direction, on the backend of this name.

    input (time, batch, input_size): 0 in the padding.
    state: the initial one, a tensor (batch, size) a name in `cell.states`; fresh: the one after a reset.
    ragged: where each row ends; None when all are full.
    resets (time, batch) bool: where True, the row starts afresh before it reads the step.
    reverse: read each row from its own last step to its first. The output stays where its step is; of the
        scan, gates too, and states stand so that slot t is the state after step t has been read.
    """
    run = BACKENDS[backend]
    if not reverse:
        return run(cell, weights, input, state, fresh, ragged, resets)
    time, batch, _ = input.shape
    ends = ragged or Ragged(torch.full((batch,), time, device=input.device), time)
    if resets is not None:
        resets = reverse_resets(resets, ends.lengths)
    done = run(cell, weights, ends.flip(input), state, fresh, ragged, resets)
    return Recurrence(ends.flip(done.output), done.state, done.scan and _turn_round(done.scan, ends))


def _turn_round(scan: Scan, ends: Ragged) -> Scan:
    return Scan(
        states={name: ends.flip_states(values) for name, values in scan.states.items()},
        gates={name: ends.flip(values) for name, values in scan.gates.items()},
    )
