"""The data that a recurrent layer is measured on, as a user gives it: padded, packed or a single sequence."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from storyline.layers import Recurrent, State
from storyline.layers.arguments import check_input, check_state
from storyline.memory.inside.parts import as_ours, check_agreement
from storyline.memory.steps import MeasureError


@dataclass(frozen=True, eq=False)
class Sample:
    """A layer and what it reads, checked; batch first.

    stack: the layer, or ours with its weights. inputs: (batch, time, channels), 0 beyond the lengths.
    lengths: (batch,) int64 on the device of the inputs. state: (layers * directions, batch, size) each.
    """

    stack: Recurrent
    inputs: Tensor
    lengths: Tensor
    state: tuple[Tensor, ...]

    def double(self) -> Sample:
        """The same in float64, on copies."""
        stack = copy.deepcopy(self.stack).double()
        return Sample(stack, self.inputs.double(), self.lengths, tuple(each.double() for each in self.state))

    @property
    def inside(self) -> Tensor:
        """(batch, time) bool: the steps that exist."""
        return inside(self.lengths, self.inputs.shape[1])


def inside(lengths: Tensor, time: int) -> Tensor:
    """(batch, time) bool: True at the steps before each row's length, which may be 0 or less."""
    return torch.arange(time, device=lengths.device) < lengths.unsqueeze(1)


def sample_of(
    layer: nn.Module,
    inputs: Tensor | PackedSequence,
    lengths: Tensor | Sequence[int] | None = None,
    state: State | None = None,
) -> Sample:
    """Check a layer and its data, and that the layer computes what its weights say.

    Args:
        layer: LSTM, GRU, RNN, SLSTM or CellStack of storyline.layers, or torch.nn's.
        inputs: (time, batch, channels), (batch, time, channels) with the layer's batch_first, (time, channels) for
            one sequence, or a PackedSequence.
        lengths: (batch,) steps of each sequence; None: all are full. A PackedSequence has its own.
        state: the one before the first step, as the layer takes it; None: its own.

    Raises:
        MeasureError: something does not fit, or NaN or infinity stands inside a sequence.
    """
    stack = as_ours(layer)
    if isinstance(inputs, PackedSequence):
        if lengths is not None:
            raise MeasureError("inputs is a PackedSequence, which has its own lengths; leave lengths= out")
        inputs, lengths = pad_packed_sequence(inputs, batch_first=stack.batch_first)
    try:
        check_input(inputs, stack.input_size, stack.weight_ih_l0, stack.batch_first)
    except (TypeError, ValueError) as problem:
        raise MeasureError(str(problem)) from None
    single = inputs.dim() == 2
    first = inputs.unsqueeze(0) if single else inputs if stack.batch_first else inputs.transpose(0, 1)
    first = first.detach()
    batch, time, _ = first.shape
    steps = steps_of(lengths, batch, time, first.device)
    real = inside(steps, time).unsqueeze(-1)
    if not bool(torch.isfinite(first).logical_or(~real).all()):
        row, step = (~torch.isfinite(first) & real).any(-1).nonzero()[0].tolist()
        raise MeasureError(
            f"the input of sequence {row} holds NaN or infinity at step {step}; mend or drop it"
        )
    first = torch.where(real, first, 0)
    begin = _state(stack, state, batch, single)
    check_agreement(layer, first, begin)
    return Sample(stack, first, steps, begin)


def steps_of(lengths: Any, rows: int, time: int, device: torch.device) -> Tensor:
    """The lengths (rows,) as int64; None: all are full."""
    if lengths is None:
        return torch.full((rows,), time, dtype=torch.int64, device=device)
    steps = torch.as_tensor(lengths).detach().to(device)
    whole = not (steps.is_floating_point() or steps.is_complex() or steps.dtype == torch.bool)
    if steps.shape != (rows,) or not whole or int(steps.min()) < 1 or int(steps.max()) > time:
        came = str(steps.tolist()) if steps.numel() < 9 else f"{steps.dtype} of shape {tuple(steps.shape)}"
        raise MeasureError(
            f"lengths are {came}; one of 1 to {time} for each of the {rows} sequences was wanted"
        )
    return steps.to(torch.int64)


def _state(stack: Recurrent, given: State | None, batch: int, single: bool) -> tuple[Tensor, ...]:
    own = stack.initial_state(batch)
    own = (own,) if isinstance(own, Tensor) else own
    if given is None:
        return tuple(each.detach() for each in own)
    shapes = [(each.shape[0], each.shape[2]) if single else tuple(each.shape) for each in own]
    try:
        state = check_state(given, stack.cell.states, shapes, "the initial state", stack.weight_ih_l0)
    except ValueError as problem:
        raise MeasureError(str(problem)) from None
    for name, each in zip(stack.cell.states, state, strict=True):
        if not bool(torch.isfinite(each).all()):
            raise MeasureError(f"the initial state: {name}_0 holds NaN or infinity; start from a finite one")
    return tuple((each.unsqueeze(1) if single else each).detach() for each in state)
