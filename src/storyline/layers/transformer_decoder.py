"""A Transformer that writes a target beside an encoded source."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from storyline.layers.arguments import check_input, check_lengths
from storyline.layers.decoding import Decoded, Decoder, DecodingState, Encoded
from storyline.layers.multihead import attend, joined
from storyline.layers.transformer_encoder import check_batch
from storyline.layers.transformer_layer import Entrance, TransformerLayer, layer_stack
from storyline.layers.transformer_packing import Packing
from storyline.layers.transformer_positions import PositionKind


@final
class TransformerDecoder(Decoder):
    """The decoder of Vaswani et al. 2017, normed before each sublayer and once at the end.

    input_size    of the embedded tokens; a linear map leads to hidden_size where that differs
    source_size   `output_size` of the encoder, of any architecture; a linear map where it differs from hidden_size
    need_weights  False saves the weights of attention, and `Decoded.attention` is None

    The other arguments are those of `TransformerEncoder`. A torch.nn.TransformerDecoder of layers with
    norm_first=True and of a final LayerNorm has the same parameters and loads.

    `begin` computes the keys and values of the source, once; a step computes those of its token and keeps them.
    `Decoded.attention` is what the last layer attends to in the source, the mean of its heads.
    """

    def __init__(
        self,
        input_size: int,
        source_size: int,
        hidden_size: int,
        *,
        num_layers: int = 3,
        num_heads: int = 4,
        feedforward_size: int | None = None,
        dropout: float = 0.0,
        positions: PositionKind = "sinusoidal",
        longest_position: int = 1024,
        scale: float | None = None,
        need_weights: bool = True,
    ) -> None:
        super().__init__()
        self.layers = layer_stack(
            hidden_size, num_layers, num_heads, feedforward_size, dropout, positions, cross=True
        )
        self.input_size, self.source_size, self.output_size = input_size, source_size, hidden_size
        self.num_heads, self.need_weights = num_heads, need_weights
        self.entrance = Entrance(
            input_size, hidden_size, positions, longest_position, num_heads, dropout, scale
        )
        self.source = nn.Linear(source_size, hidden_size) if source_size != hidden_size else nn.Identity()
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, embedded: Tensor, encoded: Encoded, lengths: Tensor | None = None) -> Decoded:
        """Read whole targets (batch, time, input_size) of `lengths` (batch,) tokens, None: all full.

        Returns output (batch, time, hidden_size) and attention (batch, time, source), 0 in the padding. Raises
        ValueError where they do not fit.
        """
        check_batch(embedded, self.input_size, self.norm.weight)
        batch, time, _ = embedded.shape
        if len(encoded.output) != batch:
            raise ValueError(f"{batch} targets came for {len(encoded.output)} sources; give one each")
        ends = check_lengths(lengths, batch, time)
        packing = Packing.of(None if ends is None else ends.to(embedded.device), batch, time)
        source, source_packing, padding = self._source(encoded)
        steps = torch.arange(time, device=embedded.device)
        x, turns = self.entrance(packing.pack(embedded), steps, packing)
        weights = None
        for index, layer in enumerate(self._layers()):
            query, keys, values = layer.queries_keys_values(x, packing, turns)
            # Padding stands behind: no token ever sees it.
            mixed = functional.scaled_dot_product_attention(query, keys, values, is_causal=True)
            x = layer.after_self(x, packing.pack(joined(mixed)))
            query = packing.spread(layer.source_queries(x))
            given = source_packing.spread(layer.source_keys_values(source))
            mixed, weights = self._attend(query, given, padding, last=index == len(self.layers) - 1)
            x = layer.feed(layer.after_source(x, packing.pack(mixed)))
        if weights is not None and packing.places is not None:
            weights = packing.spread(packing.pack(weights))
        return Decoded(packing.spread(self.norm(x)), weights)

    def begin(self, encoded: Encoded) -> DecodingState:
        """The state before the first token, one hypothesis a sentence, with the source's keys and values."""
        source, packing, padding = self._source(encoded)
        shared = {"padding": encoded.padding() if padding is None else padding}
        rows, head_size = {}, self.output_size // self.num_heads
        for index, layer in enumerate(self._layers()):
            shared[f"source_l{index}"] = packing.spread(layer.source_keys_values(source))
            # keys and values of the tokens so far
            rows[f"cache_l{index}"] = source.new_zeros(packing.batch, 2, self.num_heads, 0, head_size)
        return DecodingState(shared, rows)

    def step(self, embedded: Tensor, state: DecodingState) -> tuple[Decoded, DecodingState]:
        """Read one token of each hypothesis, (sentences * width, input_size)."""
        check_input(embedded, self.input_size, self.norm.weight, batch_first=True)
        padding, before = state.shared["padding"], state.rows["cache_l0"]
        count, sentences = len(before), len(padding)
        if len(embedded) != count or embedded.dim() != 2 or count % sentences:
            raise ValueError(
                f"input has shape {tuple(embedded.shape)} for {count} hypotheses of {sentences} sentences; a step "
                "is (sentences * width, input_size)"
            )
        position = torch.full((1,), before.shape[3], device=embedded.device)
        packing = Packing(count, 1)
        x, turns = self.entrance(embedded, position, packing)
        rows, weights = {}, None
        for index, layer in enumerate(self._layers()):
            name = f"cache_l{index}"
            query, keys, values = layer.queries_keys_values(x, packing, turns)
            rows[name] = torch.cat([state.rows[name], torch.stack([keys, values], 1)], 3)
            keys, values = rows[name].unbind(1)
            mixed = functional.scaled_dot_product_attention(query, keys, values)
            x = layer.after_self(x, joined(mixed).squeeze(1))
            # The hypotheses of a sentence ask its source side by side, as the tokens of a target do.
            query = layer.source_queries(x).view(sentences, count // sentences, -1)
            given = state.shared[f"source_l{index}"]
            mixed, weights = self._attend(query, given, padding, last=index == len(self.layers) - 1)
            x = layer.feed(layer.after_source(x, mixed.reshape(count, -1)))
        weights = None if weights is None else weights.reshape(count, -1)
        return Decoded(self.norm(x), weights), DecodingState(state.shared, rows)

    def _layers(self) -> list[TransformerLayer]:
        return list(self.layers)  # type: ignore[arg-type]

    def _source(self, encoded: Encoded) -> tuple[Tensor, Packing, Tensor | None]:
        """The source's tokens behind one another (tokens, hidden_size), and which of the padded batch are none."""
        check_batch(encoded.output, self.source_size, self.norm.weight)
        batch, time, _ = encoded.output.shape
        full = bool((encoded.lengths == time).all())
        packing = Packing.of(None if full else encoded.lengths, batch, time)
        return self.source(packing.pack(encoded.output)), packing, None if full else encoded.padding()

    def _attend(
        self, query: Tensor, given: Tensor, padding: Tensor | None, *, last: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Over the source: query (batch, time, size), given (batch, source, 2 * size) -> mixed as query, weights."""
        keys, values = given.chunk(2, -1)
        return attend(
            query, keys, values, padding, count=self.num_heads, need_weights=last and self.need_weights
        )
