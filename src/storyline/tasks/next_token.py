"""The network that foretells the next token, whatever reads the ones before it, and its state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from storyline.layers import (
    GRU,
    LSTM,
    RNN,
    AdaptiveHead,
    LinearHead,
    LockedDropout,
    PhraseMemory,
    TiedHead,
    TokenEmbedding,
)
from storyline.layers.transformer import Transformer
from storyline.tasks.estimator import recurrent
from storyline.tasks.next_token_settings import NextTokenSettings

Carry = dict[str, Tensor]


class NextToken(nn.Module):
    """Tokens to scores of the token that follows each: embedding, recurrent stack, head.

    dropout   of the embedded tokens, the same channels at all steps of a chunk
    shortcut  the head reads the embedded token beside the state
    phrases   corrects what `step` foretells by what followed the same phrases in the texts that it keeps

    The state goes in and out as a dict of h and c (layers, batch, size), so that one text may be read in chunks; that
    of a Transformer as one of its parts, and with `phrases` where the last ones stand. The batch is the second axis of
    all of them.
    """

    def __init__(
        self,
        embedding: TokenEmbedding,
        layer: LSTM | GRU | RNN | Transformer,
        head: LinearHead | TiedHead | AdaptiveHead,
        *,
        dropout: float = 0.0,
        shortcut: bool = False,
        phrases: PhraseMemory | None = None,
    ) -> None:
        super().__init__()
        self.embedding, self.layer, self.head = embedding, layer, head
        self.dropout, self.shortcut = LockedDropout(dropout, batch_first=True), shortcut
        self.phrases = phrases

    def forward(
        self, ids: Tensor, carry: Carry | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Carry]:
        """Ids (batch, time), the state before them -> what the head reads (batch, time, size), the state after them.

        lengths  (batch,): tokens of each row, None: all of them
        """
        embedded = self.dropout(self.embedding(ids))
        output, state = self.layer(embedded, self._state(carry), lengths=lengths)
        return self.for_head(output, embedded), self._carry(state) | self._phrases_read(ids, carry, lengths)

    def step(self, ids: Tensor, carry: Carry | None = None) -> tuple[Tensor, Carry]:
        """One token of each row: ids (batch,) -> log probabilities (batch, size), new state.

        In constant time, but that `phrases` look at all places where the last ones stand.
        """
        embedded = self.embedding(ids)
        output, state = self.layer.step(embedded, self._state(carry))
        scores = self.head.log_probabilities(self.for_head(output, embedded))
        read = self._phrases_read(ids.unsqueeze(1), carry)
        if self.phrases is not None:
            scores = self.phrases.log_probabilities(scores, read["phrases"][0])
        return scores, self._carry(state) | read

    def initial_carry(self, rows: int) -> Carry:
        """The state before the first token of `rows` texts."""
        carry = self._carry(self.layer.initial_state(rows))
        return carry if self.phrases is None else carry | {"phrases": self.phrases.first(rows).unsqueeze(0)}

    def begun_again(self, carry: Carry, rows: Tensor) -> Carry:
        """The state with that of some rows, (batch,) bool, put back to what it is before the first token."""
        first, fresh = self.initial_carry(len(rows)), rows.unsqueeze(1)
        # What a row of a Transformer has not read is not looked at, whatever its cache holds.
        kept = {name: state for name, state in carry.items() if name.startswith("cache_")}
        if isinstance(self.layer, Transformer):
            kept["read"] = carry["read"].masked_fill(rows, 0)
        return {
            name: kept[name] if name in kept else torch.where(fresh, first[name], state)
            for name, state in carry.items()
        }

    def for_head(self, output: Tensor, embedded: Tensor) -> Tensor:
        return torch.cat([output, embedded], dim=-1) if self.shortcut else output

    def _phrases_read(self, ids: Tensor, carry: Carry | None, lengths: Tensor | None = None) -> Carry:
        """The part of the state that is the phrases' own, after ids (batch, time)."""
        if self.phrases is None:
            return {}
        before = self.phrases.first(len(ids)) if carry is None else carry["phrases"][0]
        return {"phrases": self.phrases.after(before, ids, lengths).unsqueeze(0)}

    def _state(self, carry: Carry | None) -> Any:
        if carry is None:
            return None
        state = tuple([carry[name] for name in self._state_names()])
        return state if len(state) > 1 else state[0]

    def _carry(self, state: Tensor | tuple[Tensor, ...]) -> Carry:
        parts = (state,) if isinstance(state, Tensor) else state
        return dict(zip(self._state_names(), parts, strict=True))

    def _state_names(self) -> tuple[str, ...]:
        if isinstance(self.layer, Transformer):
            return ("read", *[f"cache_{number}" for number in range(self.layer.num_layers)])
        return self.layer.cell.states


def new_core(settings: NextTokenSettings, input_size: int) -> LSTM | GRU | RNN | Transformer:
    """The layers that read: with `window` a Transformer, too, keeps a state that does not grow."""
    if settings.core != "transformer":
        return recurrent(settings, input_size, bidirectional=False, dropout=settings.dropout)
    assert settings.window != "auto"
    return Transformer(
        input_size,
        settings.hidden_size,
        settings.num_layers,
        batch_first=True,
        num_heads=settings.num_heads,
        dropout=settings.dropout,
        window=settings.window,
        # What is read may become longer than all that training saw: with these only distances count.
        positions="rotary",
    )
