"""A language model as search asks it: the carry of each hypothesis is a row."""

from __future__ import annotations

from torch import Tensor

from storyline.layers.decoding import DecodingState
from storyline.tasks.next_token import Carry, NextToken


def rows_of(carry: Carry) -> DecodingState:
    """The carry of hypotheses, its second axis, as the rows that search selects; nothing is shared."""
    return DecodingState({}, {name: part.transpose(0, 1) for name, part in carry.items()})


class ReplyScorer:
    """A `search.Scorer`: what the network says may come next."""

    def __init__(self, network: NextToken) -> None:
        self._network = network

    def step(self, tokens: Tensor, state: DecodingState) -> tuple[Tensor, None, DecodingState]:
        """As `search.Scorer.step`; there is no source to attend to."""
        carry = {name: part.transpose(0, 1) for name, part in state.rows.items()}
        scores, carry = self._network.step(tokens, carry)
        return scores, None, rows_of(carry)
