"""The plain call of a layer, on the native kernels in as few steps of Python as there can be.

A short sequence is computed in a tenth of a millisecond, and so long would the checks, views and buffers of the
general way (`cpu.py`) take, too. Here one call of C++ looks at every tensor, makes the results and computes them; what
it finds to be unusual in any way it leaves alone, and the general way serves it, or says what is wrong with it. The
numbers are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import _functorch
from torch.autograd import forward_ad

from storyline.cells import Cell
from storyline.kernels import native, pool
from storyline.kernels.arguments import check_call, check_memory
from storyline.kernels.native_call import Arguments, Call, threads_and_worth
from storyline.kernels.second_derivative import differentiable_backward
from storyline.kernels.transforms import refuse_unseen
from storyline.kernels.weights import Weights

_CELLS = native.cells()


def _learn() -> bool:
    table = getattr(Tensor, "__dlpack_c_exchange_api__", None)
    if native.module is None or table is None:
        return False
    return bool(native.module.learn_tensors(Tensor, nn.Parameter, table))


reads_tensors = _learn()
"""Whether C++ can read torch's tensors: by DLPack's table of functions, which torch has since 2.10."""


def is_plain() -> bool:
    """Whether torch runs without compilers, tracers, dispatch modes, transforms, forward mode and autocast."""
    return (
        not torch.compiler.is_compiling()  # first: nothing of the rest can be compiled
        and not torch._C._is_tracing()
        and not torch._C._len_torch_dispatch_stack()
        and not _functorch.get_interpreter_stack()
        and forward_ad._current_level < 0
        and not torch.is_autocast_enabled("cpu")
    )


class ShortScan:
    """One layer in one direction, without projection, noise or parameters of the cell's own.

    After a call without gradients it holds the weights once more, packed for the products, where they take 64 MiB or
    less. A fingerprint of all their numbers is taken at every call, and they are packed anew where it has changed.
    """

    def __init__(
        self, cell: Cell, input_size: int, hidden_size: int, dtype: torch.dtype, *, bias: bool
    ) -> None:
        """dtype: of the layer; a call in another one is left to the general way."""
        assert native.module is not None
        self.cell, self.dtype = cell, dtype
        sizes = (input_size, hidden_size, cell.preactivations, cell.heads)
        single = dtype == torch.float32
        self.native = native.module.short_scan(_CELLS[cell.name][0], single, sizes, bias, pool.empty)

    def __call__(
        self, input: Tensor, weights: tuple[Tensor, ...], state: tuple[Tensor, ...] | None
    ) -> tuple[Tensor, ...] | None:
        """Output (time, batch, hidden_size) and last states (1, batch, hidden_size) each; None: take the general way.

        input (time, batch, input_size); weights: weight_ih, weight_hh and both biases, or the first two; state:
        (1, batch, hidden_size) each, None for zeros.
        """
        if not torch.is_grad_enabled() or not _wants_gradients(input, weights, state):
            found = self.native.forward(input, weights, state, False, *threads_and_worth())
            return found  # type: ignore[no-any-return]
        if state is not None:
            return None
        found = self.native.forward(input, weights, None, True, *threads_and_worth())
        return None if found is None else _Scan.apply(self, found, input, *weights)  # type: ignore[no-untyped-call]


def _wants_gradients(input: Any, weights: tuple[Tensor, ...], state: tuple[Tensor, ...] | None) -> bool:
    # A loop over a generator would cost as much as all it asks.
    for each in weights:
        if each.requires_grad:
            return True
    return bool(input.requires_grad) or (state is not None and any(each.requires_grad for each in state))


class _Scan(torch.autograd.Function):
    """The way back of a call that has been computed already."""

    @staticmethod
    def forward(ctx: Any, scan: ShortScan, found: tuple[Tensor, ...], *tensors: Tensor) -> Any:
        *results, kept = found
        ctx.save_for_backward(*tensors, kept)
        ctx.set_materialize_grads(False)
        ctx.scan, ctx.used = scan, False
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        scan, (input, *weights, kept) = ctx.scan, ctx.saved_tensors
        if torch.is_grad_enabled():
            return None, None, *_differentiable(scan.cell, [input, *weights], gradients)
        refuse_unseen()
        if ctx.used:  # a second pass over a retained graph: the first has used up what was kept
            *_, kept = scan.native.forward(input, tuple(weights), None, True, *threads_and_worth()) or (None,)
        ctx.used = True
        wants_input = ctx.needs_input_grad[2]
        found = _backward(scan.native.backward, input, tuple(weights), kept, gradients, wants_input)
        if found is None:
            found = _generally(scan.cell, [input, *weights], gradients, wants_input=wants_input)
        return None, None, *found


def _backward(
    run: Any,
    input: Tensor,
    weights: tuple[Tensor, ...],
    kept: Tensor | None,
    gradients: Any,
    wants_input: bool,
) -> Any:
    found = run(input, weights, kept, gradients, wants_input, *threads_and_worth())
    if found is None:  # gradients that are expanded, say
        check_memory(gradients)
        plain = tuple(None if each is None else each.resolve_neg().contiguous() for each in gradients)
        found = run(input, weights, kept, plain, wants_input, *threads_and_worth())
    return found


def _generally(
    cell: Cell, tensors: list[Tensor], gradients: Sequence[Tensor | None], *, wants_input: bool
) -> list[Tensor | None]:
    """The way of `cpu.py`, for what C++ does not see: tensors of a subclass, among the gradients or given by a hook.

    The forward pass is run again, since what it keeps there lies otherwise in memory.
    """
    arguments, every = _described(cell, tensors)
    input, (state, _, weights, _) = arguments.split(every)
    # A hook on what is saved may have made anything of it.
    weight_ih, weight_hh, *biases = weights
    bias_ih, bias_hh = biases or (None, None)
    check_call(cell, Weights(weight_ih, weight_hh, bias_ih, bias_hh), input, tuple(state), (), None, None)
    call = Call(arguments, every)
    output, _, kept = call.forward(keep=True)
    of_output, of_last = _rows(gradients)
    of_input, *others = call.backward(output, kept, of_output, of_last, wants_input=wants_input)
    return [of_input, *others[len(state) :]]


def _differentiable(
    cell: Cell, tensors: list[Tensor], gradients: Sequence[Tensor | None]
) -> list[Tensor | None]:
    arguments, every = _described(cell, tensors)
    of_input, *others = differentiable_backward(arguments, every, *_rows(gradients))
    return [of_input, *others[len(cell.states) :]]


def _described(cell: Cell, tensors: list[Tensor]) -> tuple[Arguments, list[Tensor]]:
    """The call as the general way is told of it, its initial state the zeros that it had."""
    input, *weights = tensors
    states = len(cell.states)
    hidden_size = weights[0].shape[0] // cell.preactivations
    zeros = [input.new_zeros(input.shape[1], hidden_size) for _ in range(states)]
    arguments = Arguments(cell.name, (states, 0, len(weights), 0), None, None, None, False)
    return arguments, [input, *zeros, *weights]


def _rows(gradients: Sequence[Tensor | None]) -> tuple[Tensor | None, list[Tensor | None]]:
    """The gradients of the output, and of the last states (batch, hidden_size) each."""
    of_output, *of_last = gradients
    return of_output, [None if each is None else each.squeeze(0) for each in of_last]
