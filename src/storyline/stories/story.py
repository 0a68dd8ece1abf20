"""A story: a kind with its parameters, and the batches that it yields."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from storyline.stories.catalogue import KINDS
from storyline.stories.examples import Examples
from storyline.stories.filling import Filling, read_filling
from storyline.stories.kind import Kind
from storyline.stories.script import SPLITS, Ask, Fill, Planted, Script, Teller

SPECIAL = ("<pad>", "<unk>")
Distance = int | tuple[int, int] | Sequence[int] | np.ndarray


@dataclass(frozen=True)
class Story:
    """A story to remember: facts are told, `distance` words pass, the facts are asked.

    name             one of STORIES
    distance         words (or steps) between the fact and the question; the kind's docstring says which
    distractors      facts told that nobody asks for; None: the kind's usual number
    facts            facts asked for; None: the kind's usual number
    seed             of the examples that `batch` draws where no `rng` is given
    filling          a file or folder of prose (.txt, .txt.xz, .parquet); None: the built-in grammar's sentences
    vocabulary_size  how many of the filling's most frequent words are known; the others are <unk>

    Raises ValueError for a parameter that the kind cannot be told with, and says which it can.
    """

    name: str
    distance: int = 100
    distractors: int | None = None
    facts: int | None = None
    seed: int = 0
    filling: str | None = None
    vocabulary_size: int = 2_000

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise ValueError(f"{self.name!r} is no story; the stories are {', '.join(KINDS)}")
        for what in ("distractors", "facts"):
            usual, least, most = getattr(self.kind, what)
            asked = getattr(self, what)
            if asked is None:
                object.__setattr__(self, what, usual)
            elif not least <= asked <= most:
                raise ValueError(
                    f"{what}={asked}, but {self.name} is told with {least} to {most}; choose one of these"
                )
        if self.distance < 1:
            raise ValueError(
                f"distance={self.distance}; it counts words between fact and question: at least 1"
            )
        if self.vocabulary_size < 1:
            raise ValueError(f"vocabulary_size={self.vocabulary_size}; the filling needs at least 1 word")

    @property
    def kind(self) -> Kind:
        """What all stories of this name share."""
        return KINDS[self.name]

    @property
    def classes(self) -> tuple[str, ...]:
        """The closed list of answers; empty where the answer is a number."""
        return self.kind.answers

    @property
    def channels(self) -> int:
        """The real inputs of a step; 0 where the story is words."""
        return self.kind.channels

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """All words of the story by their number: <pad>, <unk>, the kind's own words, the filling's."""
        return _book(self.name, self.filling, self.vocabulary_size).vocabulary

    @property
    def source(self) -> str:
        """Where the filling comes from, in words."""
        return read_filling(self.filling).source if self.kind.filled else "no filling"

    def batch(
        self,
        n: int,
        split: str = "train",
        rng: np.random.Generator | int | None = None,
        *,
        distance: Distance | None = None,
        variety: int | None = None,
    ) -> Examples:
        """`n` fresh examples of a split.

        rng       the source of chance, or a seed; None: the story's own seed, so that it is the same batch each time
        distance  instead of the story's: one for all, (least, most) to draw each row's from, or a list of n
        variety   of so many of the kind's `varieties` the facts are drawn, few names of many; None: of all
        """
        if split not in SPLITS:
            raise ValueError(f"{split!r} is no split; the splits are {', '.join(SPLITS)}")
        if n < 1:
            raise ValueError(f"n={n}; a batch needs at least one example")
        if variety is not None and not 1 <= variety <= self.kind.varieties:
            raise ValueError(
                f"variety={variety}; {self.name} has 1 to {self.kind.varieties}, or give None for all"
            )
        if not isinstance(rng, np.random.Generator):
            seed = self.seed if rng is None else rng
            rng = np.random.default_rng([zlib.crc32(self.name.encode()), SPLITS.index(split), seed])
        distances = _distances(self.distance if distance is None else distance, n, rng)
        random = Random(int(rng.integers(2**62)))
        assert self.distractors is not None
        assert self.facts is not None
        scripts = [
            self.kind.write(Teller(random, rng, split, int(each), self.distractors, self.facts, variety))
            for each in distances
        ]
        book = _book(self.name, self.filling, self.vocabulary_size)
        return _assembled(self.kind, book, scripts, distances, split, random)


@dataclass(frozen=True, eq=False)
class _Book:
    """The vocabulary of a story, and its filling in that vocabulary."""

    vocabulary: tuple[str, ...]
    ids: dict[str, int]
    streams: dict[str, np.ndarray]


@functools.lru_cache(maxsize=64)
def _book(name: str, path: str | None, size: int) -> _Book:
    kind = KINDS[name]
    own = SPECIAL + kind.words
    if not kind.filled:
        return _Book(own, {word: number for number, word in enumerate(own)}, {})
    filling = read_filling(path)
    frequent = list(filling.ranks)[: min(size, filling.known)]
    vocabulary = tuple(dict.fromkeys([*own, *(word for word in frequent if word not in kind.masked)]))
    ids = {word: number for number, word in enumerate(vocabulary)}
    unknown, masked = ids["<unk>"], set(kind.masked)
    table = np.array(
        [unknown if word in masked else ids.get(word, unknown) for word in filling.ranks], np.int32
    )
    return _Book(vocabulary, ids, _renumbered(filling, table))


def _renumbered(filling: Filling, table: np.ndarray) -> dict[str, np.ndarray]:
    return {split: table[stream] for split, stream in filling.streams.items()}


def _distances(distance: Distance, n: int, rng: np.random.Generator) -> np.ndarray:
    if isinstance(distance, tuple):
        least, most = distance
        if not 1 <= least <= most:
            raise ValueError(f"distance={distance}; give (least, most) with 1 <= least <= most")
        return rng.integers(least, most + 1, n)
    distances = np.broadcast_to(np.asarray(distance, np.int64), (n,)) if np.ndim(distance) == 0 else None
    distances = np.asarray(distance, np.int64) if distances is None else distances
    if distances.shape != (n,) or distances.min() < 1:
        raise ValueError(
            f"distance has the shape {distances.shape} and the least {distances.min()}; give one, (least, most), "
            f"or a list of n={n}, each at least 1"
        )
    return distances


def _assembled(
    kind: Kind, book: _Book, scripts: list[Script], distances: np.ndarray, split: str, random: Random
) -> Examples:
    rows, questions = [], []
    for row, script in enumerate(scripts):
        pieces, asked = _told(kind, book, script, split, random)
        rows.append(pieces)
        questions += [(row, *question) for question in asked]
    lengths = np.array([sum(map(len, pieces)) for pieces in rows], np.int64)
    shape = (len(rows), int(lengths.max()))
    inputs: np.ndarray = (
        np.zeros((*shape, kind.channels), np.float32) if kind.channels else np.zeros(shape, np.int64)
    )
    for row, pieces in enumerate(rows):
        inputs[row, : lengths[row]] = np.concatenate(pieces)
    columns = np.array([question[:5] for question in questions], np.int64).reshape(-1, 5).T
    return Examples(
        tokens=None if kind.channels else inputs,
        values=inputs if kind.channels else None,
        lengths=lengths,
        distances=np.array(distances, np.int64),
        question_rows=columns[0],
        question_steps=columns[1],
        answers=columns[2],
        numbers=np.array([question[5] for question in questions], np.float32),
        facts=columns[3],
        told_steps=columns[4],
        chances=np.array([question[6] for question in questions], np.float64),
        vocabulary=book.vocabulary,
        classes=kind.answers,
    )


def _told(
    kind: Kind, book: _Book, script: Script, split: str, random: Random
) -> tuple[list[np.ndarray], list[tuple[float, ...]]]:
    """The pieces of one row as arrays, and its questions: step, class, fact, step told, number, chance."""
    stream = book.streams.get(split)
    cursor = random.randrange(len(stream)) if stream is not None else 0
    pieces, questions, told, step = list[np.ndarray](), list[tuple[float, ...]](), dict[int, int](), 0
    for piece in script:
        if isinstance(piece, Planted):
            told[piece.fact] = step - 1
        elif isinstance(piece, Ask):
            number = not isinstance(piece.answer, str)
            answer = -1 if number else kind.answers.index(str(piece.answer))
            value = float(piece.answer) if number else float("nan")
            questions.append((step - 1, answer, piece.fact, told.get(piece.fact, -1), value, piece.chance))
        else:
            if isinstance(piece, Fill):
                assert stream is not None
                array = _excerpt(stream, cursor, piece.words)
                cursor = (cursor + piece.words) % len(stream)
            elif isinstance(piece, str):
                array = np.array([book.ids[word] for word in piece.split()], np.int64)
            else:
                array = piece if kind.channels else piece + len(SPECIAL)
            pieces.append(array)
            step += len(array)
    return pieces, questions


def _excerpt(stream: np.ndarray, start: int, words: int) -> np.ndarray:
    """Contiguous words; after a split's last document its first one follows."""
    if start + words <= len(stream):
        return stream[start : start + words]
    return np.take(stream, np.arange(start, start + words), mode="wrap")
