"""The Kneser-Ney model of sentences, a word at a time, as a decoder asks for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.tasks.kneser_ney import KneserNey

# The numbers of the last n-grams that are known, shortest first: all that the next word's probability hangs on.
Context = tuple[int, ...]
UNKNOWN = -12.0  # the logarithm for a word of no training sentence; a decoder can only copy such a word


class SentenceModel:
    """log p(next word | context) of sentences with a beginning and an end.

    A sentence stands as many signs of a beginning behind the last as the model's order lets it look back.
    """

    def __init__(self, sentences: Sequence[Sequence[str]], order: int = 5) -> None:
        names = sorted({word for words in sentences for word in words})
        self._ids = {
            word: number for number, word in enumerate(names, start=2)
        }  # 0 begins, 1 ends a sentence
        text = [
            number
            for words in sentences
            for number in (*[0] * (order - 1), *map(self._ids.__getitem__, words), 1)
        ]
        self._vocabulary = len(self._ids) + 2
        model = KneserNey(order, self._vocabulary).fit(np.array(text))
        self._order = order
        self._found = [dict(zip(keys.tolist(), range(len(keys)), strict=True)) for keys in model._keys]
        self._kept = [kept.tolist() for kept in model._kept]
        self._gamma = [gamma.tolist() for gamma in model._gamma]
        self.begin: Context = ()
        for _ in range(order - 1):
            self.begin = self._next(self.begin, 0)[1]

    def next(self, context: Context, word: str) -> tuple[float, Context]:
        """The word's log-probability, and the context after it."""
        number = self._ids.get(word)
        return (UNKNOWN, ()) if number is None else self._next(context, number)

    def end(self, context: Context) -> float:
        """The log-probability that the sentence is over."""
        return self._next(context, 1)[0]

    def _next(self, context: Context, number: int) -> tuple[float, Context]:
        """Interpolated from the shortest history to the longest that is known (Chen and Goodman 1999, eq. 17)."""
        probability, known = 1 / self._vocabulary, []
        for place, history in enumerate((0, *context)):
            probability *= self._gamma[place][history]
            found = self._found[place].get(history * self._vocabulary + number)
            if found is not None:
                probability += self._kept[place][found]
                if len(known) == place:
                    known.append(found)
        return math.log(probability), tuple(known[: self._order - 1])
