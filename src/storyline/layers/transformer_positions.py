"""Where a token stands, told to a Transformer, which by itself knows no order."""

from __future__ import annotations

import math
import warnings
from typing import Literal

import torch
from torch import Tensor, nn

PositionKind = Literal["sinusoidal", "learned"]


def sinusoids(positions: Tensor, size: int) -> Tensor:
    """Positions (...) int64 from 0 -> (..., size) float64.

    PE(p, 2i) = sin(p / 10000^(2i / size)), PE(p, 2i + 1) = cos of the same (Vaswani et al. 2017, section 3.5).
    """
    pairs = torch.arange(0, size, 2, dtype=torch.float64, device=positions.device)
    angles = positions.unsqueeze(-1) * torch.exp(pairs * (-math.log(10_000) / size))
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)


class Positions(nn.Module):
    """A vector a position, to be added to what stands there.

    kind     "sinusoidal": computed, so that any position has one, longer than all of training too; "learned": a
             parameter each, for `longest` positions
    longest  of learned positions. A text that is longer in training is refused. In evaluation every position behind
             the longest that training has seen gets the vector of that one, and a warning says so, once.
    """

    seen: Tensor

    def __init__(self, kind: PositionKind, size: int, longest: int = 1024) -> None:
        super().__init__()
        if kind not in ("sinusoidal", "learned"):
            raise ValueError(f"positions is {kind!r}; it must be 'sinusoidal' or 'learned'")
        if kind == "sinusoidal" and size % 2:
            raise ValueError(f"hidden_size is {size}; sinusoidal positions need an even one")
        self.kind, self.size, self._warned = kind, size, False
        if kind == "learned":
            if longest < 1:
                raise ValueError(f"longest_position is {longest}; learned positions need at least 1")
            self.weight = nn.Parameter(torch.randn(longest, size) * size**-0.5)
            # Kept with the weights: what lies behind was never trained.
            self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, positions: Tensor) -> Tensor:
        """Positions (...) int64 from 0 -> (..., size)."""
        if self.kind == "sinusoidal":
            return sinusoids(positions, self.size)
        end = int(positions.max()) + 1
        if self.training:
            if end > len(self.weight):
                raise ValueError(
                    f"a text of {end} tokens came, and there are {len(self.weight)} learned positions; give "
                    "longest_position=, or positions='sinusoidal'"
                )
            self.seen.clamp_(min=end)
        known = int(self.seen) or len(self.weight)
        if end > known and not self._warned:
            self._warned = True
            warnings.warn(
                f"a text of {end} tokens came, and positions were learned up to {known}: all further ones share the "
                "vector of the last; positions='sinusoidal' has one for each",
                stacklevel=2,
            )
        return self.weight[positions.clamp(max=known - 1)]

    def extra_repr(self) -> str:
        """The arguments."""
        return self.kind + (f", longest={len(self.weight)}" if self.kind == "learned" else "")
