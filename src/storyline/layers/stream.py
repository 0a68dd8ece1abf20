"""Streams: a recurrent stack that keeps its state and reads one step at a time."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn, final

import torch
from torch import Tensor
from torch._C import _is_tracing, _len_torch_dispatch_stack

from storyline.cells import State as CellState
from storyline.kernels import (
    check_memory,
    choose_backend,
    native_stream,
    refuse_unseen,
    round_to_bfloat16,
    why_not_cpu,
)
from storyline.layers.arguments import check_state

if TYPE_CHECKING:
    from storyline.layers.recurrent import Recurrent, State


@dataclass(frozen=True)
class _Sizes:
    """input_size, batch, layers; states: the size of each, h first."""

    input: int
    batch: int
    layers: int
    states: tuple[int, ...]


class Stream(ABC):
    """A recurrent stack at work on `batch` sequences that arrive step by step; made by `layer.stream()`.

        stream = lstm.stream()
        y = stream.step(x)

    It computes what the layer computes in evaluation: no dropout, zoneout as its rate. The weights are copied:
    what happens to the layer afterwards does not reach the stream. No gradients. It runs on one thread, and
    where a step is more than some 400,000 multiply-adds on as many as torch uses, with the same bits. One thread at a
    time may use it; streams that were forked from each other may run at the same time.
    It cannot be pickled: save the layer, and `state`.

    backend: (name, reason): "cpu", the native object, whose steps have the very bits of the layer's forward pass
        on the cpu backend; or "reference", plain operators of torch, where that cannot serve.
    batch: how many sequences it reads at once.
    """

    def __init__(self, backend: tuple[str, str], like: Tensor, names: tuple[str, ...], sizes: _Sizes) -> None:
        """like: a tensor of the layer's dtype and device; names: of the states."""
        self.backend, self.batch = backend, sizes.batch
        self._like, self._names, self._sizes = like, names, sizes
        self._dtype, self._device = like.dtype, like.device
        self._shape = (sizes.batch, sizes.input)
        # Of one sequence, a step may also come without its batch dimension.
        self._other_shape = (sizes.input,) if sizes.batch == 1 else self._shape

    @abstractmethod
    def step(self, input: Tensor) -> Tensor:
        """Read one step of every sequence.

        input (batch, input_size), or (input_size,) where batch is 1; of the layer's dtype, on its device.
        Returns h after the step: (batch, hidden_size), proj_size for a projected LSTM; without batch where the
        input had none.
        Raises ValueError where the input does not fit, or where it asks for a gradient. Where the native kernels
        read it, ValueError under torch.jit.trace and any TorchDispatchMode, which would not see the step, and
        RuntimeError if another thread is in a step of this very stream.
        """

    @abstractmethod
    def _read(self) -> CellState: ...

    @abstractmethod
    def _write(self, state: CellState) -> None: ...

    @abstractmethod
    def _reset_row(self, row: int) -> None: ...

    @abstractmethod
    def fork(self, batch: int | None = None) -> Stream:
        """A second stream over the same weights, which are shared, with a state of its own.

        batch: None: as many sequences as this one, at a copy of its state; a number: so many, at the layer's
        initial state.
        """

    @property
    def state(self) -> State:
        """The state, copied: shaped as `hx` of the layer's forward pass, (num_layers, batch, size) each."""
        state = self._read()
        return state if len(state) > 1 else state[0]

    @state.setter
    def state(self, state: State) -> None:
        shapes = [(self._sizes.layers, self.batch, size) for size in self._sizes.states]
        self._write(check_state(state, self._names, shapes, "the state", self._like))

    def reset(self, rows: int | Sequence[int] | None = None) -> None:
        """Put sequences back to the layer's initial state: one row of the batch, several, or None: all."""
        wanted = range(self.batch) if rows is None else [rows] if isinstance(rows, int) else list(rows)
        for row in wanted:
            if isinstance(row, bool) or not isinstance(row, int) or not 0 <= row < self.batch:
                raise ValueError(
                    f"rows holds {row!r}; a row of this stream is a whole number from 0 to {self.batch - 1}"
                )
        for row in wanted:
            self._reset_row(row)

    def __repr__(self) -> str:
        kind = str(self._dtype).removeprefix("torch.")
        return f"Stream(batch={self.batch}, backend={self.backend[0]!r}, {kind})"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            "a Stream cannot be pickled or copied; save the layer and stream.state, or call stream.fork()"
        )

    def _forked(self, batch: int | None) -> _Sizes:
        return self._sizes if batch is None else replace(self._sizes, batch=_checked_batch(batch))

    def _checked(self, input: Any) -> Tensor:
        """The input, dense; called where it is not plainly as it should be."""
        if not isinstance(input, Tensor):
            raise TypeError(f"input is a {type(input).__name__}; it must be a tensor")
        if input.shape not in (self._shape, self._other_shape):
            also = f", or ({self._sizes.input},)" if self.batch == 1 else ""
            raise ValueError(
                f"input has shape {tuple(input.shape)}; a step of this stream is (batch, input_size) = "
                f"{self._shape}{also}"
            )
        if input.dtype != self._dtype:
            raise ValueError(
                f"input is {input.dtype} and the stream {self._dtype}; convert it: .to({self._dtype})"
            )
        if input.device != self._device:
            raise ValueError(
                f"input is on {input.device} and the stream on {self._device}; "
                f"move it: .to({str(self._device)!r})"
            )
        if input.requires_grad and torch.is_grad_enabled():
            raise ValueError(
                "input asks for a gradient, and a stream computes none; call it under torch.no_grad(), give "
                "input.detach(), or take the layer's step()"
            )
        return input.detach().contiguous()


@final
class NativeStream(Stream):
    """On the native object of csrc/stream.h."""

    def __init__(
        self, backend: tuple[str, str], like: Tensor, names: tuple[str, ...], sizes: _Sizes, native: Any
    ) -> None:
        super().__init__(backend, like, names, sizes)
        self._native, self._step_of = native, native.step_of

    def step(self, input: Tensor) -> Tensor:
        # All that Python does here is counted in the step's few microseconds, a call of `refuse_unseen` too.
        if _len_torch_dispatch_stack() or _is_tracing():
            refuse_unseen()
        output = self._step_of(input)
        return self._step_checked(input) if output is None else output

    def _step_checked(self, input: Tensor) -> Tensor:
        """A step of what C++ has not taken as it came: laid out, or refused."""
        dense = self._checked(input).resolve_neg()
        check_memory((dense,))
        output = self._like.new_empty(*dense.shape[:-1], self._sizes.states[0])
        self._native.step(dense.data_ptr(), output.data_ptr())
        return output

    def fork(self, batch: int | None = None) -> NativeStream:
        sizes = self._forked(batch)
        other = NativeStream(self.backend, self._like, self._names, sizes, self._native.fork(sizes.batch))
        if batch is None:
            other._write(self._read())
        return other

    def _read(self) -> CellState:
        refuse_unseen()
        layers, batch = self._sizes.layers, self.batch
        state = tuple(self._like.new_empty(layers, batch, size) for size in self._sizes.states)
        for index, each in enumerate(state):
            self._native.read(index, each.data_ptr())
        return state

    def _write(self, state: CellState) -> None:
        refuse_unseen()
        check_memory(state)
        for index, each in enumerate(state):
            dense = each.detach().contiguous()
            self._native.write(index, dense.data_ptr())

    def _reset_row(self, row: int) -> None:
        self._native.reset(row)


@final
class PlainStream(Stream):
    """On a copy of the layer and its `step`, for what the native object cannot serve; not fast."""

    def __init__(self, backend: tuple[str, str], like: Tensor, sizes: _Sizes, layer: Recurrent) -> None:
        super().__init__(backend, like, layer.cell.states, sizes)
        self._layer = layer
        self._initial = _as_tuple(layer.initial_state(sizes.batch))
        self._state = tuple(each.clone() for each in self._initial)

    def step(self, input: Tensor) -> Tensor:
        dense = self._checked(input)
        with torch.no_grad():
            before = self._state if len(self._state) > 1 else self._state[0]
            output, after = self._layer.step(dense.reshape(self._shape), before)
        self._state = _as_tuple(after)
        return output if dense.dim() == 2 else output.squeeze(0)

    def fork(self, batch: int | None = None) -> PlainStream:
        other = PlainStream(self.backend, self._like, self._forked(batch), self._layer)
        if batch is None:
            other._write(self._state)
        return other

    def _read(self) -> CellState:
        return tuple(each.clone() for each in self._state)

    def _write(self, state: CellState) -> None:
        self._state = tuple(each.detach().clone() for each in state)

    def _reset_row(self, row: int) -> None:
        for each, first in zip(self._state, self._initial, strict=True):
            each[:, row] = first[:, row]


def stream_of(layer: Recurrent, batch: int, weights: torch.dtype | None) -> Stream:
    """The stream of a layer, at its initial state; see `Recurrent.stream`."""
    if layer.bidirectional:
        raise ValueError("a bidirectional layer reads from both ends and cannot be streamed; call it whole")
    like = layer.weight_ih_l0.detach().new_empty(0)
    if weights not in (None, torch.bfloat16):
        raise ValueError(f"weights is {weights!r}; it must be torch.bfloat16, or None for the layer's own")
    if weights is not None and like.dtype != torch.float32:
        raise ValueError(
            f"weights is {weights} and the layer is {like.dtype}; only a float32 layer can be rounded to it"
        )
    sizes = _Sizes(layer.input_size, _checked_batch(batch), layer.num_layers, layer._state_sizes)
    backend = _backend(layer, like)
    if backend[0] == "cpu":
        check_memory(layer.parameters())
    copied = copy.deepcopy(layer).requires_grad_(False).eval()
    parts = [part for _, _, _, part in copied._parts()]
    if weights is not None:
        for part in parts:
            round_to_bfloat16(part)
    if backend[0] != "cpu":
        return PlainStream(backend, like, sizes, copied)
    fresh = copied._fresh(1)
    native = native_stream(
        layer.cell, parts, [tuple(each[i, 0] for each in fresh) for i in range(layer.num_layers)],
        batch, layer.rates.zoneout, bfloat16=weights is not None,
    )  # fmt: skip
    return NativeStream(backend, like, layer.cell.states, sizes, native)


def _backend(layer: Recurrent, like: Tensor) -> tuple[str, str]:
    """The native object where it can serve; raises where it was asked for by name and cannot."""
    if layer.backend not in ("auto", "cpu"):
        return "reference", f"backend={layer.backend!r} was asked for, and only 'cpu' has a stream of its own"
    chosen = choose_backend(
        layer.backend, layer.cell, device=like.device, dtype=like.dtype, noise=bool(layer.rates.zoneout),
        projected=layer.proj_size > 0,
    )  # fmt: skip
    if chosen[0] == "cpu":
        return chosen
    why = why_not_cpu(layer.cell, like.device, like.dtype)
    return "reference", f"a step is made of torch's plain operators: {why}"


def _as_tuple(state: State) -> CellState:
    return (state,) if isinstance(state, Tensor) else state


def _checked_batch(batch: Any) -> int:
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise ValueError(f"batch is {batch!r}; a stream reads a whole number of sequences at once, 1 or more")
    return batch
