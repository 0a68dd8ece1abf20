"""Dropout for recurrent networks: one mask a sequence, on what a step reads or on the recurrent weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from storyline.layers.recurrent import Recurrent


class LockedDropout(nn.Module):
    """Dropout that drops the same channels of a sequence at all of its steps.

    Gal and Ghahramani 2016, section 4 ("variational dropout"): with a mask of its own at every step a channel
    only flickers, and what one step hides the next one shows.

    p: the probability that a channel is dropped, 0 <= p < 1. Kept ones are scaled by 1 / (1 - p).
    """

    def __init__(self, p: float = 0.5, *, batch_first: bool = False) -> None:
        super().__init__()
        self.p = _checked(p)
        self.batch_first = batch_first

    def forward(self, input: Tensor) -> Tensor:
        """Drop: (time, batch, size) -> the same; (batch, time, size) with batch_first."""
        if not self.training or self.p == 0:
            return input
        shape = list(input.shape)
        shape[1 if self.batch_first else 0] = 1
        mask = torch.empty(shape, device=input.device, dtype=input.dtype).bernoulli_(1 - self.p)
        return input * mask.div_(1 - self.p)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.p}, batch_first={self.batch_first}"


class WeightDropout(nn.Module):
    """A recurrent layer whose recurrent weights, weight_hh, are dropped in training, one mask a forward pass.

    DropConnect on the recurrence (Merity, Keskar and Socher 2018, section 2): it regularises from step to
    step, and the fused operators still serve. The layer itself stays whole and is saved as `layer.*`.

    p: the probability that a weight is dropped, 0 <= p < 1. Kept ones are scaled by 1 / (1 - p).
    """

    def __init__(self, layer: Recurrent, p: float = 0.5) -> None:
        super().__init__()
        self.layer = layer
        self.p = _checked(p)

    def forward(self, *arguments: Any, **options: Any) -> Any:
        """As the layer's own."""
        if not self.training or self.p == 0:
            return self.layer(*arguments, **options)
        dropped = {
            name: functional.dropout(weight, self.p)
            for name, weight in self.layer.named_parameters()
            if name.startswith("weight_hh")
        }
        return functional_call(self.layer, dropped, arguments, options)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"


def _checked(p: float) -> float:
    if not 0 <= p < 1:
        raise ValueError(f"p is {p}; it must be a probability below 1")
    return p
