"""The tagger that sees one word at a time: its most frequent tag."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import Self

# Of an unknown word, the longest ending that counts.
_ENDING = 4
# A word seen no more often than this says how unknown words of its spelling are tagged.
_RARE = 2


def shape(word: str) -> str:
    """The kinds of a word's characters in their order, repetitions dropped: "Xx" of Paris, "d.d" of 3.14."""
    kinds = ["X" if c.isupper() else "x" if c.islower() else "d" if c.isdigit() else c for c in word]
    return "".join(kinds[:1] + [now for before, now in pairwise(kinds) if now != before])


class MostFrequentTag:
    """The most frequent tag of each word; of an unknown word, that of the rare words spelled like it.

    Spelled like it: the same shape and the same last four letters, else three, ... else the same shape, else any.
    """

    def fit(self, sentences: list[list[str]], tags: list[list[str]]) -> Self:
        words: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for sentence, row in zip(sentences, tags, strict=True):
            for word, tag in zip(sentence, row, strict=True):
                words[word][tag] += 1
        alike: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for word, counts in words.items():
            if counts.total() <= _RARE:
                for spelling in _spellings(word):
                    alike[spelling].update(counts)
        if not alike:
            alike[()] = sum(words.values(), Counter())
        self._words = {word: counts.most_common(1)[0][0] for word, counts in words.items()}
        self._alike = {spelling: counts.most_common(1)[0][0] for spelling, counts in alike.items()}
        return self

    def predict(self, words: list[str]) -> list[str]:
        return [self._words.get(word) or self._guess(word) for word in words]

    def _guess(self, word: str) -> str:
        return next(self._alike[spelling] for spelling in _spellings(word) if spelling in self._alike)


def _spellings(word: str) -> list[tuple[str, ...]]:
    """From the narrowest to the widest, which is shared by all words."""
    kind, lowered = shape(word), word.lower()
    return [*((kind, lowered[-size:]) for size in range(_ENDING, 0, -1)), (kind,), ()]
