"""The cpu backend: the native kernels of `csrc/`, behind one check of every tensor.

Rows of any length, resets and reading backwards are the normal case there; no padding is computed. In eager mode
an `autograd.Function` calls the kernels; where torch traces or transforms (compile, export, vmap, grad of
`torch.func`) the same two passes stand behind the operators `storyline::scan` and `storyline::scan_backward`.
What is large, outputs too, comes from `pool`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from storyline.cells import Cell, Noise, State, gru, lstm, rnn_relu, rnn_tanh
from storyline.kernels import native, pool
from storyline.kernels.ragged import Ragged
from storyline.kernels.reference import reference
from storyline.kernels.reverse import in_reverse
from storyline.kernels.weights import Recurrence, Weights

_CELLS = native.cells()
_SERVED = {cell.name: cell for cell in (rnn_tanh, rnn_relu, lstm, gru)}
_DTYPES = (torch.float32, torch.float64)
# Below this many multiply-adds a second thread costs more to wake than it saves.
_WORTH_A_THREAD = 200_000
_forked = False


def _after_fork() -> None:
    # The threads of OpenMP do not survive a fork, and waiting for them would never end.
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_after_fork)


def why_not_cpu(cell: Cell, like: Tensor | None, *, trace: bool = False, noise: bool = False) -> str | None:
    """Why the native kernels cannot serve, None where they can. like: a weight of the layer, None: any."""
    if native.missing is not None:
        return native.missing
    if cell.name not in _CELLS:
        return f"there is no native kernel for {cell.name}"
    if trace:
        return "a trace was asked for, and the native kernels return neither gates nor all states"
    if noise:
        return "the native kernels know neither zoneout nor recurrent dropout"
    if like is None:
        return None
    if like.device.type != "cpu":
        return f"the layer is on {like.device}, and the native kernels run on the CPU"
    if like.dtype not in _DTYPES:
        return f"the layer is {like.dtype}, and the native kernels compute in float32 and float64"
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on, and the native kernels compute in the layer's own precision"
    if torch.autograd.forward_ad._current_level >= 0:
        return "the native kernels have no forward-mode derivative"
    return None


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
    assert noise is None  # what choose_backend has refused before
    lengths = None if ragged is None else ragged.lengths
    started = () if resets is None else fresh
    tensors = (input, *state, *started, *weights.as_list())
    keep = torch.is_grad_enabled() and any(each.requires_grad for each in tensors)
    counts = (len(state), len(started))
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        output, last, _ = torch.ops.storyline.scan(
            cell.name, input, list(state), list(started), weights.as_list(), lengths, resets, reverse, keep
        )
    elif keep:
        output, *last = _Scan.apply(cell.name, lengths, resets, reverse, counts, *tensors)  # type: ignore[no-untyped-call]
    else:
        output, last, _ = _forward(
            cell.name, input, state, started, weights.as_list(), lengths, resets, reverse, keep=False
        )
    return Recurrence(output, tuple(last))


class _Scan(torch.autograd.Function):
    """Both passes in eager mode; tensors: input, the state, the fresh state where there are resets, the weights."""

    @staticmethod
    def forward(
        ctx: Any, cell: str, lengths: Tensor | None, resets: Tensor | None, reverse: bool,
        counts: tuple[int, int], *tensors: Tensor,
    ) -> Any:  # fmt: skip
        input, state, fresh, weights = _split(tensors, counts)
        output, last, kept = _forward(cell, input, state, fresh, weights, lengths, resets, reverse, keep=True)
        ctx.save_for_backward(*tensors, lengths, resets, output, *kept)
        ctx.cell, ctx.reverse, ctx.counts, ctx.tensors = cell, reverse, counts, len(tensors)
        ctx.used = False
        ctx.set_materialize_grads(False)
        return output, *last

    @staticmethod
    def backward(ctx: Any, output_gradient: Tensor | None, *last_gradients: Tensor | None) -> Any:
        tensors, rest = ctx.saved_tensors[: ctx.tensors], ctx.saved_tensors[ctx.tensors :]
        lengths, resets, output, *kept = rest
        call = (ctx.cell, *_split(tensors, ctx.counts), lengths, resets, ctx.reverse)
        if torch.is_grad_enabled():
            gradients = _differentiable_backward(*call, output_gradient, last_gradients)
        else:
            if ctx.used:  # a second pass over a retained graph: the first has used up what was kept
                output, _, kept = _forward(*call, keep=True)
            ctx.used = True
            gradients = _backward(
                *call, output, kept, output_gradient, last_gradients, wants_input=ctx.needs_input_grad[5]
            )
        return None, None, None, None, None, *gradients


def _split(
    tensors: Sequence[Tensor], counts: tuple[int, int]
) -> tuple[Tensor, Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
    states, fresh = counts
    return (
        tensors[0],
        tensors[1 : 1 + states],
        tensors[1 + states : 1 + states + fresh],
        tensors[1 + states + fresh :],
    )


def _forward(
    cell: str, input: Tensor, state: Sequence[Tensor], fresh: Sequence[Tensor], weights: Sequence[Tensor],
    lengths: Tensor | None, resets: Tensor | None, reverse: bool, *, keep: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:  # fmt: skip
    """Output, last states, and what the backward pass needs: gates, states, and h before its projection."""
    call = _Call(cell, input, state, fresh, weights, lengths, resets, reverse)
    output = pool.empty(input, call.time, call.batch, call.output_size)
    last = [input.new_empty(call.batch, each.shape[1]) for each in state]
    kept = call.room() if keep else []
    call.run("forward", output, last, kept)
    return output, last, kept


def _backward(
    cell: str, input: Tensor, state: Sequence[Tensor], fresh: Sequence[Tensor], weights: Sequence[Tensor],
    lengths: Tensor | None, resets: Tensor | None, reverse: bool, output: Tensor, kept: Sequence[Tensor],
    output_gradient: Tensor | None, last_gradients: Sequence[Tensor | None], *, wants_input: bool,
) -> list[Tensor | None]:  # fmt: skip
    """The gradients of input, state, fresh state and weights; what was kept is used up."""
    call = _Call(cell, input, state, fresh, weights, lengths, resets, reverse)
    if output_gradient is not None:
        output_gradient = _dense_last(output_gradient)
    given = [None if each is None else _dense_last(each) for each in last_gradients]
    input_gradient = pool.empty(input, *input.shape) if wants_input else None
    of_state = [torch.empty_like(each, memory_format=torch.contiguous_format) for each in call.state]
    of_fresh = [torch.zeros_like(each, memory_format=torch.contiguous_format) for each in call.fresh]
    of_weights = [torch.empty_like(each) for each in call.weights]
    call.run(
        "backward", output, [], kept,
        _sequence(output_gradient), [_rows(each) for each in given], _sequence(input_gradient),
        [_rows(each) for each in of_state], [_rows(each) for each in of_fresh], call.addresses(of_weights),
    )  # fmt: skip
    return [input_gradient, *of_state, *of_fresh, *of_weights]


class _Call:
    """One call of a native pass: tensors whose last dimension lies densely, and the sizes."""

    def __init__(
        self, cell: str, input: Tensor, state: Sequence[Tensor], fresh: Sequence[Tensor],
        weights: Sequence[Tensor], lengths: Tensor | None, resets: Tensor | None, reverse: bool,
    ) -> None:  # fmt: skip
        self.number, self.columns, self.states = _CELLS[cell]
        self.input = _dense_last(input)
        self.state = [_dense_last(each) for each in state]
        self.fresh = [_dense_last(each) for each in fresh]
        self.weights = [each.contiguous() for each in weights]
        self.lengths = None if lengths is None else lengths.contiguous()
        self.resets, self.reverse = resets, reverse
        self.time, self.batch, self.input_size = input.shape
        self.hidden_size = self.weights[0].shape[0] // _SERVED[cell].preactivations
        self.output_size = state[0].shape[1]
        self.projected = len(weights) in (3, 5)
        self.threads, self.parts = self._share_out()

    def _share_out(self) -> tuple[int, int]:
        rows = self.weights[0].shape[0]
        work = self.time * self.batch * rows * (self.input_size + self.output_size)
        threads = 1 if _forked or work < _WORTH_A_THREAD else torch.get_num_threads()
        return threads, min(threads, self.batch)

    def room(self) -> list[Tensor]:
        """Memory for what the backward pass needs; a page of it that is never touched costs nothing."""
        lanes = native.vector_bytes() // self.input.element_size()
        padded = -(-self.hidden_size // lanes) * lanes
        slots = self.time * self.batch
        sizes = [self.columns, self.states - 1, 1] if self.projected else [self.columns, self.states - 1]
        return [pool.empty(self.input, slots * each * padded) for each in sizes]

    def addresses(self, weights: Sequence[Tensor]) -> tuple[int, ...]:
        """weight_ih, weight_hh, bias_ih, bias_hh, weight_hr; 0 for what is not there."""
        at = [each.data_ptr() for each in weights]
        biases = at[2:4] if len(at) > 3 else [0, 0]
        return (*at[:2], *biases, at[-1] if self.projected else 0)

    def run(
        self, which: str, output: Tensor, last: Sequence[Tensor], kept: Sequence[Tensor], *gradients: Any
    ) -> None:
        assert native.module is not None
        precision = "float" if self.input.dtype == torch.float32 else "double"
        getattr(native.module, f"{which}_{precision}")(
            self.number,
            (self.time, self.batch, self.input_size, self.hidden_size, self.output_size),
            self.reverse,
            self.parts,
            self.threads,
            0 if self.lengths is None else self.lengths.data_ptr(),
            _sequence(self.resets),
            _sequence(self.input),
            _sequence(output),
            [_rows(each) for each in self.state],
            [_rows(each) for each in self.fresh],
            [_rows(each) for each in last],
            self.addresses(self.weights),
            tuple(kept[i].data_ptr() if i < len(kept) else 0 for i in range(3)),
            *gradients,
        )


def _dense_last(tensor: Tensor) -> Tensor:
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()


def _sequence(tensor: Tensor | None) -> tuple[int, int, int]:
    """Address and strides of (time, batch, ...)."""
    return (0, 0, 0) if tensor is None else (tensor.data_ptr(), tensor.stride(0), tensor.stride(1))


def _rows(tensor: Tensor | None) -> tuple[int, int]:
    """Address and stride of (batch, size)."""
    return (0, 0) if tensor is None else (tensor.data_ptr(), tensor.stride(0))


def _differentiable_backward(
    cell: str, input: Tensor, state: Sequence[Tensor], fresh: Sequence[Tensor], weights: Sequence[Tensor],
    lengths: Tensor | None, resets: Tensor | None, reverse: bool,
    output_gradient: Tensor | None, last_gradients: Sequence[Tensor | None],
) -> list[Tensor | None]:  # fmt: skip
    """The gradients, themselves differentiable: through the reference scan, since no kernel is."""
    tensors = [input, *state, *fresh, *weights]
    with torch.enable_grad():
        output, last = _reference(cell, input, state, fresh, weights, lengths, resets, reverse)
        pairs = zip([output, *last], [output_gradient, *last_gradients], strict=True)
        given = [(result, gradient) for result, gradient in pairs if gradient is not None]
        wanted = [each for each in tensors if each.requires_grad]
        found = iter(
            torch.autograd.grad(
                [result for result, _ in given], wanted, [gradient for _, gradient in given],
                create_graph=True, allow_unused=True,
            )
        )  # fmt: skip
    return [next(found) if each.requires_grad else None for each in tensors]


def _reference(
    cell: str, input: Tensor, state: Sequence[Tensor], fresh: Sequence[Tensor], weights: Sequence[Tensor],
    lengths: Tensor | None, resets: Tensor | None, reverse: bool,
) -> tuple[Tensor, State]:  # fmt: skip
    """The same call on the reference scan."""
    ragged = None if lengths is None else Ragged(lengths, input.shape[0])
    if ragged is not None:
        input = ragged.clear(input)
    weight_ih, weight_hh, *rest = weights
    bias_ih, bias_hh = rest[:2] if len(rest) > 1 else (None, None)
    weight_hr = rest[-1] if len(rest) in (1, 3) else None
    started = fresh or [torch.zeros_like(each) for each in state]
    run = partial(in_reverse, reference) if reverse else reference
    done = run(
        _SERVED[cell],
        Weights(weight_ih, weight_hh, bias_ih, bias_hh, weight_hr),
        input,
        tuple(state),
        tuple(started),
        ragged,
        resets,
    )
    return done.output, done.state
