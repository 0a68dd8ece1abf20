"""What search asks of a model, and what it is told of the outputs that are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from storyline.layers.decoding import DecodingState


class NextTokens(Protocol):
    """What may come next, without all scores in memory: what the head of a `layers.packed` model says."""

    def likeliest(self, count: int, end: int, forbidden: Sequence[int] = ()) -> tuple[Tensor, Tensor, Tensor]:
        """As `likeliest_tokens` returns it."""

    def whole(self) -> Tensor:
        """All scores: (rows, vocabulary)."""


class Scorer(Protocol):
    """A model that says what may come next."""

    def step(
        self, tokens: Tensor, state: DecodingState
    ) -> tuple[Tensor | NextTokens, Tensor | None, DecodingState]:
        """Read one token of each hypothesis.

        tokens  (rows,) int64; rows = sentences * width, the hypotheses of a sentence behind one another
        Returns
            scores     (rows, vocabulary): the next token's, before or after the softmax: search normalises them itself.
                       The tensor is the search's own from then on, which writes into it. Or `NextTokens`. Of a model
                       that copies, the vocabulary may go on with the words of the source; to read such a token is the
                       model's part.
            attention  (rows, source), as in `Decoded`, or None
            state      after the tokens
        """


@dataclass(frozen=True)
class Limits:
    """What every output keeps to; a ValueError names what is out of range.

    begin      (sentences,) int64: the token that is read first, which is not part of the output
    end        the token that ends an output, and is not part of it
    maximum    tokens of an output at most, the end not counted; one number, or (sentences,)
    minimum    tokens at least; likewise
    forbidden  tokens that never come; the others keep the probabilities that they have beside them
    """

    begin: Tensor
    end: int
    maximum: int | Tensor
    minimum: int | Tensor = 0
    forbidden: Sequence[int] = ()

    def __post_init__(self) -> None:
        if self.begin.dim() != 1 or self.begin.dtype != torch.int64:
            raise ValueError(
                f"begin is {tuple(self.begin.shape)} of {self.begin.dtype}; it must be (sentences,) of int64"
            )
        if self.end in self.forbidden:
            raise ValueError(f"forbidden holds {self.end}, which is the end; nothing could ever end")
        for name in ("maximum", "minimum"):
            value = torch.as_tensor(getattr(self, name))
            if value.dtype != torch.int64 or value.shape not in ((), self.begin.shape):
                raise ValueError(
                    f"{name} is {tuple(value.shape)} of {value.dtype}; it must be one whole number, or "
                    f"({len(self.begin)},) of int64, one a sentence"
                )
        self._compare()

    def _compare(self) -> None:
        least, most = self.lengths(torch.device("cpu"))
        wrong = ((least < 0) | (most < 1) | (most < least)).nonzero()
        if len(wrong):
            i = int(wrong[0])
            raise ValueError(
                f"sentence {i} has minimum {int(least[i])} and maximum {int(most[i])}; an output has 0 tokens or more "
                "at least, and at most 1 or more, not fewer than at least"
            )

    def lengths(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The minimum and the maximum of every sentence, (sentences,) int64 each."""
        least, most = (
            torch.as_tensor(each, device=device).expand(len(self.begin))
            for each in (self.minimum, self.maximum)
        )
        return least, most
