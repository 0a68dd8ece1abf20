"""Whether a stand-in computes what torch.nn computes: tried on a module's own weights, before it is swapped."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from storyline.layers.stand_in import StandIn, settings, stand_in

_LENGTHS = torch.tensor([3, 5, 1], device="cpu")
RULE = "values and gradients, dense and packed, against torch.nn in float64: at most 4 x its own error + 1e-7"


@dataclass(frozen=True)
class Agreement:
    """How far a stand-in and torch.nn's own module are from torch.nn in float64.

    deviation, own: the largest difference in output, last state or any gradient, dense or packed, in units of
        the largest number of its tensor, or of 1 where that is smaller; of the stand-in, and of torch.nn's
        module in its own dtype. backend, reason: what served the stand-in.
    """

    deviation: float
    own: float
    backend: str
    reason: str

    @property
    def holds(self) -> bool:
        """Whether the deviation is within `RULE`; NaN never is."""
        return self.deviation <= 4 * self.own + 1e-7


def measure_agreement(module: nn.RNNBase, backend: str) -> Agreement:
    """Try the stand-in of `module` beside torch.nn, in training mode without dropout; `module` is only read.

    Raises what torch or the backend raises where a twin of the module cannot run.
    """
    device, dtype = _weight(module).device, _weight(module).dtype
    mine, theirs = _twin(module, device, dtype), _twin(module, device, dtype)
    truth = _twin(module, torch.device("cpu"), torch.float64)
    stand_in(mine, backend)
    assert isinstance(mine, StandIn)
    deviation = own = 0.0
    # Whatever the caller has switched, the check needs gradients and the module's own dtype; and what torch
    # has to say about its own layers it says at the first real call.
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
        warnings.catch_warnings(action="ignore"),
    ):
        for lengths in (None, _LENGTHS):
            wanted = _answers(truth, dtype, lengths)
            deviation = _larger(deviation, distance(_answers(mine, dtype, lengths), wanted))
            own = _larger(own, distance(_answers(theirs, dtype, lengths), wanted))
    assert mine.last_backend is not None
    return Agreement(deviation, own, *mine.last_backend)


def _weight(module: nn.RNNBase) -> Tensor:
    weight = module.weight_ih_l0
    assert isinstance(weight, Tensor)
    return weight


def _twin(module: nn.RNNBase, device: torch.device, dtype: torch.dtype) -> nn.RNNBase:
    """torch.nn's layer with the weights of `module`, its storage shared where device and dtype allow it.

    Not the module itself: the check must not call its hooks or those of its parameters.
    """
    twin = type(module)(**settings(module), device="meta", dtype=dtype)
    with torch.inference_mode(False):
        for name in module._flat_weights_names:
            held: Tensor = getattr(module, name).detach()
            # A tensor made in inference mode cannot take part in a gradient, its copy can.
            held = held.clone() if held.is_inference() else held
            setattr(twin, name, nn.Parameter(held.to(device=device, dtype=dtype)))
    return twin


def _answers(layer: nn.RNNBase, dtype: torch.dtype, lengths: Tensor | None) -> list[Tensor]:
    """Output, last state, and the gradients of a random weighing of both, in float64 on the CPU.

    dtype: what the random input is rounded to, so that layers of several dtypes are asked the same.
    """
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        values = torch.randn(*shape, generator=generator, dtype=torch.float64, device="cpu").to(dtype)
        return values.to(device=_weight(layer).device, dtype=_weight(layer).dtype)

    batch, time = len(_LENGTHS), int(_LENGTHS.max())
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    sizes = [layer.proj_size or layer.hidden_size] + [layer.hidden_size] * (layer.mode == "LSTM")
    input = draw(*((batch, time) if layer.batch_first else (time, batch)), layer.input_size)
    state = [draw(rows, batch, size).requires_grad_() for size in sizes]
    leaves = [input.requires_grad_(), *state, *layer.parameters()]
    asked: Any = input
    if lengths is not None:
        asked = pack_padded_sequence(input, lengths, layer.batch_first, enforce_sorted=False)
    output, last = layer(asked, tuple(state) if len(state) > 1 else state[0])
    output = output.data if isinstance(output, PackedSequence) else output
    results = [output, *(last if isinstance(last, tuple) else (last,))]
    loss = sum((draw(*each.shape) * each).sum() for each in results)
    assert isinstance(loss, Tensor)
    return [each.detach().cpu().double() for each in (*results, *torch.autograd.grad(loss, leaves))]


def distance(some: list[Tensor], wanted: list[Tensor]) -> float:
    """The largest difference, in units of the largest number of its tensor, or of 1 where that is smaller.

    NaN where there is one among the differences.
    """
    largest = 0.0
    for a, b in zip(some, wanted, strict=True):
        unit = max(1.0, float(b.abs().max()))
        largest = _larger(largest, float((a - b).abs().max()) / unit)
    return largest


def _larger(one: float, other: float) -> float:
    """The larger of two, NaN if either is: max() would let a NaN slip."""
    return one if one >= other or one != one else other
