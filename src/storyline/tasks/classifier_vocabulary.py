"""The vocabulary of a text classifier, and where its word vectors start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from storyline.data import TextEncoder, WordEncoder, ppmi_vectors, text_encoder
from storyline.tasks.inputs import check_texts
from storyline.tasks.settings import ClassifierSettings
from storyline.tasks.starting_vectors import StartingVectors, encoder_vectors, joined
from storyline.tasks.word_vectors import WordVectors

# A word of the unlabelled texts joins the vocabulary where it occurs so often.
_FREQUENT = 10
# Standard deviation of the entries of the first vectors: smaller ones reach the gates too weakly to be learned from in
# a few thousand steps (chosen on a fifth of TREC's training part).
_SPREAD = 0.28


def learn_vocabulary(
    texts: list[str],
    unlabelled: Sequence[str] | None,
    vectors: WordVectors | None,
    settings: ClassifierSettings,
) -> tuple[TextEncoder, StartingVectors | None]:
    """The encoder fitted on the training texts, and first vectors from `unlabelled` texts or given `vectors`.

    The frequent words of the unlabelled texts, or the first of those that have given vectors, join the vocabulary with
    a count of 0, so that words that the training part lacks have a vector, too.
    """
    assert settings.embedding_size != "auto"
    if unlabelled is not None and vectors is not None:
        raise ValueError(
            "unlabelled texts teach word vectors, and vectors were given; leave one of the two out"
        )
    options: dict[str, Any] = {"lowercase": settings.lowercase, "min_count": settings.min_count}
    if settings.level == "subword":
        # A pair that comes once is no unit.
        options["min_count"] = max(2, settings.min_count)
    if settings.max_vocabulary is not None:
        options["max_size"] = settings.max_vocabulary
    encoder = text_encoder(settings.level, **options).fit(texts)
    if vectors is not None:
        if isinstance(encoder, WordEncoder):
            encoder = _extended(encoder, vectors.words_, settings.max_vocabulary)
        return encoder, encoder_vectors(vectors, encoder, settings.seed)
    if unlabelled is None:
        return encoder, None
    if not isinstance(encoder, WordEncoder):
        raise ValueError(
            f"unlabelled texts teach word vectors, and level is {settings.level!r}; use level='word'"
        )
    tokens = [encoder.tokens(text) for text in [*texts, *check_texts(unlabelled, "unlabelled")]]
    counts = Counter(word for words in tokens for word in words)
    frequent = sorted(
        (word for word, count in counts.items() if count >= _FREQUENT), key=lambda word: (-counts[word], word)
    )
    encoder = _extended(encoder, frequent, settings.max_vocabulary)
    size = settings.embedding_size
    found = ppmi_vectors(tokens, encoder.vocabulary, size, seed=settings.seed, name="embedding_size")
    return encoder, StartingVectors(found * np.float32(_SPREAD * size**0.5))


def _extended(encoder: WordEncoder, words: Sequence[str], max_vocabulary: int | None) -> WordEncoder:
    larger = joined(encoder.vocabulary, words, max_vocabulary)
    document = encoder.to_document() | {"vocabulary": larger.to_document()}
    extended = TextEncoder.from_document(document)
    assert isinstance(extended, WordEncoder)
    return extended
