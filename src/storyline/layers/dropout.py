"""Dropout for recurrent networks: one mask a sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
