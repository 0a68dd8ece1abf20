"""A small Transformer that reads stories, to stand beside the recurrent networks."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

# Queries attended at once without gradients, so that 25,000 words need no 25,000 x 25,000 matrix.
BLOCK = 256
# exp(-104) is below the least number of float32, and half of it is 0.
_NOTHING = 104.0


@final
class CausalTransformer(nn.Module):
    """A causal Transformer, tensor in, tensor out, without any embedding of the position.

    input (batch, time, input_size) -> (batch, time, hidden_size). Pre-norm layers (Xiong et al. 2020) of causal
    attention (Vaswani et al. 2017) and a GELU network four times as wide. So that it can be asked far beyond its
    training length, half the heads have no position at all (Kazemnejad et al. 2023) and the others subtract
    slope (t - s) from the scores, slope 1/2, 1/4, ... (ALiBi, Press et al. 2022), which tells neighbours in order.

    Raises ValueError where hidden_size is no multiple of num_heads.
    """

    def __init__(
        self, input_size: int, hidden_size: int = 64, num_layers: int = 2, num_heads: int = 4
    ) -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"hidden_size is {hidden_size}, no multiple of num_heads={num_heads}; give one")
        self.hidden_size = hidden_size
        self.enter = nn.Linear(input_size, hidden_size)
        self.layers = nn.ModuleList(_Layer(hidden_size, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, input: Tensor) -> Tensor:
        """Read whole sequences; see the class."""
        x = self.enter(input)
        for layer in self.layers:
            x = layer(x)
        return torch.as_tensor(self.norm(x))


class _Layer(nn.Module):
    slopes: Tensor

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.behind = nn.LayerNorm(size), nn.LayerNorm(size)
        self.project, self.leave = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.wide = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))
        # So many heads look at what is near, the others at all alike.
        self.near = heads // 2
        slopes = [2.0 ** -(head + 1) for head in range(self.near)]
        self.register_buffer("slopes", torch.tensor(slopes).view(self.near, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, size = x.shape
        parts = self.project(self.before(x)).view(batch, time, 3, self.heads, size // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        plain = q[:, self.near :], k[:, self.near :], v[:, self.near :]
        far = functional.scaled_dot_product_attention(*plain, is_causal=True)
        mixed = torch.cat(
            [self._attend_near(q[:, : self.near], k[:, : self.near], v[:, : self.near]), far], 1
        )
        x = x + self.leave(mixed.transpose(1, 2).reshape(batch, time, size))
        return x + torch.as_tensor(self.wide(self.behind(x)))

    def _attend_near(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention of the heads that subtract slope (t - s), all queries to all keys up to themselves.

        Without gradients in blocks of queries, each to those keys alone whose weight is not 0 for certain: no score is
        beyond +-b = max |q| max |k| / sqrt(size of a head), so that a key is exp(2 b - slope (t - s)) times as heavy as
        the query's own at most.
        """
        time, slopes = q.shape[2], self.slopes[: self.near]
        if torch.is_grad_enabled() or not self.near:
            return self._attend(q, k, v, slopes, 0, 0, time)
        bound = float(q.norm(dim=-1).max() * k.norm(dim=-1).max()) * q.shape[-1] ** -0.5
        reach = math.ceil((2 * bound + _NOTHING) / float(slopes.min()))
        starts = range(0, time, BLOCK)
        return torch.cat(
            [
                self._attend(q, k, v, slopes, max(0, start - reach), start, min(start + BLOCK, time))
                for start in starts
            ],
            2,
        )

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, first: int, start: int, stop: int
    ) -> Tensor:
        """Attention of the queries start ... stop - 1 to the keys from `first` up to themselves."""
        ago = torch.arange(start, stop).view(-1, 1) - torch.arange(first, stop)
        bias = (-slopes * ago).masked_fill(ago < 0, -math.inf)
        return functional.scaled_dot_product_attention(
            q[:, :, start:stop], k[:, :, first:stop], v[:, :, first:stop], bias
        )
