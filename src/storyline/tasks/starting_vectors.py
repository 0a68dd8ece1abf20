"""Where the embedding of a model starts: at the word vectors that fit was given, beside noise for the other tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from storyline.data import PairEncoder, TextEncoder, Vocabulary
from storyline.tasks.word_vectors import WordVectors, check_vectors

# So many of the words that the training text lacks join the vocabulary of a model that only reads.
JOINING = 20_000


@dataclass(frozen=True, eq=False)
class StartingVectors:
    """The first vectors of an embedding.

    vectors  (tokens, embedding_size) float32
    given    (tokens,) bool: those that came from WordVectors; None where all were learned from the texts at hand
    share    of the tokens of the training text, those that have a given vector
    """

    vectors: NDArray[np.float32]
    given: NDArray[np.bool_] | None = None
    share: float = 0.0

    def with_spread(self) -> StartingVectors:
        """All multiplied by one number, so that the entries of the given ones have variance 1 / embedding_size."""
        assert self.given is not None
        factor = self.vectors.shape[1] ** -0.5 / float(self.vectors[self.given].std())
        return replace(self, vectors=self.vectors * np.float32(factor))

    def summary(self) -> dict[str, Any]:
        """What a training says of the given ones; nothing where there are none."""
        if self.given is None:
            return {}
        return {"given_vectors": int(self.given.sum()), "given_vectors_share": round(self.share, 4)}


@dataclass(frozen=True, eq=False)
class PairStart:
    """The first vectors of both embeddings, None: drawn; where the sides share one, `source` is of both."""

    source: StartingVectors | None = None
    target: StartingVectors | None = None

    @classmethod
    def of(
        cls,
        vectors: WordVectors | None,
        target_vectors: WordVectors | None,
        encoder: PairEncoder,
        seed: int,
    ) -> PairStart:
        """Of the vectors given for either side, each scaled as a whole to the spread of vectors that are drawn.

        What is read of them is multiplied again by the network, and a tied head wants them small.
        """
        source, target = (
            None if given is None else encoder_vectors(given, side, seed).with_spread()
            for given, side in ((vectors, encoder.source), (target_vectors, encoder.target))
        )
        return cls(source, target)

    def summary(self) -> dict[str, Any]:
        """What a training says of them; nothing where there are none."""
        sides = (("", self.source), ("target_", self.target))
        return {
            f"{side}{name}": value
            for side, start in sides
            if start is not None
            for name, value in start.summary().items()
        }


def embedding_size(setting: int | str, vectors: WordVectors | None, otherwise: int | str) -> int | str:
    """What embedding_size becomes: "auto" is that of the vectors, else `otherwise`; ValueError where they differ."""
    if vectors is None:
        return otherwise if isinstance(setting, str) else setting
    size: int = check_vectors(vectors).shape[1]
    if setting not in ("auto", size):
        raise ValueError(
            f"the vectors have {size} numbers, and embedding_size is {setting}; set embedding_size={size}, or 'auto'"
        )
    return size


def refuse_frozen_noise(freeze: bool, vectors: WordVectors | None, *, warm: bool = False) -> None:
    """ValueError where vectors are to be kept as they were given, and none were."""
    if freeze and vectors is None and not warm:
        raise ValueError(
            "freeze_vectors=True keeps the vectors that fit is given, and it got none; give vectors=..."
        )


def joined(vocabulary: Vocabulary, words: Sequence[str], max_vocabulary: int | None) -> Vocabulary:
    """The vocabulary with the first of those words that it lacks, counted 0: they have a vector and can be read."""
    room = JOINING if max_vocabulary is None else min(JOINING, max_vocabulary - len(vocabulary))
    known = set(vocabulary.tokens)
    new = [word for word in words if word not in known][: max(0, room)]
    return Vocabulary(
        [*vocabulary.tokens, *new], [*vocabulary.counts.tolist(), *[0] * len(new)], vocabulary.specials
    )


def starting_vectors(
    vectors: WordVectors, tokens: Sequence[str | None], counts: NDArray[np.int64], *, specials: int, seed: int
) -> StartingVectors:
    """The vectors of those tokens that are known words, and normal noise of their spread for the others.

    tokens, counts (tokens,): of the vocabulary, `specials` of them first; None: what is no word. The first token is
    padding, and zero.
    Raises ValueError where not one token of the training text has a vector.
    """
    array = check_vectors(vectors)
    rows = vectors.rows(tokens)
    rows[:specials] = -1
    given = rows >= 0
    found_tokens = int(counts[given].sum())
    if not found_tokens:
        example = ", ".join(repr(token) for token in tokens[specials : specials + 3] if token is not None)
        raise ValueError(
            f"none of the {int((counts[specials:] > 0).sum()):,} tokens of the training text ({example}, ...) has a "
            "vector; give vectors of the same language, and of words in the same case (see lowercase)"
        )
    noise = np.random.default_rng(seed).normal(0, array[rows[given]].std(), (len(tokens), array.shape[1]))
    start = noise.astype(np.float32)
    start[given] = array[rows[given]]
    start[0] = 0
    return StartingVectors(start, given, found_tokens / int(counts.sum()))


def encoder_vectors(vectors: WordVectors, encoder: TextEncoder, seed: int) -> StartingVectors:
    """Starting vectors of an encoder's tokens: words; or those subwords that begin a word, as if they were one."""
    if encoder.level == "char":
        raise ValueError("vectors are of words, and level is 'char'; use level='word', or leave vectors out")
    names: list[str | None] = [*encoder.names()]
    if encoder.level == "subword":
        # A blank leads what begins a word.
        names = [name[1:] if name and name.startswith(" ") else None for name in names]
    specials = 2 + (encoder.end_id is not None)
    return starting_vectors(vectors, names, encoder.counts, specials=specials, seed=seed)


def embedding_arguments(start: StartingVectors | None, tokens: int, *, freeze: bool) -> dict[str, Any]:
    """The arguments `vectors` and `frozen` of a TokenEmbedding.

    A network that is built again, to load its weights, has no vectors yet and gets what is frozen with them.
    """
    frozen = None
    if freeze:
        given = np.zeros(tokens, dtype=bool) if start is None or start.given is None else start.given
        frozen = torch.from_numpy(given)
    return {"vectors": None if start is None else torch.from_numpy(start.vectors), "frozen": frozen}


def vector_identity(vectors: WordVectors | None) -> Any:
    """What a resumed run compares of the vectors."""
    return None if vectors is None else [list(vectors.words_), vectors.vectors_]
