"""Dropout: one mask a sequence for recurrent networks, and one that costs little on the CPU for all others."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class LockedDropout(nn.Module):
    """Dropout that drops the same channels of a sequence at all of its steps.

    Gal and Ghahramani 2016, section 4 ("variational dropout"): with a mask of its own at every step a channel
    only flickers, and what one step hides the next one shows.

    p: the probability that a channel is dropped, 0 <= p < 1. Kept ones are scaled by 1 / (1 - p).
    """

    def __init__(self, p: float = 0.5, *, batch_first: bool = False) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p is {p}; it must be a probability below 1")
        self.p = p
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


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Drop every element with probability p and scale the others by 1 / (1 - p), as torch.nn.functional.dropout does.

    On the CPU from 16 random bits an element where torch draws 64, four times as fast; p is rounded to a multiple of
    1 / 65536 there. Draws from torch's global generator.
    """
    if not training or p == 0:
        return x
    if x.device.type != "cpu":
        return functional.dropout(x, p)
    dropped = min(round(p * 65_536), 65_535)
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = words.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - 32_768
    return x * kept.to(x.dtype).mul_(65_536 / (65_536 - dropped))
