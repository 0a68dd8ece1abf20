"""What the native kernels are given, checked: they compute with bare addresses, so nothing else would refuse it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch._C import _functorch

from storyline.cells import Cell, Noise, State
from storyline.kernels.weights import Weights

DTYPES = (torch.float32, torch.float64)
Named = tuple[str, Tensor, tuple[int, ...]]


def check_call(
    cell: Cell,
    weights: Weights,
    input: Tensor,
    state: State,
    fresh: State,
    lengths: Tensor | None,
    resets: Tensor | None,
    noise: Noise | None = None,
) -> None:
    """Refuse a tensor that is not as `backend.recurrence` has it, and name it. Looks at no number of any tensor.

    Raises ValueError for a wrong shape, dtype or device, and for a batch, time or size of 0.
    """
    if input.dim() != 3 or 0 in input.shape:
        raise ValueError(
            f"input is {tuple(input.shape)}; it must be (time, batch, input_size), each at least 1"
        )
    if len(state) != len(cell.states) or len(fresh) not in (0, len(cell.states)):
        raise ValueError(
            f"state has {len(state)} and fresh {len(fresh)} tensors; {cell.name} has "
            f"{len(cell.states)} states: {', '.join(cell.states)}"
        )
    dtype = input.dtype
    if dtype not in DTYPES:
        raise ValueError(f"input is {dtype}; the native kernels compute in torch.float32 and torch.float64")
    for name, tensor, shape in _floats(cell, weights, input, state, fresh):
        if tensor.shape != shape:
            raise ValueError(f"{name} is {tuple(tensor.shape)}; it must be {shape}")
        if tensor.dtype is not dtype:
            raise ValueError(f"{name} is {tensor.dtype}, but input is {dtype}; they must be of one dtype")
        if not tensor.is_cpu or tensor.layout is not torch.strided:
            raise _elsewhere(name, tensor)
    if noise is not None:
        _check_noise(noise, state, input.shape[0])
    if lengths is None and resets is None:
        return
    time, batch, _ = input.shape
    for name, integers, shape, kind in (
        ("lengths", lengths, (batch,), torch.int64),
        ("resets", resets, (time, batch), torch.bool),
    ):
        if integers is None:
            continue
        if integers.shape != shape or integers.dtype != kind:
            raise ValueError(
                f"{name} is {tuple(integers.shape)} of {integers.dtype}; it must be {shape} of {kind}"
            )
        if not integers.is_cpu or integers.layout is not torch.strided:
            raise _elsewhere(name, integers)


def check_memory(tensors: Iterable[Tensor | None]) -> None:
    """Refuse a tensor whose numbers are not in memory of its own: its address is 0, or of something else.

    Raises ValueError for a tensor that stands for many (torch.vmap), for a fake one, and for any other of a class that
    takes torch's operators upon itself.
    """
    for each in tensors:
        if each is None:
            continue
        if type(each).__torch_dispatch__ is not Tensor.__torch_dispatch__:
            raise ValueError(
                f"a tensor is a {type(each).__name__}, which may hold no numbers, and the native kernels read them "
                "from memory; take backend='reference'"
            )
        if _functorch.is_functorch_wrapped_tensor(each) or _functorch.is_legacy_batchedtensor(each):
            raise ValueError(
                "a tensor is batched (is_grads_batched=True, jacobian(vectorize=True) or torch.vmap over a backward "
                "pass), and the native kernels take one at a time; call torch.autograd.grad for each, use the "
                "transforms of torch.func throughout, or take backend='reference'"
            )


def check_lengths(lengths: Tensor, time: int) -> None:
    """Refuse a length that is not from 1 to `time`: the kernels would leave their memory."""
    steps = lengths.tolist()
    if min(steps) >= 1 and max(steps) <= time:
        return
    row = next(row for row, length in enumerate(steps) if not 1 <= length <= time)
    raise ValueError(f"lengths[{row}] is {steps[row]}; it must be from 1 to {time}, the steps of input")


def _floats(cell: Cell, weights: Weights, input: Tensor, state: State, fresh: State) -> Iterator[Named]:
    _, batch, input_size = input.shape
    hidden_size = max(weights.weight_ih.shape[0] // cell.preactivations, 1)
    rows = cell.preactivations * hidden_size
    h_size = hidden_size if weights.weight_hr is None else weights.weight_hr.shape[0]
    yield "input", input, (*input.shape,)
    yield "weight_ih", weights.weight_ih, (rows, input_size)
    if weights.weight_hr is not None:
        yield "weight_hr", weights.weight_hr, (max(h_size, 1), hidden_size)
    yield "weight_hh", weights.weight_hh, (rows, max(h_size // cell.heads, 1))
    if (weights.bias_ih is None) != (weights.bias_hh is None):
        raise ValueError("only one of bias_ih and bias_hh is there; both must be, or neither")
    if weights.bias_ih is not None and weights.bias_hh is not None:
        yield "bias_ih", weights.bias_ih, (rows,)
        yield "bias_hh", weights.bias_hh, (rows,)
    if len(weights.own) != len(cell.parameters):
        raise ValueError(
            f"{cell.name} has {len(cell.parameters)} parameters of its own; {len(weights.own)} came"
        )
    for parameter, tensor in zip(cell.parameters, weights.own, strict=True):
        yield parameter.name, tensor, parameter.shape(hidden_size)
    for which, tensors in (("_0", state), ("_fresh", fresh)):
        size = h_size
        for name, tensor in zip(cell.states, tensors, strict=False):
            yield name + which, tensor, (batch, size)
            size = hidden_size


def _check_noise(noise: Noise, state: State, time: int) -> None:
    # Of any dtype: the kernels are given a copy in that of the layer.
    if len(noise.zoneout) > len(state):
        raise ValueError(f"zoneout has {len(noise.zoneout)} tensors, but there are only {len(state)} states")
    named = [("recurrent_mask", noise.recurrent_mask, tuple(state[0].shape))]
    for index, (keep, each) in enumerate(zip(noise.zoneout, state, strict=False)):
        if keep is not None and keep.dim() == 0:
            named.append((f"zoneout[{index}]", keep, ()))
        else:
            named.append((f"zoneout[{index}]", keep, (time, *each.shape)))
    for name, tensor, shape in named:
        if tensor is None:
            continue
        if tensor.shape != shape:
            raise ValueError(f"{name} is {tuple(tensor.shape)}; it must be {shape}")
        if not tensor.is_cpu or tensor.layout is not torch.strided:
            raise _elsewhere(name, tensor)


def _elsewhere(name: str, tensor: Tensor) -> ValueError:
    return ValueError(
        f"{name} is {tensor.layout} on {tensor.device}; the native kernels read strided tensors on cpu"
    )
