"""The averaged perceptron as a tagger: a linear model of hand-made features, greedy from left to right.

Sources: M. Collins (2002), "Discriminative training methods for hidden Markov models", EMNLP (the update and the
averaging); A. Ratnaparkhi (1996), "A maximum entropy model for part-of-speech tagging", EMNLP, table 1 (the features,
here given to frequent words too).
"""

from __future__ import annotations

from typing import Self

import numpy as np

from benchmarks.tasks.frequent_tag import shape

# A sentence as rows of the weights: per word those of its spelling, and its number (-1: not seen in training).
Spelled = list[tuple[np.ndarray, int]]


class AveragedPerceptron:
    """Tags a word by its spelling, its neighbours and the two tags before.

    After fit: tags, sorted; weights (features + 1, tags), their mean over all steps. The last row, of zeros, belongs to
    what was not seen in training.
    """

    def __init__(self, passes: int, seed: int = 0) -> None:
        self.passes = passes
        self.seed = seed

    def fit(self, sentences: list[list[str]], tags: list[list[str]]) -> Self:
        """Learn from sentences of words and their tags, in an order of its own at every pass."""
        self.tags = sorted({tag for row in tags for tag in row})
        numbers = {tag: number for number, tag in enumerate(self.tags)}
        answers = [[numbers[tag] for tag in row] for row in tags]
        self._words: dict[str, int] = {}
        self._rows: dict[tuple[str, ...], int] = {}
        for words in sentences:
            for word in words:
                self._words.setdefault(word.lower(), len(self._words))
            for place in range(len(words)):
                for feature in _spelling(place, words):
                    self._rows.setdefault(feature, len(self._rows))
        # After the rows of the spelling: one for the tag before, for the two before, for the tag before and the word.
        self._before = len(self.tags) + 1  # one more stands before a sentence
        self._first_pair = len(self._rows) + self._before
        self._first_word = self._first_pair + self._before**2
        self.weights = np.zeros((self._first_word + self._before * len(self._words) + 1, len(self.tags)))
        self._learn([self._spelled(words) for words in sentences], answers)
        return self

    def predict(self, words: list[str]) -> list[str]:
        """The tag of every word of a sentence."""
        before, last, found = len(self.tags), len(self.tags), []
        for spelling, number in self._spelled(words):
            best = int(self.weights[self._active(spelling, number, last, before)].sum(0).argmax())
            before, last = last, best
            found.append(self.tags[best])
        return found

    def _learn(self, sentences: list[Spelled], answers: list[list[int]]) -> None:
        weights, moments = self.weights, np.zeros_like(self.weights)  # moments: each change times its step
        order, step = np.random.default_rng(self.seed), 1
        for _ in range(self.passes):
            for index in order.permutation(len(sentences)):
                before = last = len(self.tags)
                for (spelling, number), right in zip(sentences[index], answers[index], strict=True):
                    active = self._active(spelling, number, last, before)
                    best = int(weights[active].sum(0).argmax())
                    if best != right:
                        for tag, change in ((right, 1), (best, -1)):
                            weights[active, tag] += change
                            moments[active, tag] += change * step
                    before, last, step = last, best, step + 1
        weights -= moments / step

    def _active(self, spelling: np.ndarray, number: int, last: int, before: int) -> np.ndarray:
        """The rows of one word, after the tags `last` and, before that, `before`."""
        with_word = self._first_word + number * self._before + last if number >= 0 else -1
        tags = (len(self._rows) + last, self._first_pair + last * self._before + before, with_word)
        return np.concatenate((spelling, tags))

    def _spelled(self, words: list[str]) -> Spelled:
        return [
            (
                np.array([self._rows.get(feature, -1) for feature in _spelling(place, words)]),
                self._words.get(word.lower(), -1),
            )
            for place, word in enumerate(words)
        ]


def _spelling(place: int, words: list[str]) -> list[tuple[str, ...]]:
    """The features of the word at a place that hang on no tag."""
    word = words[place]
    lowered = ["", "", *(each.lower() for each in words[max(place - 2, 0) : place + 3]), "", ""]
    here = 2 + min(place, 2)
    now, previous, following = lowered[here], lowered[here - 1], lowered[here + 1]
    return [
        ("word", word),
        ("lowered", now),
        ("shape", shape(word), "first" if place == 0 else ""),
        *(("ending", now[-size:]) for size in range(1, 5)),
        *(("beginning", now[:size]) for size in range(1, 4)),
        ("previous", previous),
        ("the one before", lowered[here - 2]),
        ("following", following),
        ("the one after", lowered[here + 2]),
        ("ending of the previous", previous[-3:]),
        ("ending of the following", following[-3:]),
        ("with the previous", previous, now),
        ("with the following", now, following),
    ]
