"""A recurrent stack taken apart: each layer and direction as a layer of its own, with the same weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from storyline.layers import GRU, LSTM, RNN, Recurrent
from storyline.layers.parameters import suffixes
from storyline.layers.stand_in import settings
from storyline.memory.steps import MeasureError

# How far a layer's own output may lie from that of its parts, both in float64, over the first few steps: more of
# them would let a chaotic layer blow rounding up.
_STEPS, _ROWS, _TOLERANCE = 16, 8, 1e-9


@final
class OneLayer(Recurrent):
    """One layer in one direction of another stack: batch first, forwards, in evaluation mode, not trained."""

    def __init__(self, stack: Recurrent, end: str) -> None:
        weight = stack.get_parameter("weight_ih" + end)
        super().__init__(
            stack.cell, weight.shape[1], stack.hidden_size, proj_size=stack.proj_size, bias=stack.bias,
            batch_first=True, zoneout=stack.rates.zoneout or 0.0, learn_initial_state=False,
            backend="reference", device="meta", dtype=weight.dtype,
        )  # fmt: skip
        for name in list(self._parameters):
            held = stack.get_parameter(name.removesuffix("_l0") + end).detach()
            setattr(self, name, nn.Parameter(held, requires_grad=False))
        self.eval()


@dataclass(frozen=True, eq=False)
class Part:
    """One layer in one direction.

    name: ``"layer 1"``, ``"layer 2, backward"``; suffix: torch.nn's for its parameters, ``_l0``;
    index: its place in the stack, which is its row in h_n; reverse: it reads from the last step to the first.
    layer: reads (batch, time, channels) in the order of its reading.
    """

    name: str
    suffix: str
    index: int
    reverse: bool
    layer: OneLayer


def as_ours(layer: nn.Module) -> Recurrent:
    """The layer itself, or ours with torch's weights, not copied: ours returns its gates, torch's cannot.

    Raises:
        MeasureError: it is no recurrent layer.
    """
    if isinstance(layer, Recurrent):
        return layer
    ours: dict[type[nn.RNNBase], Any] = {nn.LSTM: LSTM, nn.GRU: GRU, nn.RNN: RNN}
    kind = next((each for each in ours if isinstance(layer, each)), None)
    if kind is None:
        raise MeasureError(
            f"the layer is {type(layer).__name__}{_where(layer)}; LSTM, GRU or RNN, of storyline or torch.nn, "
            "was wanted"
        )
    assert isinstance(layer, nn.RNNBase)
    weight = layer.weight_ih_l0
    assert isinstance(weight, Tensor)
    stack = ours[kind](**settings(layer), device="meta", dtype=weight.dtype, backend="reference")
    for name in list(stack._parameters):
        setattr(stack, name, nn.Parameter(getattr(layer, name).detach(), requires_grad=False))
    assert isinstance(stack, Recurrent)
    return stack.eval()


def parts_of(layer: nn.Module) -> tuple[Part, ...]:
    """Every layer and direction of a recurrent stack, in the order of the stack; `layer` is only read.

    Raises:
        MeasureError: it is no recurrent layer.
    """
    stack = as_ours(layer)
    return tuple(
        Part(part_name(end), end, index, end.endswith("_reverse"), OneLayer(stack, end))
        for index, end in enumerate(suffixes(stack))
    )


def part_name(key: str) -> str:
    """``f_l0_reverse`` -> ``layer 1, backward``."""
    number = int(key.removesuffix("_reverse").rsplit("_l", 1)[1]) + 1
    return f"layer {number}{', backward' if key.endswith('_reverse') else ''}"


def check_agreement(layer: nn.Module, inputs: Tensor, state: tuple[Tensor, ...]) -> None:
    """Refuse a layer whose own output is not what its weights give by the equations.

    Both run in float64, on copies, over the first 16 steps of at most 8 sequences: a subclass that changes the
    forward pass would otherwise be traced as what it is not.

    Args:
        layer: as the user gave it.
        inputs: (batch, time, channels).
        state: (layers * directions, batch, size) each.
    """
    rows = slice(0, _ROWS)
    few = inputs[rows, :_STEPS].detach().to("cpu", torch.float64)
    start = tuple(each[:, rows].detach().to("cpu", torch.float64) for each in state)
    hx = start if len(start) > 1 else start[0]
    try:
        twin = copy.deepcopy(layer).to("cpu", torch.float64).eval()
        fed = few if twin.batch_first else few.transpose(0, 1)
        with torch.no_grad():
            own = twin.forward(fed, hx)[0]  # not the call, which would run the user's hooks
    except Exception as problem:
        first = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise MeasureError(
            f"the {type(layer).__name__} could not be run on inputs and a state as torch.nn's is: {first}"
        ) from problem
    stack = as_ours(twin)
    backend, stack.backend = stack.backend, "reference"
    with torch.no_grad():
        ours = stack(fed, hx)[0]
    stack.backend = backend
    away = float((own - ours).abs().max() / own.abs().max().clamp_min(1.0))
    if not away <= _TOLERANCE:
        raise MeasureError(
            f"the {type(layer).__name__} does not compute what its weights say: its output is {away:.1e} away "
            "from that of its equations in float64; a subclass with a forward of its own cannot be traced"
        )


def _where(layer: nn.Module) -> str:
    """The recurrent layers inside a model, so that the user knows what to pass."""
    names = [name for name, each in layer.named_modules() if isinstance(each, nn.RNNBase)]
    return (
        f", which holds recurrent layers at {', '.join(map(repr, names))}: pass one of those" if names else ""
    )


def in_chunks(total: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` that cover ``total``."""
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))
