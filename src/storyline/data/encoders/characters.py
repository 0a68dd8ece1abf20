"""CharacterEncoder: a code point an id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from storyline.data.encoders.encoder import Ids, TextEncoder, unfitted
from storyline.data.vocabulary import END, PAD, UNKNOWN, Vocabulary

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class CharacterEncoder(TextEncoder):
    """Unicode code points; a character not seen in training becomes `<unk>` and is decoded as U+FFFD.

    lowercase: fold case before all else.
    min_count, max_size: see `Vocabulary.build`.
    end: id 2 is `<end>`, decoded as nothing; encode never produces it, it is for a model to put between texts.
    """

    level = "char"

    def __init__(
        self, *, lowercase: bool = False, min_count: int = 1, max_size: int | None = None, end: bool = False
    ) -> None:
        super().__init__(end=end)
        self.lowercase, self.min_count, self.max_size = lowercase, min_count, max_size
        self._vocabulary: Vocabulary | None = None
        self._id_of_point = np.empty(0, dtype=np.int64)

    @property
    def vocabulary(self) -> Vocabulary:
        if self._vocabulary is None:
            raise unfitted()
        return self._vocabulary

    @property
    def size(self) -> int:
        return len(self.vocabulary)

    @property
    def counts(self) -> Ids:
        return self.vocabulary.counts

    def fit(self, texts: Iterable[str]) -> Self:
        counts = np.zeros(0, dtype=np.int64)
        for text in texts:
            found = np.bincount(self._points(text))
            counts, found = (found, counts) if len(found) > len(counts) else (counts, found)
            counts[: len(found)] += found
        characters = {chr(point): int(counts[point]) for point in np.flatnonzero(counts)}
        specials = (PAD, UNKNOWN, END) if self.end else (PAD, UNKNOWN)
        self._adopt(
            Vocabulary.build(characters, specials=specials, min_count=self.min_count, max_size=self.max_size)
        )
        return self

    def _adopt(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        points = {ord(token): id_ for token, id_ in vocabulary.index.items() if token != UNKNOWN}
        # One slot more than the highest code point: all that lie beyond share it.
        self._id_of_point = np.full(max(points, default=-1) + 2, self.unknown_id, dtype=np.int64)
        self._id_of_point[list(points)] = list(points.values())

    def _points(self, text: str) -> NDArray[np.uint32]:
        text = text.lower() if self.lowercase else text
        return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")

    def encode(self, text: str) -> Ids:
        if self._vocabulary is None:
            raise unfitted()
        return self._id_of_point[np.minimum(self._points(text), len(self._id_of_point) - 1)]

    def decode(self, ids: Iterable[int]) -> str:
        silent = {PAD: "", END: "", UNKNOWN: _REPLACEMENT}
        specials = [silent[token] for token in self.vocabulary.tokens[: self.vocabulary.specials]]
        shown = [*specials, *self.vocabulary.tokens[self.vocabulary.specials :]]
        return "".join([shown[id_] for id_ in ids])

    def names(self) -> list[str]:
        return list(self.vocabulary.tokens)

    def to_document(self) -> dict[str, Any]:
        options = {name: getattr(self, name) for name in ("lowercase", "min_count", "max_size", "end")}
        return {"level": self.level, **options, "vocabulary": self.vocabulary.to_document()}

    @classmethod
    def _restore(cls, document: Mapping[str, Any]) -> CharacterEncoder:
        encoder = cls(**{name: document[name] for name in ("lowercase", "min_count", "max_size", "end")})
        encoder._adopt(Vocabulary.from_document(document["vocabulary"]))
        return encoder
