"""The vocabulary of a text classifier, and where its word vectors start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from storyline.data import TextEncoder, Vocabulary, WordEncoder, ppmi_vectors, text_encoder
from storyline.tasks.inputs import check_texts
from storyline.tasks.settings import ClassifierSettings

# A word of the unlabelled texts joins the vocabulary where it occurs so often, up to so many words.
_FREQUENT = 10
_JOINING = 20_000
# Standard deviation of the entries of the first vectors: smaller ones reach the gates too weakly to be learned from in
# a few thousand steps (chosen on a fifth of TREC's training part).
_SPREAD = 0.28


def learn_vocabulary(
    texts: list[str], unlabelled: Sequence[str] | None, settings: ClassifierSettings
) -> tuple[TextEncoder, np.ndarray | None]:
    """The encoder fitted on the training texts, and first word vectors (size, embedding_size) from `unlabelled`.

    With unlabelled texts their frequent words join the vocabulary with a count of 0, so that words that the
    training part lacks have a vector, too.
    """
    options: dict[str, Any] = {"lowercase": settings.lowercase, "min_count": settings.min_count}
    if settings.level == "subword":
        # A pair that comes once is no unit.
        options["min_count"] = max(2, settings.min_count)
    if settings.max_vocabulary is not None:
        options["max_size"] = settings.max_vocabulary
    encoder = text_encoder(settings.level, **options).fit(texts)
    if unlabelled is None:
        return encoder, None
    if not isinstance(encoder, WordEncoder):
        raise ValueError(
            f"unlabelled texts teach word vectors, and level is {settings.level!r}; use level='word'"
        )
    tokens = [encoder.tokens(text) for text in [*texts, *check_texts(unlabelled, "unlabelled")]]
    encoder = _joined(encoder, Counter(word for words in tokens for word in words))
    size = settings.embedding_size
    vectors = ppmi_vectors(tokens, encoder.vocabulary, size, seed=settings.seed, name="embedding_size")
    return encoder, vectors * np.float32(_SPREAD * size**0.5)


def _joined(encoder: WordEncoder, counts: Counter[str]) -> WordEncoder:
    known = encoder.vocabulary
    frequent = sorted(
        (word for word, count in counts.items() if count >= _FREQUENT and word not in known.index),
        key=lambda word: (-counts[word], word),
    )[:_JOINING]
    larger = Vocabulary(
        [*known.tokens, *frequent], [*known.counts.tolist(), *[0] * len(frequent)], known.specials
    )
    document = encoder.to_document() | {"vocabulary": larger.to_document()}
    joined = TextEncoder.from_document(document)
    assert isinstance(joined, WordEncoder)
    return joined
