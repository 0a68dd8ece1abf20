"""What a recurrent layer is given, checked: one clear sentence for everything that it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from storyline.kernels import values_of


def check_input(input: Any, input_size: int, weight: Tensor, batch_first: bool) -> None:
    """Refuse an input that is not (time, batch, input_size), or (time, input_size) unbatched, or not as `weight` is."""
    if isinstance(input, PackedSequence):
        raise TypeError("input is a PackedSequence; pass the padded tensor and lengths= instead")
    if not isinstance(input, Tensor):
        raise TypeError(f"input is a {type(input).__name__}; it must be a tensor")
    layout = "(batch, time, input_size)" if batch_first else "(time, batch, input_size)"
    if input.dim() not in (2, 3):
        raise ValueError(
            f"input has {input.dim()} dimensions; it must be {layout}, or (time, input_size) for one sequence"
        )
    if input.shape[-1] != input_size:
        raise ValueError(
            f"input has {input.shape[-1]} features a step; this layer reads input_size={input_size}"
        )
    _check_kind(input, "input", weight)
    if input.numel() == 0:
        raise ValueError(f"input {tuple(input.shape)} is empty; it needs at least one sequence and one step")


def check_every(every: Any) -> int | None:
    """checkpoint_every as given: None, or 1 or more steps."""
    if every is None or (isinstance(every, int) and not isinstance(every, bool) and every >= 1):
        return every
    raise ValueError(
        f"checkpoint_every is {every!r}; it must be a whole number of steps, 1 or more, or None to keep every step"
    )


def check_lengths(
    lengths: Tensor | Sequence[int] | int | None, batch: int | None, time: int
) -> Tensor | None:
    """The lengths (batch,) as int64, or None where every row is full; batch None: one sequence.

    On the CPU, but for those of a traced graph, which are checked when it runs: there a length that does not
    fit raises a RuntimeError.
    """
    if lengths is None:
        return None
    try:
        given = torch.as_tensor(lengths).detach()
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"lengths are {lengths!r}; they must be integers, one a sequence") from None
    if given.dtype.is_floating_point or given.dtype.is_complex or given.dtype == torch.bool:
        raise ValueError(f"lengths are {given.dtype}; they must be integers")
    if batch is None and given.dim() == 0:
        given = given.unsqueeze(0)
    batch = batch or 1
    if given.shape != (batch,):
        raise ValueError(f"lengths have shape {tuple(given.shape)}; they must be ({batch},), one a sequence")
    # A copy: what the way back reads must not change with an array of the user's.
    given = given.to(torch.int64, copy=True)
    values = values_of(given)
    if values is None:
        fits = ((given >= 1) & (given <= time)).all()
        torch._assert_async(fits, "lengths must lie between 1 and the steps of input")
        return given
    values = values.cpu()
    if (wrong := values < 1).any():
        row, value = _first(wrong, values)
        raise ValueError(f"lengths[{row}] is {value}; every sequence needs at least one step")
    if (wrong := values > time).any():
        row, value = _first(wrong, values)
        raise ValueError(f"lengths[{row}] is {value}, but input has only {time} steps")
    return None if bool((values == time).all()) else given.cpu()


def _first(wrong: Tensor, values: Tensor) -> tuple[str, int]:
    """The place of the first wrong value, and the value; under torch.func.vmap a place has two numbers."""
    place = wrong.nonzero()[0].tolist()
    return ", ".join(str(each) for each in place), int(values[tuple(place)])


def check_resets(resets: Tensor | None, batch: int | None, time: int, batch_first: bool) -> Tensor | None:
    """The resets as (time, batch), or None where there is none; batch None: one sequence, (time,)."""
    if resets is None:
        return None
    if not isinstance(resets, Tensor) or resets.dtype != torch.bool:
        kind = resets.dtype if isinstance(resets, Tensor) else type(resets).__name__
        raise ValueError(f"resets is {kind}; it must be a bool tensor, True where a sequence starts afresh")
    wanted: tuple[int, ...]
    if batch is None:
        layout, wanted = "(time,)", (time,)
    elif batch_first:
        layout, wanted = "(batch, time)", (batch, time)
    else:
        layout, wanted = "(time, batch)", (time, batch)
    if resets.shape != wanted:
        raise ValueError(f"resets have shape {tuple(resets.shape)}; they must be {layout} = {wanted}")
    values = values_of(resets)
    if values is not None and not bool(values.any()):
        return None
    return resets.unsqueeze(1) if batch is None else resets.T if batch_first else resets


def check_state(
    state: Any, names: Sequence[str], shapes: Sequence[tuple[int, ...]], name: str, weight: Tensor
) -> tuple[Tensor, ...]:
    """The state as a tuple of tensors of these shapes, as `weight` is; `name` is what the caller calls it."""
    given = (state,) if isinstance(state, Tensor) else state
    if (
        not isinstance(given, tuple | list)
        or len(given) != len(names)
        or (isinstance(state, Tensor) != (len(names) == 1))
    ):
        wanted = (
            f"the tensor {names[0]}_0" if len(names) == 1 else f"({', '.join(f'{each}_0' for each in names)})"
        )
        raise ValueError(f"{name} must be {wanted}; it is {_describe(state)}")
    for each, tensor, shape in zip(names, given, shapes, strict=True):
        if not isinstance(tensor, Tensor):
            raise ValueError(
                f"{name}: {each}_0 is of the type {type(tensor).__name__}; it must be a tensor {shape}"
            )
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name}: {each}_0 has shape {tuple(tensor.shape)}; it must be {shape}")
        _check_kind(tensor, f"{name}: {each}_0", weight)
    return tuple(given)


def _check_kind(tensor: Tensor, name: str, weight: Tensor) -> None:
    """Refuse a tensor of another type than `weight`, but under autocast, or on another device."""
    if tensor.dtype != weight.dtype and not torch.is_autocast_enabled(tensor.device.type):
        raise ValueError(
            f"{name} is {tensor.dtype} and the layer is {weight.dtype}; convert one: .to({weight.dtype})"
        )
    if tensor.device != weight.device:
        raise ValueError(
            f"{name} is on {tensor.device} and the layer on {weight.device}; move one: .to({str(weight.device)!r})"
        )


def _describe(state: Any) -> str:
    if isinstance(state, Tensor):
        return f"one tensor of shape {tuple(state.shape)}"
    if isinstance(state, tuple | list):
        return f"a {type(state).__name__} of length {len(state)}"
    return f"of the type {type(state).__name__}"
