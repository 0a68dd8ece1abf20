"""Which backend serves a call, and why; and the one door through which layers reach them all."""

from __future__ import annotations

import torch
from torch import Tensor

from storyline.cells import Cell, Noise, Scan, State
from storyline.kernels.fused import OPERATORS, fused
from storyline.kernels.ragged import Ragged, reverse_resets
from storyline.kernels.reference import reference
from storyline.kernels.triton import triton_scan, why_not_triton
from storyline.kernels.weights import Recurrence, Weights

BACKENDS = {"reference": reference, "torch": fused, "triton": triton_scan}


def choose_backend(
    requested: str,
    cell: Cell,
    *,
    trace: bool = False,
    noise: bool = False,
    input: Tensor | None = None,
    plain: bool = True,
    projected: bool = False,
) -> tuple[str, str]:
    """The backend for a call, and the reason.

    requested: "auto", or the name of a backend, which must then serve. trace: every state and gate is wanted.
    noise: the call has a `Noise`. input: what will be read, None while that is unknown; its device and dtype
    count. plain: without lengths and without resets. projected: with a proj_size.
    Raises ValueError where the name is unknown, or where the backend asked for cannot serve.
    """
    if requested == "reference":
        return "reference", "asked for"
    device, dtype = (None, None) if input is None else (input.device, input.dtype)
    obstacles = {
        "torch": _why_not_fused(cell, trace, noise),
        "triton": why_not_triton(cell, device, dtype, trace, noise, projected),
    }
    if requested != "auto":
        if requested not in obstacles:
            wanted = ", ".join(repr(name) for name in ("auto", *BACKENDS))
            raise ValueError(f"backend is {requested!r}; it must be one of {wanted}")
        if (obstacle := obstacles[requested]) is not None:
            raise ValueError(f"backend={requested!r} cannot serve this call: {obstacle}; use backend='auto'")
        return requested, "asked for"
    return _automatic(cell, obstacles, device is not None and device.type == "cuda", plain)


def _automatic(cell: Cell, obstacles: dict[str, str | None], cuda: bool, plain: bool) -> tuple[str, str]:
    """NVIDIA's cuDNN where it has the very call; else our own loop on a GPU; else torch's operator, fed by detours."""
    fused_reason, reason = obstacles["torch"], f"torch has a fused operator for {cell.name}"
    if cuda and not (plain and fused_reason is None):
        if (obstacle := obstacles["triton"]) is None:
            what = cell.name if plain else "lengths and resets"
            return "triton", f"cuDNN has no operator for {what}, and the triton kernels have"
        if fused_reason is not None:
            return "reference", f"{fused_reason}; triton cannot serve: {obstacle}"
        reason += f"; triton cannot serve: {obstacle}"
    return ("torch", reason) if fused_reason is None else ("reference", fused_reason)


def _why_not_fused(cell: Cell, trace: bool, noise: bool) -> str | None:
    if cell.name not in OPERATORS:
        return f"torch has no fused operator for {cell.name}"
    if trace:
        return "a trace was asked for, and torch's fused operators return neither gates nor all states"
    if noise:
        return "torch's fused operators know neither zoneout nor recurrent dropout"
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
    noise: Noise | None = None,
) -> Recurrence:
    """One layer in one direction, on the backend of this name.

    input (time, batch, input_size): 0 in the padding.
    state: the initial one, a tensor (batch, size) a name in `cell.states`; fresh: the one after a reset.
    ragged: where each row ends; None when all are full.
    resets (time, batch) bool: where True, the row starts afresh before it reads the step.
    reverse: read each row from its own last step to its first. The output stays where its step is; of the
        scan, gates too, and states stand so that slot t is the state after step t has been read.
    noise: recurrent dropout and zoneout, in the order of reading.
    """
    run = BACKENDS[backend]
    if not reverse:
        return run(cell, weights, input, state, fresh, ragged, resets, noise)
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
