"""Word vectors from the text at hand: positive pointwise mutual information and a truncated SVD."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from storyline.data.source import DataError
from storyline.data.vocabulary import Vocabulary


def ppmi_vectors(
    texts: Sequence[NDArray[np.int64]] | Sequence[Sequence[str]],
    vocabulary: Vocabulary,
    size: int,
    window: int = 5,
    *,
    seed: int = 0,
    smoothing: float = 0.75,
    name: str = "size",
) -> NDArray[np.float32]:
    """Vectors (len(vocabulary), size) of words by the words within `window` steps of them.

    texts: ids (as `encode_all` gives them) or tokens. Deterministic for a seed. name: what the caller calls `size`.
    PPMI(w, c) = max(0, log P(w, c) / (P(w) P_a(c))), P_a(c) ~ count(c)^a with a = `smoothing`; its SVD U S V';
    rows U S^(1/2), then all scaled so that the entries of the words seen have variance 1/size.
    `<pad>` is zero. The other specials, and words without a neighbour, get normal noise of a tenth of that spread:
    equal vectors could not be told apart in training.
    Source: Levy, Goldberg, Dagan 2015, "Improving distributional similarity with lessons learned from word
    embeddings", section 3.
    """
    counts = _neighbours(texts, vocabulary, window)
    words = np.flatnonzero(np.asarray(counts.sum(axis=1)).reshape(-1))
    if len(words) < 2:
        raise DataError(
            "no two different words stand near each other in the texts; give more text to learn from"
        )
    if not 1 <= size < len(words):
        raise DataError(
            f"{name} is {size}; {len(words)} words with neighbours allow 1 to {len(words) - 1}: set it so, or give "
            "more text to learn vectors from"
        )
    ppmi = _ppmi(counts[words][:, words], smoothing)
    # One thread: the matrices are tall and thin, where BLAS threads cost a hundred times what they save, and so
    # the bits do not hang on the number of threads. NumPy's older generator takes seeds of 32 bits only.
    with threadpool_limits(1, user_api="blas"):
        left, singular, _ = randomized_svd(ppmi, size, n_oversamples=10, n_iter=4, random_state=seed % 2**32)
    found = left * np.sqrt(singular)
    found *= size**-0.5 / found.std()
    generator = np.random.default_rng(seed)
    vectors = generator.normal(0, 0.1 * size**-0.5, (len(vocabulary), size)).astype(np.float32)
    vectors[words] = found
    if vocabulary.pad_id is not None:
        vectors[vocabulary.pad_id] = 0
    return vectors


def _neighbours(texts: Sequence[Any], vocabulary: Vocabulary, window: int) -> Any:
    """How often two words stand within `window` steps of each other, (words, words) sparse and symmetric."""
    if window < 1:
        raise DataError(f"window is {window}; it must be at least 1")
    gap = np.full(window, -1, dtype=np.int64)
    parts: list[NDArray[np.int64]] = []
    for text in texts:
        parts += [text if isinstance(text, np.ndarray) else vocabulary.ids(text), gap]
    if not parts:
        raise DataError("word vectors need texts; none came")
    stream = np.concatenate(parts)
    stream[stream < vocabulary.specials] = -1
    size = len(vocabulary)
    total = sparse.csr_matrix((size, size), dtype=np.float64)
    for distance in range(1, window + 1):
        left, right = stream[:-distance], stream[distance:]
        both = (left >= 0) & (right >= 0)
        ones = np.ones(int(both.sum()), dtype=np.float64)
        total = total + sparse.csr_matrix((ones, (left[both], right[both])), shape=(size, size))
    return (total + total.T).tocsr()


def _ppmi(counts: Any, smoothing: float) -> Any:
    occurrences = np.asarray(counts.sum(axis=1)).reshape(-1)
    contexts = occurrences**smoothing
    coordinates = counts.tocoo()
    share = contexts[coordinates.col] / contexts.sum()
    information = np.log(coordinates.data / (occurrences[coordinates.row] * share))
    positive = information > 0
    return sparse.csr_matrix(
        (information[positive].astype(np.float32), (coordinates.row[positive], coordinates.col[positive])),
        shape=counts.shape,
    )
