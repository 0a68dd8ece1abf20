"""One call of a native pass: every tensor checked, laid out and handed over as an address."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from storyline.cells import CELLS, Noise
from storyline.kernels import native, pool
from storyline.kernels.arguments import check_lengths, check_memory
from storyline.kernels.transforms import refuse_unseen

# Below this many multiply-adds a second thread costs more to wake than it saves.
_WORTH_A_THREAD = 200_000
_CELLS = native.cells()
_forked = False


def _after_fork() -> None:
    # The threads of OpenMP do not survive a fork, and waiting for them would never end.
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_after_fork)


@dataclass(frozen=True)
class Arguments:
    """What a pass is told, with its tensors in one flat list, as autograd wants them.

    tensors: the input, then the state, then the fresh state (nothing where there are no resets), the weights that
    are there (weight_ih, weight_hh, bias_ih, bias_hh, weight_hr) and the cell's own parameters; `counts` says
    how many of each of the last four. Shapes as in `backend.recurrence`.
    """

    cell: str
    counts: tuple[int, int, int, int]
    lengths: Tensor | None
    resets: Tensor | None
    noise: Noise | None
    reverse: bool

    def held(self) -> list[Tensor]:
        """The tensors among these arguments: what must not change between the two passes, either."""
        noise = self.noise or Noise()
        all_ = (self.lengths, self.resets, noise.recurrent_mask, *noise.zoneout)
        return [each for each in all_ if each is not None]

    def split(self, tensors: Sequence[Tensor]) -> tuple[Tensor, list[Sequence[Tensor]]]:
        """The input, and [state, fresh, weights, own]."""
        parts, at = [], 1
        for count in self.counts:
            parts.append(tensors[at : at + count])
            at += count
        return tensors[0], parts


class Call:
    """The tensors of one call, the last dimension of each dense, and their sizes."""

    def __init__(self, arguments: Arguments, tensors: Sequence[Tensor]) -> None:
        self.number, self.columns, self.extra, _ = _CELLS[arguments.cell]
        input, (state, fresh, weights, own) = arguments.split(tensors)
        self.input = _dense_last(input)
        self.state = [_dense_last(each) for each in state]
        self.fresh = [_dense_last(each) for each in fresh]
        self.weights = [each.resolve_neg().contiguous() for each in weights]
        self.own = [each.resolve_neg().contiguous() for each in own]
        self.resets, self.reverse = arguments.resets, arguments.reverse
        self.lengths = None if arguments.lengths is None else arguments.lengths.contiguous()
        self.time, self.batch, self.input_size = input.shape
        rows = self.weights[0].shape[0]
        self.hidden_size = rows // CELLS[arguments.cell].preactivations
        self.output_size = state[0].shape[1]
        self.heads = self.output_size // self.weights[1].shape[1]
        self.projected = len(weights) in (3, 5)
        self._take_noise(arguments.noise)
        self._work_a_step = rows * (self.input_size + self.weights[1].shape[1])

    def _take_noise(self, noise: Noise | None) -> None:
        self.mask: Tensor | None = None
        self.zoneout: list[Tensor | None] = []
        if noise is None:
            return
        if noise.recurrent_mask is not None:
            self.mask = _dense_last(noise.recurrent_mask.to(self.input.dtype))
        for keep, state in zip(noise.zoneout, self.state, strict=False):
            if keep is not None:
                keep = keep.to(self.input.dtype)
                # A rate for all is a row of it, which every step and row of the batch reads.
                keep = _dense_last(keep) if keep.dim() else keep.expand(1, 1, state.shape[1]).contiguous()
            self.zoneout.append(keep)

    def forward(self, *, keep: bool) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Output, last states, and what the backward pass needs, if it is to be kept."""
        refuse_unseen()
        check_memory(self._given())
        if self.lengths is not None:
            check_lengths(self.lengths, self.time)
        output, last, kept = self.results(keep=keep)
        parts = _function("forward", self.input)(self._described(output, last, kept))
        if keep:
            kept[0][-1] = parts
        return output, last, kept

    def results(self, *, keep: bool) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Memory for what `forward` returns; also of tensors that have a shape and no values."""
        output = pool.empty(self.input, self.time, self.batch, self.output_size)
        last = [self.input.new_empty(self.batch, each.shape[1]) for each in self.state]
        return output, last, self._room() if keep else []

    def backward(
        self,
        output: Tensor,
        kept: Sequence[Tensor],
        output_gradient: Tensor | None,
        last_gradients: Sequence[Tensor | None],
        *,
        wants_input: bool,
    ) -> list[Tensor | None]:
        """The gradients of all tensors, in their order; what was kept is used up."""
        refuse_unseen()
        check_memory((output_gradient, *last_gradients, *self._given(), output, *kept))
        given = None if output_gradient is None else _dense_last(output_gradient)
        of_last = [None if each is None else _dense_last(each) for each in last_gradients]
        of_input, of_state, of_fresh, of_weights, of_own = self.gradients(wants_input=wants_input)
        gradients = (
            _sequence(given),
            [_rows(each) for each in of_last],
            _sequence(of_input),
            [_rows(each) for each in of_state],
            [_rows(each) for each in of_fresh],
            self._addresses(of_weights),
            [each.data_ptr() for each in of_own],
        )
        if self.lengths is not None:  # once more: they may share their memory with an array of the user's
            check_lengths(self.lengths, self.time)
        _function("backward", self.input)(
            self._described(output, [], kept, parts=int(kept[0][-1])), gradients
        )
        return [of_input, *of_state, *of_fresh, *of_weights, *of_own]

    def gradients(
        self, *, wants_input: bool
    ) -> tuple[Tensor | None, list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """Memory for the gradients of input, state, fresh state, weights and own parameters, as of `results`."""
        of_state, of_weights, of_own = (
            [torch.empty_like(each, memory_format=torch.contiguous_format) for each in tensors]
            for tensors in (self.state, self.weights, self.own)
        )
        of_fresh = [torch.zeros_like(each, memory_format=torch.contiguous_format) for each in self.fresh]
        of_input = pool.empty(self.input, *self.input.shape) if wants_input else None
        return of_input, of_state, of_fresh, of_weights, of_own

    def _given(self) -> tuple[Tensor | None, ...]:
        rest = (self.lengths, self.resets, self.mask, *self.zoneout)
        return (self.input, *self.state, *self.fresh, *self.weights, *self.own, *rest)

    def _room(self) -> list[Tensor]:
        """Memory for the rows of gates, the states beside h, h before its projection, h after its mask.

        For the padding too, since memory that is never touched costs nothing. Behind the gates
        stands the number of parts, by which all is laid out: the threads may be others on the way back.
        """
        lanes = native.vector_bytes() // self.input.element_size()

        def padded(size: int) -> int:
            return -(-size // lanes) * lanes

        hidden = padded(self.hidden_size)
        widths = (
            self.columns * hidden + padded(self.extra),
            (len(self.state) - 1) * hidden,
            hidden if self.projected else 0,
            max(hidden, padded(self.output_size)) if self.mask is not None else 0,
        )
        slots = self.time * self.batch
        return [pool.empty(self.input, slots * width + (i == 0)) for i, width in enumerate(widths)]

    def _addresses(self, weights: Sequence[Tensor]) -> tuple[int, ...]:
        """weight_ih, weight_hh, bias_ih, bias_hh, weight_hr; 0 for what is not there."""
        at = [each.data_ptr() for each in weights]
        biases = at[2:4] if len(at) > 3 else [0, 0]
        return (*at[:2], *biases, at[-1] if self.projected else 0)

    def _described(
        self, output: Tensor, last: Sequence[Tensor], kept: Sequence[Tensor], parts: int | None = None
    ) -> tuple[Any, ...]:
        """In the order of the struct `Call` of csrc/bindings.h. parts: of the way there; None on it."""
        work = self.time * self.batch * self._work_a_step
        threads = threads_for(work)
        return (
            self.number,
            (self.time, self.batch, self.input_size, self.hidden_size, self.output_size),
            self.reverse,
            min(threads, self.batch) if parts is None else parts,
            threads,
            0 if self.lengths is None else self.lengths.data_ptr(),
            _sequence(self.resets),
            _sequence(self.input),
            _sequence(output),
            [_rows(each) for each in self.state],
            [_rows(each) for each in self.fresh],
            [_rows(each) for each in last],
            self.heads,
            self._addresses(self.weights),
            [each.data_ptr() for each in self.own],
            _rows(self.mask),
            [_sequence(each) for each in self.zoneout],
            tuple(each.data_ptr() for each in kept) if kept else (0, 0, 0, 0),
        )


def threads_for(work: int) -> int:
    """How many threads shall share so many multiply-adds."""
    threads, worth = threads_and_worth()
    return 1 if work < worth else threads


def threads_and_worth() -> tuple[int, int]:
    """How many threads there may be, and the multiply-adds from which on there shall be more than one."""
    return 1 if _forked else torch.get_num_threads(), _WORTH_A_THREAD


def _function(which: str, like: Tensor) -> Any:
    return getattr(native.module, f"{which}_{'float' if like.dtype == torch.float32 else 'double'}")


def _is_dense_last(tensor: Tensor) -> bool:
    return tensor.stride(-1) == 1 or tensor.shape[-1] == 1


def _dense_last(tensor: Tensor) -> Tensor:
    tensor = tensor.resolve_neg()  # a view that is marked as negative holds the numbers of the other sign
    return tensor if _is_dense_last(tensor) else tensor.contiguous()


def _sequence(tensor: Tensor | None) -> tuple[int, int, int]:
    """Address and strides of (time, batch, ...); a dimension of one counts as shared by all."""
    if tensor is None:
        return (0, 0, 0)
    time, batch = (0 if tensor.shape[i] == 1 else tensor.stride(i) for i in (0, 1))
    return (tensor.data_ptr(), time, batch)


def _rows(tensor: Tensor | None) -> tuple[int, int]:
    """Address and stride of (batch, size)."""
    return (0, 0) if tensor is None else (tensor.data_ptr(), tensor.stride(0))
