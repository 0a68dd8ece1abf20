"""The cpu backend: the native kernels of `csrc/`, with their derivative.

Rows of any length, resets and reading backwards are the normal case there; no padding is computed. What is large,
outputs too, comes from `pool`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from storyline.cells import CELLS, Cell, Noise, State
from storyline.kernels import native
from storyline.kernels.arguments import DTYPES, check_call
from storyline.kernels.native_call import Arguments, Call
from storyline.kernels.ragged import Ragged
from storyline.kernels.reference import reference
from storyline.kernels.reverse import in_reverse
from storyline.kernels.transforms import why_no_kernel
from storyline.kernels.weights import Recurrence, Weights

_SERVED = frozenset(native.cells())


def why_not_cpu(
    cell: Cell, device: torch.device | None, dtype: torch.dtype | None, *, trace: bool = False
) -> str | None:
    """Why the native kernels cannot serve, None where they can; see `choose_backend` for the arguments."""
    if native.missing is not None:
        return native.missing
    # By its function, which is the same in every copy of a layer; a user's cell may have a name of ours.
    if cell.name not in _SERVED or cell.step is not CELLS[cell.name].step:
        return f"there is no native kernel for {cell.name}"
    if trace:
        return "a trace was asked for, and the native kernels return neither gates nor all states"
    if device is not None and device.type != "cpu":
        return f"the layer is on {device}, and the native kernels run on the CPU"
    if dtype is not None and dtype not in DTYPES:
        return f"the layer is {dtype}, and the native kernels compute in float32 and float64"
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on, and the native kernels compute in the layer's own precision"
    return why_no_kernel()


def cpu(
    cell: Cell,
    weights: Weights,
    input: Tensor,
    state: State,
    fresh: State,
    ragged: Ragged | None = None,
    resets: Tensor | None = None,
    noise: Noise | None = None,
    *,
    reverse: bool = False,
) -> Recurrence:
    """One layer in one direction; see `backend.recurrence` for the arguments."""
    started = () if resets is None else fresh
    weight_list = weights.as_list()
    counts = (len(state), len(started), len(weight_list), len(weights.own))
    lengths = None if ragged is None else ragged.lengths
    check_call(cell, weights, input, state, started, lengths, resets, noise)
    arguments = Arguments(cell.name, counts, lengths, resets, noise, reverse)
    tensors = (input, *state, *started, *weight_list, *weights.own)
    if torch.is_grad_enabled() and any(each.requires_grad for each in tensors):
        output, *last = _Scan.apply(arguments, *tensors)  # type: ignore[no-untyped-call]
    else:
        output, last, _ = Call(arguments, tensors).forward(keep=False)
    return Recurrence(output, tuple(last))


class _Scan(torch.autograd.Function):
    """Both native passes."""

    @staticmethod
    def forward(ctx: Any, arguments: Arguments, *tensors: Tensor) -> Any:
        output, last, kept = Call(arguments, tensors).forward(keep=True)
        # What the arguments hold is saved too, so that autograd notices a change: other lengths than those of the
        # forward pass would lead the backward pass out of its memory.
        ctx.save_for_backward(*tensors, output, *kept, *arguments.held())
        ctx.arguments, ctx.tensors, ctx.kept, ctx.used = arguments, len(tensors), len(kept), False
        ctx.set_materialize_grads(False)
        return output, *last

    @staticmethod
    def backward(ctx: Any, output_gradient: Tensor | None, *last_gradients: Tensor | None) -> Any:
        arguments, saved = ctx.arguments, ctx.saved_tensors
        tensors, (output, *kept) = saved[: ctx.tensors], saved[ctx.tensors : ctx.tensors + 1 + ctx.kept]
        if torch.is_grad_enabled():
            return None, *differentiable_backward(arguments, tensors, output_gradient, last_gradients)
        call = Call(arguments, tensors)
        if ctx.used:  # a second pass over a retained graph: the first has used up what was kept
            output, _, kept = call.forward(keep=True)
        ctx.used = True
        wants_input = ctx.needs_input_grad[1]
        return None, *call.backward(output, kept, output_gradient, last_gradients, wants_input=wants_input)


def differentiable_backward(
    arguments: Arguments,
    tensors: Sequence[Tensor],
    output_gradient: Tensor | None,
    last_gradients: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """The gradients of all tensors, themselves differentiable: through the reference scan, since no kernel is."""
    with torch.enable_grad():
        done = on_reference(arguments, tensors)
        pairs = zip([done.output, *done.state], [output_gradient, *last_gradients], strict=True)
        given = [(result, gradient) for result, gradient in pairs if gradient is not None]
        wanted = [each for each in tensors if each.requires_grad]
        found = torch.autograd.grad(
            [result for result, _ in given],
            wanted,
            [gradient for _, gradient in given],
            create_graph=True,
            allow_unused=True,
        )
    of_wanted = iter(found)
    return [next(of_wanted) if each.requires_grad else None for each in tensors]


def on_reference(arguments: Arguments, tensors: Sequence[Tensor]) -> Recurrence:
    """The same call on the reference scan."""
    input, (state, fresh, (weight_ih, weight_hh, *rest), own) = arguments.split(tensors)
    bias_ih, bias_hh = rest[:2] if len(rest) > 1 else (None, None)
    weight_hr = rest[-1] if len(rest) in (1, 3) else None
    weights = Weights(weight_ih, weight_hh, bias_ih, bias_hh, weight_hr, tuple(own))
    ragged = None if arguments.lengths is None else Ragged(arguments.lengths, input.shape[0])
    if ragged is not None:
        input = ragged.clear(input)
    started = tuple(fresh) or tuple(torch.zeros_like(each) for each in state)
    run = partial(in_reverse, reference) if arguments.reverse else reference
    cell = CELLS[arguments.cell]
    return run(cell, weights, input, tuple(state), started, ragged, arguments.resets, arguments.noise)
