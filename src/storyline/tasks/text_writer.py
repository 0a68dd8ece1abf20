"""A trained text-to-text network and its encoder: from texts to the texts that it writes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from storyline.data import PairEncoder, copy_unknown
from storyline.search import Beam, Hypothesis
from storyline.tasks.alignment import Alignment
from storyline.tasks.text_pairs import source_ids, token_pairs
from storyline.tasks.text_to_text_network import SourceToTarget
from storyline.tasks.writing import Lengths, write

# A text and its score.
Scored = tuple[str, float]


class UnseenLengthWarning(UserWarning):
    """A text is longer than any in training; it is read whole all the same, which the model never learned."""


@dataclass(frozen=True, eq=False)
class Sources:
    """Texts to write from, as ids.

    texts    as they came
    ids      (tokens,) of each, with its end
    cut      of how many only the beginning is read
    longer   how many are longer than any in training
    unknown  how many of how many tokens are unknown
    """

    texts: Sequence[str]
    ids: list[np.ndarray]
    cut: int
    longer: int
    unknown: tuple[int, int]

    @property
    def empty(self) -> int:
        """How many are empty or blank, for which nothing is written."""
        return sum(not text.strip() for text in self.texts)

    def warn(self, longest: int, stacklevel: int) -> None:
        """Warn once where texts are longer than the `longest` of training, in tokens, its end included."""
        if self.longer:
            many = "1 text is" if self.longer == 1 else f"{self.longer:,} texts are"
            warnings.warn(
                f"{many} longer than any in training, which had at most {longest - 1} tokens; they are read whole all "
                "the same, and what is written for them may be worse: cut them into sentences, or train on longer ones",
                UnseenLengthWarning,
                stacklevel=stacklevel + 1,
            )


@dataclass(frozen=True, eq=False)
class TextWriter:
    """Call it in evaluation mode and without gradients.

    lengths       how long sources and targets were in training
    level         of the tokens: "word", "char" or "subword"
    source_limit  at most so many tokens of a source are read; None: all
    """

    network: SourceToTarget
    encoder: PairEncoder
    lengths: Lengths
    level: Literal["word", "char", "subword"]
    source_limit: int | None

    def read(self, texts: Sequence[str]) -> Sources:
        """Checked texts as ids."""
        ids, cut = source_ids(self.encoder, list(texts), self.source_limit)
        unknown = sum(map(self.encoder.source.unknown, ids)), sum(map(len, ids))
        return Sources(texts, ids, cut, sum(len(row) > self.lengths.source for row in ids), unknown)

    def written(self, sources: Sources, beam: Beam, n: int) -> list[list[Scored]]:
        """The n best outputs of each text, the best first, with their scores; of an empty text none.

        Of hypotheses that spell the same text in other tokens only the best counts.
        """
        full = [place for place, text in enumerate(sources.texts) if text.strip()]
        found = write(
            self.network,
            [sources.ids[place] for place in full],
            beam,
            self.lengths,
            self.encoder.end_id,
            attention=self.level == "word" and self.network.attends,
        )
        written: list[list[Scored]] = [[] for _ in sources.texts]
        for place, hypotheses in zip(full, found, strict=True):
            best: dict[str, float] = {}
            for each in hypotheses:
                best.setdefault(self._text(each, sources.texts[place]), each.score)
            written[place] = list(best.items())[:n]
        return written

    def aligned(self, source: str, output: str) -> Alignment:
        """How much of each token of the source went into each token of the output."""
        pairs, _ = token_pairs(self.encoder, [source], [output], self.source_limit)
        pair = pairs.batch(np.array([0]))
        decoded = self.network(pair.source, pair.source_lengths, pair.target_in, pair.target_lengths)
        assert decoded.attention is not None
        names = self.encoder.source.names(), self.encoder.target.names()
        return Alignment(
            [names[0][id_] for id_ in pair.source[0]],
            [names[1][id_] for id_ in pair.target_out[0]],
            decoded.attention[0].numpy(),
        )

    def _text(self, hypothesis: Hypothesis, source: str) -> str:
        """What was written; of words an unknown one becomes the word of the source that had the most attention."""
        tokens = hypothesis.tokens.tolist()
        if self.level == "word" and hypothesis.attention is not None:
            looked = hypothesis.attention.numpy()[:, :-1]
            # Nothing of a word was seen that stands behind the limit.
            unread = max(0, len(self.encoder.source.encode(source)) - looked.shape[1])
            looked = np.pad(looked, ((0, 0), (0, unread)))
            return copy_unknown(tokens, looked, source, self.encoder).strip()
        return self.encoder.target.decode(tokens).strip()
