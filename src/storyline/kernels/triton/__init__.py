"""The triton backend: the loop over time inside one kernel, for what cuDNN has no operator for on a GPU.

Ragged rows stop at their own length, and a reset costs a mask; neither pads, sorts, packs nor cuts. float32
is exact to rounding (IEEE products; TF32 where `torch.backends.cuda.matmul.allow_tf32` is set); bfloat16 and
float16 keep the state and all sums in float32.

Its numbers are tested through Triton's interpreter on a CPU, and its kernels are compiled for NVIDIA GPUs in
the tests. **Its speed has not been measured on a GPU**: see docs/decisions/0009.

Triton itself is imported at the first call, since a CPU build of torch comes without it.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional

from storyline.cells import Cell, Noise, State
from storyline.kernels.ragged import Ragged
from storyline.kernels.weights import Recurrence, Weights

CELLS = ("gru", "lstm", "lstm_coupled", "lstm_peephole", "rnn_relu", "rnn_tanh")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def why_not_triton(
    cell: Cell,
    device: torch.device | None,
    dtype: torch.dtype | None,
    trace: bool,
    noise: bool,
    projected: bool,
) -> str | None:
    """What keeps the triton backend from serving a call; None where nothing does, or a device is not known yet."""
    if cell.name not in CELLS:
        return f"there is no triton kernel for {cell.name}"
    if projected:
        return f"there is no triton kernel for {cell.name} with a projection (proj_size)"
    if trace:
        return "a trace was asked for, and the triton kernels return neither gates nor all states"
    if noise:
        return "the triton kernels know neither zoneout nor recurrent dropout"
    if find_spec("triton") is None:
        return "the package triton is not installed; CUDA builds of torch bring it"
    if device is not None and device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return (
            f"the input is on {device.type}, and triton's kernels run on CUDA devices "
            "(on a CPU only in its interpreter, for tests: start with TRITON_INTERPRET=1)"
        )
    if dtype is not None and dtype not in DTYPES:
        return f"the input is {dtype}, and triton's kernels take float32, bfloat16 or float16"
    return None


def triton_scan(
    cell: Cell,
    weights: Weights,
    input: Tensor,
    state: State,
    fresh: State,
    ragged: Ragged | None = None,
    resets: Tensor | None = None,
    noise: Noise | None = None,
) -> Recurrence:
    """One layer in one direction; see `recurrence` for the arguments. Differentiable once."""
    # What choose_backend has refused before.
    assert noise is None
    assert weights.weight_hr is None
    from storyline.kernels.triton.scan import Plan, Scan

    gates_x = functional.linear(input, weights.weight_ih, weights.bias_ih)
    time, batch, _ = input.shape
    lengths = ragged.lengths if ragged is not None else torch.full((batch,), time, device=input.device)
    cuts = None if resets is None else resets.to(torch.uint8).contiguous()
    # Under autocast the projection comes out narrower than the parameters are.
    weight_hh = weights.weight_hh.to(gates_x.dtype)
    bias_hh = None if weights.bias_hh is None else weights.bias_hh.to(gates_x.dtype)
    # The only parameters of their own that cells of this backend have are the peepholes of i, f and o.
    peephole = torch.cat(weights.own) if weights.own else None
    tensors = (gates_x, weight_hh, bias_hh, peephole, *state, *fresh)
    # Here, because inside the function autograd is off, and its needs_input_grad does not know of no_grad.
    save = torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in tensors)
    output, *last = Scan.apply(Plan(cell, lengths, cuts, save), *tensors)  # type: ignore[no-untyped-call]
    return Recurrence(output, tuple(last))
