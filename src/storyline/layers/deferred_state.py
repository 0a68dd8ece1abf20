"""The state of a packed decoder: which hypotheses stay is remembered, and nothing is copied until it must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from torch import Tensor

from storyline.layers.decoding import DecodingState


@final
@dataclass(frozen=True)
class DeferredState(DecodingState):
    """A `DecodingState` of hypotheses that go on from rows of `rows`, beside sentences of `shared`.

    parents    (n,) int64: the row that each hypothesis goes on from; None: its own
    sentences  (m,) int64: the sentences that are left; None: all
    """

    parents: Tensor | None = None
    sentences: Tensor | None = None

    @classmethod
    def of(cls, state: DecodingState) -> DeferredState:
        """A state as one of these."""
        return state if isinstance(state, DeferredState) else cls(state.shared, state.rows)

    @property
    def count(self) -> int:
        """Hypotheses."""
        return len(next(iter(self.rows.values())) if self.parents is None else self.parents)

    def select(self, rows: Tensor, sentences: Tensor | None = None) -> DeferredState:
        """As of any state; without a copy."""
        if self.parents is not None:
            rows = self.parents.index_select(0, rows)
        if sentences is None or self.sentences is None:
            left = self.sentences if sentences is None else sentences
        else:
            left = self.sentences.index_select(0, sentences)
        return DeferredState(self.shared, self.rows, rows, left)

    def settled(self) -> DecodingState:
        """The same, copied: a row a hypothesis, and a row a sentence that is left."""
        return DecodingState(_chosen(self.shared, self.sentences), _chosen(self.rows, self.parents))


def _chosen(parts: Mapping[str, Tensor], places: Tensor | None) -> Mapping[str, Tensor]:
    if places is None:
        return parts
    return {name: part.index_select(0, places) for name, part in parts.items()}
