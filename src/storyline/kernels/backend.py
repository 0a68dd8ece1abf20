"""Which backend serves a call, and why; and the one door through which layers reach them all."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from storyline.cells import Cell, Noise, State
from storyline.kernels import native
from storyline.kernels.cpu import cpu, why_not_cpu
from storyline.kernels.fused import OPERATORS, fused, why_not_autocast
from storyline.kernels.ragged import Ragged
from storyline.kernels.reference import reference
from storyline.kernels.reverse import in_reverse
from storyline.kernels.transforms import transform, why_no_kernel, why_plain_operators
from storyline.kernels.triton import triton_scan, why_not_triton
from storyline.kernels.weights import Recurrence, Weights

_SCANS = {"reference": reference, "torch": fused, "cpu": cpu, "triton": triton_scan}
# Those that can run on this machine; the names of the others are known, but nothing stands behind them here.
BACKENDS = tuple(
    name
    for name in _SCANS
    if (name != "cpu" or native.missing is None) and (name != "triton" or torch.cuda.is_available())
)


def choose_backend(
    requested: str,
    cell: Cell,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    trace: bool = False,
    noise: bool = False,
    ragged: bool = False,
    resets: bool = False,
    projected: bool = False,
) -> tuple[str, str]:
    """The backend for a call, and the reason.

    requested: "auto", or the name of a backend, which must then serve. device, dtype: of the layer; None before the
    first call: any. trace: every state and gate is wanted. noise: the call has a `Noise`. ragged: rows end at
    different steps. resets: rows start afresh inside. projected: with a proj_size.
    Raises ValueError where the name is unknown, or where the backend asked for cannot serve.
    """
    if requested not in ("auto", *_SCANS):
        wanted = ", ".join(map(repr, ("auto", *_SCANS)))
        raise ValueError(f"backend is {requested!r}; it must be one of {wanted}")
    if requested == "reference":
        return "reference", "asked for"

    # Asked one by one, since they cost more than a step of the native kernels.
    def obstacle(to: str) -> str | None:
        if to == "cpu":
            return why_not_cpu(cell, device, dtype, trace=trace)
        if to == "triton":
            return why_no_kernel() or why_not_triton(cell, device, dtype, trace, noise, projected)
        return (
            _why_not_fused(cell, trace, noise)
            or why_plain_operators(device, resets=resets)
            or why_not_autocast(cell, device)
        )

    if requested != "auto":
        if (reason := obstacle(requested)) is not None:
            raise ValueError(f"backend={requested!r} cannot serve this call: {reason}; use backend='auto'")
        return requested, "asked for"
    if device is not None and device.type == "cuda":
        return _on_gpu(cell, obstacle, plain=not ragged and not resets)
    if (to_cpu := obstacle("cpu")) is None:
        # Which target it is is known when a graph runs, and not when it is traced.
        if transform() == "graph":
            return "cpu", f"the native kernels (as an operator) serve {cell.name}"
        return native_backend(cell, requested)
    if (to_torch := obstacle("torch")) is None:
        return "torch", f"torch has a fused operator for {cell.name}, and {to_cpu}"
    return "reference", f"{to_torch}, and {to_cpu}"


def native_backend(cell: Cell, requested: str) -> tuple[str, str]:
    """What `choose_backend` returns of an eager call that the native kernels serve."""
    return (
        "cpu",
        f"the native kernels ({native.target()}) serve {cell.name}" if requested == "auto" else "asked for",
    )


def _on_gpu(cell: Cell, obstacle: Callable[[str], str | None], *, plain: bool) -> tuple[str, str]:
    """NVIDIA's cuDNN where it has the very call; else our own loop; else torch's operator, fed by detours."""
    fused_reason, reason = obstacle("torch"), f"torch has a fused operator for {cell.name}"
    if not (plain and fused_reason is None):
        if (to_triton := obstacle("triton")) is None:
            what = cell.name if plain else "lengths and resets"
            return "triton", f"cuDNN has no operator for {what}, and the triton kernels have"
        if fused_reason is not None:
            return "reference", f"{fused_reason}; triton cannot serve: {to_triton}"
        reason += f"; triton cannot serve: {to_triton}"
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
    if backend == "cpu":
        return cpu(cell, weights, input, state, fresh, ragged, resets, noise, reverse=reverse)
    run = _SCANS[backend]
    if reverse:
        return in_reverse(run, cell, weights, input, state, fresh, ragged, resets, noise)
    return run(cell, weights, input, state, fresh, ragged, resets, noise)
