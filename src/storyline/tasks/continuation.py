"""What follows a prompt: a text drawn from a language model, or its likeliest next words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from storyline.data import TextEncoder
from storyline.search import Sampling
from storyline.tasks.generation import continue_ids, spell_words, warmed
from storyline.tasks.next_token import Carry, NextToken

# Beam and longest spelling, in characters, of the search for words.
_BEAM, _LONGEST_WORD = 32, 24


@dataclass(frozen=True, eq=False)
class Continuation:
    """A trained network and its encoder, from texts to texts; call it without gradients.

    many  the model learned several documents, each ended by <end>
    """

    network: NextToken
    encoder: TextEncoder
    many: bool

    def drawn(self, prompt: str, length: int, sampling: Sampling, generator: torch.Generator) -> str:
        """The prompt and `length` tokens drawn after it, fewer where the model ends the document."""
        ids = self.encoder.encode(prompt)
        # Of words <end> is the line break, and goes on.
        end = self.encoder.end_id if self.many and self.encoder.level != "word" else None
        never = self._never(line_break=self.encoder.level == "word")
        found = continue_ids(
            self.network, self._start(ids), length, sampling, generator, never=never, end=end
        )
        # Decoded behind the prompt, so that blanks and halves of characters come out right.
        added = self.encoder.decode([*ids.tolist(), *found])[len(self.encoder.decode(ids.tolist())) :]
        if self.encoder.level == "word" and prompt[-1:].isspace():
            # No token holds the blank at the prompt's end, so it was written again before the next word.
            added = added.removeprefix(" ")
        return prompt + added

    def next_tokens(self, prefix: str, k: int) -> list[tuple[str, float]]:
        """The k likeliest next tokens with their probabilities; special ones are left out."""
        scores, _ = self._start(self.encoder.encode(prefix))
        scores[[self.encoder.pad_id, self.encoder.unknown_id, self.encoder.end_id]] = -torch.inf
        names = self.encoder.names()
        found = scores.double().exp().topk(min(k, int(torch.isfinite(scores).sum())))
        pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
        return [(names[id_], probability) for id_, probability in pairs]

    def spelled_words(self, prefix: str, k: int) -> list[tuple[str, float]]:
        """The k likeliest next words, or wholes of the word that the prefix breaks off in, spelled by characters."""
        names = self.encoder.names()
        start = len(prefix)
        while start and _in_word(prefix[start - 1]):
            start -= 1
        words = spell_words(
            self.network,
            self._start(self.encoder.encode(prefix)),
            k,
            inside=lambda id_: _in_word(names[id_]),
            started=start < len(prefix),
            never=self._never(line_break=False),
            beam=max(_BEAM, k),
            longest=_LONGEST_WORD,
        )
        return [(prefix[start:] + self.encoder.decode(word), probability) for word, probability in words]

    def _start(self, ids: np.ndarray) -> tuple[Tensor, Carry]:
        """Log probabilities (size,) of the token after `ids`, and the state there.

        After no token a new document begins; where the model learned one text only, and knows no beginning, the
        tokens are as likely as they were frequent.
        """
        if len(ids):
            return warmed(self.network, ids)
        if self.many:
            return warmed(self.network, np.array([self.encoder.end_id]))
        counts = torch.from_numpy(self.encoder.counts).double()
        counts[self._never(line_break=True)] = 0
        return (counts / counts.sum()).log(), self.network.initial_carry(1)

    def _never(self, *, line_break: bool) -> list[int]:
        """Ids that are not drawn: padding, <unk>, and <end> where it neither ends the text nor is a line break."""
        never = [self.encoder.pad_id, self.encoder.unknown_id]
        if not line_break and not self.many and self.encoder.end_id is not None:
            never.append(self.encoder.end_id)
        return never


def _in_word(token: str) -> bool:
    return len(token) == 1 and (token.isalnum() or token in "'’")
