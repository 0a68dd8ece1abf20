"""A recurrent decoder with attention, made ready for decoding: what it reads of a source is computed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import final

import torch
from torch import Tensor, nn

from storyline.kernels import PackedStep, Projection
from storyline.layers.attention import ScoredAttention
from storyline.layers.coverage_attention import CoverageAttention
from storyline.layers.decoding import Decoded, DecodingState, Encoded
from storyline.layers.parameters import weights_of
from storyline.layers.recurrent import Recurrent
from storyline.layers.recurrent_decoder import RecurrentDecoder

# Sources of more tokens are not projected: it pays while hypotheses * tokens of the output exceed them.
_LONGEST = 64


@final
class PackedRecurrentDecoder(nn.Module):
    """A `RecurrentDecoder` whose weights meet the source's values once, and not the context at every token.

    A matrix W that reads the context sum_i a_i v_i gives sum_i a_i (W v_i): all W v_i are computed at the beginning.
    Sources of more than 64 tokens are read as the decoder reads them.

    decoder: one that `can_be_packed`, its own parts packed already, for all else; layers: its recurrent layers.
    """

    def __init__(self, decoder: RecurrentDecoder, layers: list[Recurrent], combine: nn.Linear) -> None:
        super().__init__()
        self.decoder = decoder
        hidden, first_asks = decoder.output_size, not decoder.input_feeding
        self._asking = 0 if first_asks else len(layers) - 1
        self._steps: list[PackedStep] = []
        readers: list[Tensor] = []  # of the context: those of upper layers, then that of the output
        for index, layer in enumerate(layers):
            weights = weights_of(layer, layer.cell, "_l0")
            if index and first_asks:
                readers.append(weights.weight_ih[:, hidden:])
                weights = replace(weights, weight_ih=weights.weight_ih[:, :hidden])
            self._steps.append(PackedStep(layer.cell, weights))
        readers.append(combine.weight[:, hidden:])
        self._sizes = [len(each) for each in readers]
        self._of_source = Projection(torch.cat(readers).detach())
        self._combine = Projection(combine.weight[:, :hidden], combine.bias)
        self._states = layers[0].cell.states
        self.eval()

    @property
    def output_size(self) -> int:
        """As the decoder's."""
        return self.decoder.output_size

    def begin(self, encoded: Encoded) -> DecodingState:
        """The state before the first token, one hypothesis a sentence."""
        state = self.decoder.begin(encoded)
        if encoded.output.shape[1] > _LONGEST:
            return state
        return DecodingState(
            {**state.shared, "projected": self._of_source(state.shared["values"])}, state.rows
        )

    def step(self, embedded: Tensor, state: DecodingState) -> tuple[Decoded, DecodingState]:
        """Read one token of each hypothesis, (sentences * width, input_size)."""
        if "projected" not in state.shared:
            return self.decoder.step(embedded, state)
        decoder, rows = self.decoder, state.rows
        decoder._check_step(embedded, state)
        below = torch.cat((embedded, rows["fed"]), 1) if decoder.input_feeding else embedded
        read, weights, after = list[Tensor](), None, dict[str, Tensor]()
        for layer, step in enumerate(self._steps):
            before = tuple(rows[f"{name}_{layer}"] for name in self._states)
            more = read[layer - 1] if layer > self._asking else None
            last = step(below, before, more)
            after |= {f"{name}_{layer}": each for name, each in zip(self._states, last, strict=True)}
            below = last[0] + below if decoder.gnmt and layer > 1 else last[0]
            if layer == self._asking:
                read, weights = self._look(below, state.shared)
        output = self._combine(below).add_(read[-1])
        if decoder.input_feeding:
            output = after["fed"] = torch.tanh(output)
        return Decoded(output, weights), DecodingState(state.shared, after)

    def _look(self, query: Tensor, shared: Mapping[str, Tensor]) -> tuple[list[Tensor], Tensor]:
        """What each reader makes of the context, and the weights (rows, source)."""
        attention = self.decoder.attention
        assert isinstance(attention, ScoredAttention)
        weights = attention._weights(query.view(len(shared["padding"]), -1, query.shape[1]), shared)
        read = torch.bmm(weights, shared["projected"]).flatten(0, 1)
        return list(torch.split(read, self._sizes, 1)), weights.flatten(0, 1)


def can_be_packed(decoder: RecurrentDecoder) -> bool:
    """Whether its context is a mean of values, and goes where `PackedRecurrentDecoder` brings it."""
    plain = isinstance(decoder.attention, ScoredAttention) and not isinstance(
        decoder.attention, CoverageAttention
    )
    return plain and not decoder.feed_thought
