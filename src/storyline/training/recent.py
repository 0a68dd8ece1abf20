"""The weights of the last few validations and their mean (Vaswani et al. 2017, section 6.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]


class Recent:
    """Keeps a copy of the weights of each of the last `count` validations, the oldest first."""

    def __init__(self, count: int):
        self.count = count
        self.kept: list[Weights] = []

    def __len__(self) -> int:
        return len(self.kept)

    @torch.no_grad()
    def take(self, module: nn.Module) -> None:
        """Keep the module's weights as they are now; the oldest go where there were `count`."""
        self.kept = self.kept[-self.count + 1 :]
        self.kept.append({name: value.clone() for name, value in module.state_dict().items()})

    @torch.no_grad()
    def mean(self) -> Weights:
        """Their mean, summed in float64; what has no fractions (a batch norm's count) is that of the newest."""
        newest = self.kept[-1]
        return {
            name: torch.stack([weights[name].double() for weights in self.kept]).mean(0).to(value.dtype)
            if value.is_floating_point()
            else value.clone()
            for name, value in newest.items()
        }

    def named(self) -> Weights:
        """All of them by name, for a checkpoint."""
        return {
            f"{place}.{name}": value
            for place, weights in enumerate(self.kept)
            for name, value in weights.items()
        }

    def load(self, tensors: Weights, device: torch.device) -> None:
        """Take back what `named` gave."""
        self.kept = []
        for full_name, value in sorted(tensors.items(), key=lambda item: int(item[0].partition(".")[0])):
            place, _, name = full_name.partition(".")
            if int(place) == len(self.kept):
                self.kept.append({})
            self.kept[-1][name] = value.to(device)
