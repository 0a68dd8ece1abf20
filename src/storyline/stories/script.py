"""A script: what a story tells, piece by piece, before any of it is an array; and who tells it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

import numpy as np

SPLITS = ("train", "validation", "test")
TRIES = 5_000
# The classes of each list in `Teller.crossed`, and the sums of two classes that belong to each split.
CLASSES = 5
SUMS = {"train": (0, 1, 2), "validation": (3,), "test": (4,)}
CROSSED = CLASSES * len(SUMS["train"])

T = TypeVar("T")


@dataclass(frozen=True)
class Fill:
    """So many words of filling; the pieces of one script are cut from one excerpt, in its order."""

    words: int


@dataclass(frozen=True)
class Planted:
    """The word before this one completes fact number `fact`."""

    fact: int = 0


@dataclass(frozen=True)
class Ask:
    """After the word before this one the answer is due.

    answer  a class of the story's closed list, or a number
    fact    the questions of one fact are right together or not at all (the digits of a serial number)
    chance  the share of right answers of the best guess that knows how often each word occurred, not its order
    """

    answer: str | float
    chance: float
    fact: int = 0


# A text of words with blanks between them; or, in the symbols of a story, their numbers in its list of words
# (so that a hundred thousand are drawn at once); or real inputs (steps, channels).
Piece = str | np.ndarray | Fill | Planted | Ask
Script = list[Piece]


def split_of(pairing: str) -> str:
    """The split that a pairing of facts belongs to: 8 of 10 to train, one to validation, one to test.

    The same in every process, which Python's own hash() is not.
    """
    share = zlib.crc32(pairing.encode()) % 10
    return SPLITS[max(0, share - 7)]


@dataclass
class Teller:
    """Who writes one example: the parameters of the example, and the two sources of chance.

    random   Python's, which is the faster for single draws; rng: NumPy's, for arrays
    variety  of so many of the kind's `varieties` the facts are drawn; None: of all
    """

    random: Random
    rng: np.random.Generator
    split: str
    distance: int
    distractors: int
    facts: int
    variety: int | None = None

    def pairing(self, draw: Callable[[], T], key: Callable[[T], str]) -> T:
        """Draw until the facts drawn belong, by the hash of their `key`, to this teller's split.

        A key that does not tell which of its values is the answer (sorted names) keeps the bag of words at chance.
        """
        for _ in range(TRIES):
            drawn = draw()
            if split_of(key(drawn)) == self.split:
                return drawn
        raise ValueError(
            f"no pairing of facts is left for the {self.split} split after {TRIES} draws; raise facts or "
            "distractors, so that there are more pairings to share out"
        )

    def crossed(self, left: Sequence[str], right: Sequence[str], sizes: tuple[int, int]) -> list[list[str]]:
        """Draw `sizes[0]` of `left` and `sizes[1]` of `right`, such that no pair across is in two splits.

        Both lists fall in five classes by their places; three of five sums of classes are for training, one for
        validation, one for test. All that is drawn from a list is of one class, so that every pair across belongs to
        the split, and none of the candidates is told from the others by it. A variety is a pair of classes: a kind that
        draws so has `CROSSED` of them in training, and a split with fewer is told by that share of its own.
        """
        pairs = [(first, (total - first) % CLASSES) for total in SUMS[self.split] for first in range(CLASSES)]
        told = len(pairs) if self.variety is None else max(1, len(pairs) * self.variety // CROSSED)
        return [
            self.random.sample(words[share::CLASSES], size)
            for words, share, size in zip((left, right), self.random.choice(pairs[:told]), sizes, strict=True)
        ]

    def part(self, sentences: Sequence[str]) -> tuple[list[str], list[str]]:
        """Sentences to tell before the fact, and those (by a coin each, where there is room) to tell after it."""
        before, after, room = [], [], self.distance
        for sentence in sentences:
            words = sentence.count(" ") + 1
            if words <= room and self.random.random() < 0.5:
                after.append(sentence)
                room -= words
            else:
                before.append(sentence)
        return before, after

    def pause(self) -> Script:
        """Up to a quarter of the distance (and two words more) of filling, between what is told earlier."""
        return self.strewn([], self.random.randint(0, 2 + self.distance // 4))

    def strewn(self, sentences: Sequence[str], words: int | None = None) -> Script:
        """Sentences at random places in filling; `words` words in all (the distance), the sentences' included."""
        words = self.distance if words is None else words
        room = words - sum(sentence.count(" ") + 1 for sentence in sentences)
        assert room >= 0, "the sentences are longer than the words that they are strewn over"
        cuts = sorted(self.random.randint(0, room) for _ in sentences)
        script: Script = []
        for start, stop, sentence in zip([0, *cuts], [*cuts, room], [*sentences, None], strict=True):
            if stop > start:
                script.append(Fill(stop - start))
            if sentence is not None:
                script.append(sentence)
        return script
