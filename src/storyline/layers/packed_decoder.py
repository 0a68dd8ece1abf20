"""A recurrent decoder with attention, made ready for decoding: what it reads of a source is computed once."""

from __future__ import annotations

from dataclasses import replace
from typing import final

import torch
from torch import Tensor, nn

from storyline.kernels import PackedStep, Projection, attend, prepared_source
from storyline.layers.attention import AdditiveAttention, ScoredAttention
from storyline.layers.coverage_attention import CoverageAttention
from storyline.layers.decoding import Decoded, DecodingState, Encoded
from storyline.layers.deferred_state import DeferredState
from storyline.layers.embedding import TokenEmbedding
from storyline.layers.parameters import weights_of
from storyline.layers.recurrent import Recurrent
from storyline.layers.recurrent_decoder import RecurrentDecoder
from storyline.layers.token_shares import TokenShares

# Sources of more tokens are not projected: it pays while hypotheses * tokens of the output exceed them.
_LONGEST = 64


@final
class PackedRecurrentDecoder(nn.Module):
    """A `RecurrentDecoder` whose weights meet the source's values once, and not the context at every token.

    A matrix W that reads the context sum_i a_i v_i gives sum_i a_i (W v_i): all W v_i are computed at the beginning.
    What the first layer makes of a token is computed once, too, see `TokenShares`; and what its states give to the next
    step, once for all hypotheses that go on from one.
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
            # What else a layer reads is added to what it makes of this.
            own = weights.weight_ih
            if not index:
                self._of_token = Projection(own[:, : decoder.input_size])
                own = own[:, decoder.input_size :]
            elif first_asks:
                readers.append(own[:, hidden:])
                own = own[:, :hidden]
            self._steps.append(PackedStep(layer.cell, replace(weights, weight_ih=own)))
        readers.append(combine.weight[:, hidden:])
        self._sizes = [len(each) for each in readers]
        self._of_source = Projection(torch.cat(readers).detach())
        attention = decoder.attention
        self._of_keys = (
            Projection(attention.of_source.weight) if isinstance(attention, AdditiveAttention) else None
        )
        self._combine = Projection(combine.weight[:, :hidden], combine.bias)
        self._states = layers[0].cell.states
        self._shares: TokenShares | None = None
        self.eval()

    @property
    def output_size(self) -> int:
        """As the decoder's."""
        return self.decoder.output_size

    def begin(self, encoded: Encoded) -> DecodingState:
        """The state before the first token, one hypothesis a sentence."""
        short = encoded.output.shape[1] <= _LONGEST
        if short and self._of_keys is not None:
            lengths = encoded.lengths.to(encoded.output.device)
            keys, projected = (
                each.of_sequences(encoded.output, lengths) for each in (self._of_keys, self._of_source)
            )
            return DeferredState(prepared_source(keys, projected, lengths), self.decoder.first_rows(encoded))
        state = self.decoder.begin(encoded)
        if not short:
            return state
        projected = self._of_source(state.shared["values"])
        return DeferredState({**state.shared, "projected": projected}, state.rows)

    def step(self, embedded: Tensor, state: DecodingState) -> tuple[Decoded, DecodingState]:
        """Read one token of each hypothesis, (sentences * width, input_size)."""
        if "projected" not in state.shared:
            return self.decoder.step(embedded, state)
        deferred = DeferredState.of(state)
        if embedded.shape != (deferred.count, self.decoder.input_size):
            raise ValueError(
                f"embedded has shape {tuple(embedded.shape)}; one token of each hypothesis is (rows, input_size) = "
                f"{(deferred.count, self.decoder.input_size)}"
            )
        return self._read(self._of_token(embedded), None, deferred)

    def read(
        self, tokens: Tensor, embedding: TokenEmbedding, scale: float, state: DecodingState
    ) -> tuple[Decoded, DecodingState]:
        """As `step` of scale * embedding(tokens), tokens (sentences * width,) int64.

        The vectors are those of when this embedding was first read: pack anew where they may have changed.
        Sources of more than 64 tokens are read with those of now. Raises IndexError for a token that there is not.
        """
        if "projected" not in state.shared:
            return self.decoder.step(scale * embedding(tokens), state)
        deferred = DeferredState.of(state)
        if tokens.shape != (deferred.count,):
            raise ValueError(
                f"tokens have shape {tuple(tokens.shape)}; one of each hypothesis is read, and there are "
                f"{deferred.count}"
            )
        shares = self._shares
        if shares is None or shares.embedding is not embedding or shares.scale != scale:
            shares = self._shares = TokenShares(embedding, scale, self._of_token)
        return self._read(*shares.of(tokens), deferred)

    def _read(
        self, shares: Tensor, places: Tensor | None, state: DeferredState
    ) -> tuple[Decoded, DecodingState]:
        """Shares (any, rows of weight_ih) of tokens; each hypothesis reads that in `places` (rows,), None: its own."""
        decoder, rows, parents = self.decoder, state.rows, state.parents
        below: Tensor | None = None
        if decoder.input_feeding:
            below = rows["fed"] if parents is None else rows["fed"].index_select(0, parents)
        read, weights, after = list[Tensor](), None, dict[str, Tensor]()
        for layer, step in enumerate(self._steps):
            before = tuple(rows[f"{name}_{layer}"] for name in self._states)
            more = shares if not layer else read[layer - 1] if layer > self._asking else None
            last = step(below, before, more, more_rows=None if layer else places, parents=parents)
            after |= {f"{name}_{layer}": each for name, each in zip(self._states, last, strict=True)}
            below = last[0] + below if decoder.gnmt and layer > 1 and below is not None else last[0]
            if layer == self._asking:
                read, weights, state = self._look(below, state)
        assert below is not None
        output = self._combine(below).add_(read[-1])
        if decoder.input_feeding:
            output = after["fed"] = torch.tanh(output)
        return Decoded(output, weights), DeferredState(state.shared, after, None, state.sentences)

    def _look(self, query: Tensor, state: DeferredState) -> tuple[list[Tensor], Tensor, DeferredState]:
        """What each reader makes of the context, the weights (rows, source), and the state that was looked at."""
        attention = self.decoder.attention
        assert isinstance(attention, ScoredAttention)
        if isinstance(attention, AdditiveAttention):
            read, weights = attend(
                attention.of_query(query), attention.score.detach(), state.shared, state.sentences
            )
            return list(torch.split(read, self._sizes, 1)), weights, state
        state = DeferredState(state.settled().shared, state.rows, state.parents)
        shared = state.shared
        weights = attention._weights(query.view(len(shared["padding"]), -1, query.shape[1]), shared)
        read = torch.bmm(weights, shared["projected"]).flatten(0, 1)
        return list(torch.split(read, self._sizes, 1)), weights.flatten(0, 1), state


def can_be_packed(decoder: RecurrentDecoder) -> bool:
    """Whether its context is a mean of values, and goes where `PackedRecurrentDecoder` brings it."""
    plain = isinstance(decoder.attention, ScoredAttention) and not isinstance(
        decoder.attention, CoverageAttention
    )
    return plain and not decoder.feed_thought
