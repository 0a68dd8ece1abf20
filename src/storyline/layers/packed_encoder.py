"""A recurrent encoder made ready for decoding: what its first layer makes of a token is computed once."""

from __future__ import annotations

from dataclasses import replace
from typing import final

import torch
from torch import Tensor, nn

from storyline.cells import State
from storyline.kernels import PackedStep, Projection, Ragged, Recurrence, recurrence
from storyline.layers.arguments import check_lengths
from storyline.layers.decoding import Encoded
from storyline.layers.embedding import TokenEmbedding
from storyline.layers.recurrent import Recurrent
from storyline.layers.recurrent_core import RecurrentCore
from storyline.layers.recurrent_encoder import RecurrentEncoder
from storyline.layers.token_shares import TokenShares


@final
class PackedRecurrentEncoder(nn.Module):
    """A `RecurrentEncoder` that multiplies its first matrix by each token once, however often that occurs.

    encoder: in evaluation, of layers that run on native kernels and without noise, for all else.
    """

    _layer: Recurrent

    def __init__(self, encoder: RecurrentEncoder) -> None:
        super().__init__()
        self.encoder, self.output_size = encoder, encoder.output_size
        core = encoder.cores[0]
        assert isinstance(core, RecurrentCore)
        # Not a part of this module once more: it is one of the encoder's.
        self.__dict__["_layer"] = core.layer
        first = [weights for _, depth, _, weights in self._layer._parts() if not depth]
        self._of_token = Projection(torch.cat([each.weight_ih for each in first]).detach())
        self._steps = [
            PackedStep(self._layer.cell, replace(each, weight_ih=each.weight_ih[:, :0])) for each in first
        ]
        self._shares: TokenShares | None = None
        self.eval()

    def forward(self, embedded: Tensor, lengths: Tensor) -> Encoded:
        """As the encoder's."""
        encoded: Encoded = self.encoder(embedded, lengths)
        return encoded

    def read(self, tokens: Tensor, embedding: TokenEmbedding, scale: float, lengths: Tensor) -> Encoded:
        """As `forward` of scale * embedding(tokens), tokens (batch, source) of whole numbers.

        The vectors are those of when this embedding was first read: pack anew where they may have changed. The sums are
        those of the layer, in another order where a vector has more than 256 numbers.
        Raises ValueError where something does not fit or asks for a gradient, IndexError for a token that there is not.
        """
        if torch.is_grad_enabled() and any(each.requires_grad for each in self.encoder.parameters()):
            raise ValueError(
                "a gradient is asked for, and a packed encoder computes none; use torch.no_grad()"
            )
        if tokens.dim() != 2 or not tokens.numel():
            raise ValueError(
                f"tokens have shape {tuple(tokens.shape)}; sources are (batch, source), one token or more"
            )
        batch, time = tokens.shape
        ends = check_lengths(lengths, batch, time)
        shares = self._shares
        if shares is None or shares.embedding is not embedding or shares.scale != scale:
            shares = self._shares = TokenShares(embedding, scale, self._of_token)
        table, rows = shares.of(tokens.flatten().long())
        layer, full = self._layer, torch.full((batch,), time) if ends is None else ends
        state = layer.initial_state(batch)
        before = state if isinstance(state, tuple) else (state,)
        below = table.new_empty(batch, time, len(self._steps) * layer._state_sizes[0])
        last: list[State] = []
        for index, (step, own, to) in enumerate(
            zip(self._steps, table.chunk(len(self._steps), 1), below.chunk(len(self._steps), 2), strict=True)
        ):
            first = tuple(each[index] for each in before)
            last.append(step.sentences(own, rows.view(batch, time), first, full, to, reverse=index == 1))
        ragged = None if ends is None else Ragged(ends, time)
        return self.encoder.above(*self._upper(below, last, before, ragged), lengths)

    def _upper(
        self, below: Tensor, last: list[State], initial: State, ragged: Ragged | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The layer's output (batch, time, size) and last states, of those of the lowest of its stack."""
        layer, directions = self._layer, len(self._steps)
        parts = list(layer._parts())
        for at in range(directions, len(parts), directions):
            done: list[Recurrence] = []
            for index, _, reverse, weights in parts[at : at + directions]:
                state = tuple(each[index] for each in initial)
                run = recurrence(
                    "cpu", layer.cell, weights, below.transpose(0, 1), state, state, ragged, reverse=reverse
                )
                done.append(run)
            # Even of one: whoever reads on wants a sentence's tokens side by side.
            below = torch.cat([each.output.transpose(0, 1) for each in done], -1)
            last = [*last, *(each.state for each in done)]
        stacked = (torch.stack(each) for each in zip(*last, strict=True))
        return below, dict(zip(layer.cell.states, stacked, strict=True))
