"""A Transformer that reads a source."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from storyline.layers.arguments import check_input, check_lengths
from storyline.layers.decoding import Encoded, Encoder
from storyline.layers.multihead import joined
from storyline.layers.transformer_layer import (
    Entrance,
    TransformerLayer,
    layer_stack,
)
from storyline.layers.transformer_packing import Packing
from storyline.layers.transformer_positions import PositionKind


@final
class TransformerEncoder(Encoder):
    """The encoder of Vaswani et al. 2017, normed before each sublayer and once at the end.

    input_size        of the embedded tokens; a linear map leads to hidden_size where that differs
    feedforward_size  of the network in each layer; None: 4 * hidden_size
    dropout           of the entrance and of what each sublayer adds
    positions         "sinusoidal" (Vaswani et al. 2017), "learned", see `Positions`, or "rotary" (Su et al. 2021)
    longest_position  so many learned positions there are
    scale             what embedded tokens are multiplied by, see `Entrance`; None: sqrt(input_size)

    A torch.nn.TransformerEncoder of layers with norm_first=True and of a final LayerNorm has the same parameters and
    loads. Ragged batches are computed without their padding. Raises ValueError where hidden_size is no multiple of
    num_heads, and for sizes below 1.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_layers: int = 3,
        num_heads: int = 4,
        feedforward_size: int | None = None,
        dropout: float = 0.0,
        positions: PositionKind = "sinusoidal",
        longest_position: int = 1024,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        self.input_size, self.output_size = input_size, hidden_size
        self.layers = layer_stack(hidden_size, num_layers, num_heads, feedforward_size, dropout, positions)
        self.entrance = Entrance(
            input_size, hidden_size, positions, longest_position, num_heads, dropout, scale
        )
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, embedded: Tensor, lengths: Tensor) -> Encoded:
        """Read sources (batch, source, input_size) of `lengths` (batch,) tokens; what stands in padding is not read.

        Returns output (batch, source, hidden_size), 0 in the padding. Raises ValueError where they do not fit.
        """
        check_batch(embedded, self.input_size, self.norm.weight)
        batch, time, _ = embedded.shape
        ends = check_lengths(lengths, batch, time)
        ends = None if ends is None else ends.to(embedded.device)
        packing = Packing.of(ends, batch, time)
        steps = torch.arange(time, device=embedded.device)
        mask = None if ends is None else (steps < ends.unsqueeze(1))[:, None, None]
        x, turns = self.entrance(packing.pack(embedded), steps, packing)
        for layer in cast(Iterable[TransformerLayer], self.layers):
            query, keys, values = layer.queries_keys_values(x, packing, turns)
            mixed = functional.scaled_dot_product_attention(query, keys, values, mask)
            x = layer.feed(layer.after_self(x, packing.pack(joined(mixed))))
        given = torch.as_tensor(lengths, dtype=torch.int64, device=embedded.device)
        return Encoded(packing.spread(self.norm(x)), given)


def check_batch(embedded: Tensor, input_size: int, weight: Tensor) -> None:
    """Refuse what is not (batch, time, input_size)."""
    check_input(embedded, input_size, weight, batch_first=True)
    if embedded.dim() != 3:
        raise ValueError(f"input has {embedded.dim()} dimensions; it must be (batch, time, input_size)")
