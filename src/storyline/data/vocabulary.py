"""Vocabulary: tokens and their ids, for encoders, for tags and for labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storyline.data.source import DataError, nearest

PAD, UNKNOWN, END = "<pad>", "<unk>", "<end>"


class Vocabulary:
    """Tokens in the order of their ids, with how often each came in training.

    Build it with `Vocabulary.build` (from counts) or `Vocabulary.of_labels` (classes or tags, no specials).
    A token that is not in it becomes `<unk>` where the vocabulary has one, and is a DataError where it has not.
    The texts `<pad>` and `<end>` inside data are ordinary unknown words, never the specials; `<unk>` is itself.
    """

    def __init__(
        self, tokens: Sequence[str], counts: Sequence[int] | NDArray[np.int64], specials: int = 0
    ) -> None:
        if len(set(tokens)) != len(tokens) or len(counts) != len(tokens):
            raise DataError("a vocabulary needs distinct tokens and one count for each of them")
        self.tokens = tuple(tokens)
        self.counts: NDArray[np.int64] = np.asarray(counts, dtype=np.int64)
        self.specials = specials
        self._special_ids = {token: id_ for id_, token in enumerate(self.tokens[:specials])}
        self.index = {
            token: id_ for id_, token in enumerate(self.tokens) if id_ >= specials or token == UNKNOWN
        }

    @classmethod
    def build(
        cls,
        counts: Mapping[str, int],
        *,
        specials: Sequence[str] = (PAD, UNKNOWN),
        min_count: int = 1,
        max_size: int | None = None,
    ) -> Vocabulary:
        """The specials, then the tokens by falling count, ties in alphabetical order.

        min_count: tokens that come less often are left out.
        max_size: the most entries, specials included.
        What is left out counts towards `<unk>`.
        """
        if min_count < 1:
            raise DataError(f"min_count is {min_count}; it must be at least 1")
        if max_size is not None and max_size <= len(specials):
            raise DataError(f"max_size is {max_size}; it must be above the {len(specials)} special tokens")
        kept = sorted(
            (
                (token, count)
                for token, count in counts.items()
                if count >= min_count and token not in specials
            ),
            key=lambda item: (-item[1], item[0]),
        )
        kept = kept if max_size is None else kept[: max_size - len(specials)]
        special_counts = [0] * len(specials)
        if UNKNOWN in specials:
            special_counts[list(specials).index(UNKNOWN)] = sum(counts.values()) - sum(n for _, n in kept)
        return cls(
            [*specials, *(token for token, _ in kept)],
            [*special_counts, *(n for _, n in kept)],
            len(specials),
        )

    @classmethod
    def of_labels(cls, labels: Iterable[str]) -> Vocabulary:
        """The distinct labels in alphabetical order, without specials."""
        counts = Counter(labels)
        ordered = sorted(counts)
        return cls(ordered, [counts[label] for label in ordered])

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self.index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.to_document() == other.to_document()

    __hash__ = None  # type: ignore[assignment]

    @property
    def pad_id(self) -> int | None:
        return self._special_ids.get(PAD)

    @property
    def unknown_id(self) -> int | None:
        return self._special_ids.get(UNKNOWN)

    @property
    def end_id(self) -> int | None:
        return self._special_ids.get(END)

    def ids(self, tokens: Iterable[str]) -> NDArray[np.int64]:
        """The id of each token, shape (tokens,); DataError for an unseen one where there is no `<unk>`."""
        unknown = self.unknown_id
        if unknown is not None:
            get = self.index.get
            return np.array([get(token, unknown) for token in tokens], dtype=np.int64)
        try:
            return np.array([self.index[token] for token in tokens], dtype=np.int64)
        except KeyError as error:
            token = error.args[0]
            known = ", ".join(map(repr, self.tokens[:20])) + (", ..." if len(self) > 20 else "")
            raise DataError(
                f"{token!r} was not seen in training{nearest(str(token), self.tokens)}; known are {known}"
            ) from None

    def names(self, ids: Iterable[int]) -> list[str]:
        """The token of each id."""
        return [self.tokens[id_] for id_ in ids]

    def to_document(self) -> dict[str, Any]:
        """A JSON-able dictionary, from which `from_document` builds an equal vocabulary."""
        return {"tokens": list(self.tokens), "counts": self.counts.tolist(), "specials": self.specials}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Vocabulary:
        return cls(document["tokens"], document["counts"], document["specials"])
