"""One layer of a Transformer, and what all stacks of them share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from storyline.layers.dropout import dropout
from storyline.layers.transformer_packing import Packing
from storyline.layers.transformer_positions import PositionKind, Positions, Turns


class TransformerLayer(nn.Module):
    """Self-attention, in a decoder attention over the source, then a network; each normed before, and added.

    x + dropout(sublayer(norm(x))): Vaswani et al. 2017, section 3, with the norm first (Xiong et al. 2020), where
    training needs no warm-up. Parameters have the names that torch.nn.TransformerEncoderLayer and
    TransformerDecoderLayer give them and load from there. It works on tokens behind one another, (tokens, size);
    who calls it says in `attention` what each may see.
    """

    def __init__(
        self, size: int, num_heads: int, feedforward_size: int, dropout: float, *, cross: bool = False
    ) -> None:
        super().__init__()
        self.size, self.num_heads, self.dropout = size, num_heads, dropout
        self.self_attn = nn.MultiheadAttention(size, num_heads)
        if cross:
            self.multihead_attn = nn.MultiheadAttention(size, num_heads)
        self.linear1, self.linear2 = nn.Linear(size, feedforward_size), nn.Linear(feedforward_size, size)
        self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
        self.norm3 = nn.LayerNorm(size) if cross else None
        # As torch.nn.Transformer starts all matrices; what the biases of linear maps draw would be noise.
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def queries_keys_values(
        self, x: Tensor, packing: Packing, turns: Turns | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """For self-attention: (tokens, size) -> three times (batch, heads, time, size of a head), 0 in padding."""
        held = self.self_attn
        projected = functional.linear(self.norm1(x), held.in_proj_weight, held.in_proj_bias)
        split = packing.spread(projected).view(packing.batch, packing.time, 3, self.num_heads, -1)
        query, keys, values = (each.transpose(1, 2) for each in split.unbind(2))
        if turns is not None:
            # both in one
            turned = turns.turn(split[:, :, :2].flatten(2, 3)).transpose(1, 2)
            query, keys = turned.chunk(2, 1)
        return query, keys, values

    def source_keys_values(self, source: Tensor) -> Tensor:
        """For attention over the source: (tokens, size) -> (tokens, 2 * size)."""
        held, size = self.multihead_attn, self.size
        return functional.linear(source, held.in_proj_weight[size:], held.in_proj_bias[size:])

    def source_queries(self, x: Tensor) -> Tensor:
        """For attention over the source: (tokens, size) -> (tokens, size)."""
        held, size = self.multihead_attn, self.size
        return functional.linear(self.norm2(x), held.in_proj_weight[:size], held.in_proj_bias[:size])

    def after_self(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Add what self-attention has mixed, (tokens, size)."""
        return x + self._drop(self.self_attn.out_proj(mixed))

    def after_source(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Add what attention over the source has mixed, (tokens, size)."""
        return x + self._drop(self.multihead_attn.out_proj(mixed))

    def feed(self, x: Tensor) -> Tensor:
        """The network: x + linear2(relu(linear1(norm(x))))."""
        norm = self.norm2 if self.norm3 is None else self.norm3
        return x + self._drop(self.linear2(torch.relu(self.linear1(norm(x)))))

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)


class Entrance(nn.Module):
    """Embedded tokens to what the first layer reads: scaled, brought to its size, positions added, dropout.

    positions  "rotary" adds nothing: there the layers turn queries and keys

    scale      what the vectors are multiplied by; None: sqrt(input_size) (Vaswani et al. 2017, section 3.4), made for
               vectors of length 1, as `TokenEmbedding` starts them
    """

    def __init__(
        self, input_size: int, hidden_size: int, positions: PositionKind, longest: int,
        num_heads: int, dropout: float, scale: float | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.scale = math.sqrt(input_size) if scale is None else scale
        self.linear = nn.Linear(input_size, hidden_size) if input_size != hidden_size else None
        self.positions = None if positions == "rotary" else Positions(positions, hidden_size, longest)
        self.head_size = hidden_size // num_heads
        self.dropout = dropout

    def forward(self, tokens: Tensor, positions: Tensor, packing: Packing) -> tuple[Tensor, Turns | None]:
        """Packed tokens (tokens, input_size) at positions (time,) or (batch, time) int64 -> (tokens, hidden_size).

        Also by how much queries and keys of rotary positions are to be turned.
        """
        x = tokens * self.scale
        if self.linear is not None:
            x = self.linear(x)
        if self.positions is None:
            return dropout(x, self.dropout, self.training), Turns.of(positions, self.head_size, x)
        x = x + packing.pack_steps(self.positions(positions).to(x.dtype))
        return dropout(x, self.dropout, self.training), None


def layer_stack(
    hidden_size: int, num_layers: int, num_heads: int, feedforward_size: int | None,
    dropout: float, positions: PositionKind, *, cross: bool = False,
) -> nn.ModuleList:  # fmt: skip
    """The layers of a Transformer. Raises ValueError with the name of the argument that makes none."""
    feedforward_size = 4 * hidden_size if feedforward_size is None else feedforward_size
    for name, value in (
        ("hidden_size", hidden_size), ("num_layers", num_layers), ("num_heads", num_heads),
        ("feedforward_size", feedforward_size),
    ):  # fmt: skip
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}; it must be a whole number, 1 or more")
    if hidden_size % num_heads:
        raise ValueError(
            f"hidden_size is {hidden_size} and num_heads {num_heads}; it must be a multiple of them"
        )
    if positions == "rotary" and hidden_size // num_heads % 2:
        raise ValueError(
            f"hidden_size={hidden_size} gives each of num_heads={num_heads} heads {hidden_size // num_heads} channels; "
            "rotary positions need an even number"
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}; it must be a probability below 1")
    return nn.ModuleList(
        TransformerLayer(hidden_size, num_heads, feedforward_size, dropout, cross=cross)
        for _ in range(num_layers)
    )
