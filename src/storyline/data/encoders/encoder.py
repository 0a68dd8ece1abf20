"""TextEncoder: what words, characters and byte pairs have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from storyline.data.source import DataError

Ids = NDArray[np.int64]


class TextEncoder(ABC):
    """Text to ids and back; learned by `fit` from the training texts only.

    Ids 0 and 1 are `<pad>` and `<unk>`; with `end=True` id 2 is `<end>`. The same texts give the same ids:
    tokens are ordered by falling count, ties alphabetically.
    """

    level: str
    pad_id: int = 0
    unknown_id: int = 1

    def __init__(self, *, end: bool = False) -> None:
        self.end = end
        self.end_id: int | None = 2 if end else None

    @property
    def begin_id(self) -> int | None:
        """What a decoder reads before the first token: `<end>`, as if the text before had just ended.

        So no id is spent on what is never predicted. None without `end=True`.
        """
        return self.end_id

    @abstractmethod
    def fit(self, texts: Iterable[str]) -> Self:
        """Learn the vocabulary from texts."""

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of ids, specials included."""

    @property
    @abstractmethod
    def counts(self) -> Ids:
        """How often each id came in the training texts, shape (size,); `<unk>`: what was left out."""

    @abstractmethod
    def encode(self, text: str) -> Ids:
        """The ids of a text, shape (tokens,); nothing is added at its ends."""

    def encode_all(self, texts: Iterable[str]) -> list[Ids]:
        """The ids of many texts."""
        return [self.encode(text) for text in texts]

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; `<pad>` is left out."""

    @abstractmethod
    def names(self) -> list[str]:
        """Each id as a text to show, in the order of the ids."""

    @abstractmethod
    def to_document(self) -> dict[str, Any]:
        """A JSON-able dictionary, from which `TextEncoder.from_document` builds an equal encoder."""

    @staticmethod
    def from_document(document: Mapping[str, Any]) -> TextEncoder:
        """The encoder that `to_document` described, of whatever level."""
        kind = _kind(document["level"])
        return kind._restore(document)

    @classmethod
    @abstractmethod
    def _restore(cls, document: Mapping[str, Any]) -> TextEncoder: ...

    def unknown(self, ids: Ids | Sequence[int]) -> int:
        """How many of the ids are `<unk>`."""
        return int(np.count_nonzero(np.asarray(ids) == self.unknown_id))


def text_encoder(level: str = "word", **options: Any) -> TextEncoder:
    """A new encoder for `level` "word", "char" or "subword"; options as its class takes them."""
    return _kind(level)(**options)


def _kind(level: str) -> type[TextEncoder]:
    # Imported here: each kind is a subclass of what this file defines.
    from storyline.data.encoders.characters import CharacterEncoder
    from storyline.data.encoders.subwords import BytePairEncoder
    from storyline.data.encoders.words import WordEncoder

    kinds: dict[str, type[TextEncoder]] = {
        kind.level: kind for kind in (WordEncoder, CharacterEncoder, BytePairEncoder)
    }
    if level not in kinds:
        raise DataError(f"level is {level!r}; it must be one of {', '.join(map(repr, kinds))}")
    return kinds[level]


def unfitted() -> DataError:
    return DataError("the encoder has learned nothing yet; call fit first")
