"""The exponential moving average of the weights (Polyak & Juditsky 1992, in its exponential form)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Keeps the average of a module's trainable parameters; buffers are taken as they are."""

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        named = [
            (name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad
        ]
        self.names = [name for name, _ in named]
        self.parameters: list[Tensor] = [parameter for _, parameter in named]
        self.values = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step `step` (from 1); early ones fade by (1 + step) / (10 + step)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.values, self.parameters, 1 - decay)

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take values by parameter name, as a checkpoint holds them."""
        for name, value in zip(self.names, self.values, strict=True):
            value.copy_(tensors[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it, the module has the averaged weights."""
        weights = [parameter.detach().clone() for parameter in self.parameters]
        self.copy_to_module()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self.parameters, weights)

    @torch.no_grad()
    def copy_to_module(self) -> None:
        """Give the module the averaged weights for good."""
        torch._foreach_copy_(self.parameters, self.values)
