"""Where a token stands, told to a Transformer, which by itself knows no order."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

PositionKind = Literal["sinusoidal", "learned", "rotary"]


def sinusoids(positions: Tensor, size: int) -> Tensor:
    """Positions (...) int64 from 0 -> (..., size) float64.

    PE(p, 2i) = sin(p / 10000^(2i / size)), PE(p, 2i + 1) = cos of the same (Vaswani et al. 2017, section 3.5).
    """
    angles = _angles(positions, size)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)


@dataclass(frozen=True)
class Turns:
    """By how much the channels of each position are turned: cosines and sines, (time, size of a head / 2) each.

    Or (batch, time, size / 2), where the rows of a batch stand at positions of their own.
    """

    cos: Tensor
    sin: Tensor

    @staticmethod
    def of(positions: Tensor, size: int, like: Tensor) -> Turns:
        """Position p (time,) or (batch, time) int64 turns by p / 10000^(2i / size) (Su et al. 2021, eq. 15)."""
        angles = _angles(positions, size)
        return Turns(angles.cos().to(like.dtype), angles.sin().to(like.dtype))

    def turn(self, x: Tensor) -> Tensor:
        """Queries or keys, so that their product depends on the distance alone: (batch, time, heads, size) -> the same.

        Su et al. 2021, eq. 34, there of neighbouring channels, here of i and i + size / 2, which is cheaper and
        nothing that the weights could not arrange.
        """
        cos, sin = self.cos.unsqueeze(-2), self.sin.unsqueeze(-2)
        first, second = x.chunk(2, -1)
        return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


def _angles(positions: Tensor, size: int) -> Tensor:
    """(...) -> (..., size / 2) float64, in which the millionth position still has all its digits."""
    pairs = torch.arange(0, size, 2, dtype=torch.float64, device=positions.device)
    return positions.unsqueeze(-1) * torch.exp(pairs * (-math.log(10_000) / size))


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
            raise ValueError(f"positions is {kind!r}; it must be 'sinusoidal', 'learned' or 'rotary'")
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
