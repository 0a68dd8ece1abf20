"""Word vectors: against a direct computation, and what rare words get."""

from __future__ import annotations

import numpy as np
import pytest

from storyline.data import DataError, Vocabulary, WordEncoder, ppmi_vectors
from storyline.data.vectors import _neighbours, _ppmi

TEXTS = ["the cat eats fish .", "the dog eats meat .", "a cat and a dog sleep .", "fish and meat"] * 2


def corpus() -> tuple[list[np.ndarray], Vocabulary]:
    encoder = WordEncoder(min_count=2).fit(TEXTS)
    return encoder.encode_all(TEXTS), encoder.vocabulary


@pytest.mark.parametrize("window", [1, 2, 5])
def test_ppmi_by_the_formula(window: int) -> None:
    ids, vocabulary = corpus()
    size = len(vocabulary)
    counts = np.zeros((size, size))
    for text in ids:
        for place, word in enumerate(text):
            for other in range(max(0, place - window), min(len(text), place + window + 1)):
                if other != place and word > 1 and text[other] > 1:
                    counts[word, text[other]] += 1
    found = _neighbours(ids, vocabulary, window)
    np.testing.assert_array_equal(found.toarray(), counts)
    counts = counts[2:, 2:]
    smooth = counts.sum(0) ** 0.75
    with np.errstate(divide="ignore"):
        information = np.log(counts / (counts.sum(1)[:, None] * smooth / smooth.sum()))
    np.testing.assert_allclose(
        _ppmi(found[2:, 2:], 0.75).toarray(), np.maximum(information, 0), rtol=1e-5, atol=1e-6
    )


def test_vectors_span_the_best_subspace() -> None:
    ids, vocabulary = corpus()
    matrix = _ppmi(_neighbours(ids, vocabulary, 3)[2:, 2:], 0.75).toarray()
    left, singular, _ = np.linalg.svd(matrix)
    wanted = left[:, :3] * np.sqrt(singular[:3])
    found = ppmi_vectors(ids, vocabulary, 3, 3)[2:]
    wanted *= 3**-0.5 / wanted.std()
    np.testing.assert_allclose(found @ found.T, wanted @ wanted.T, rtol=1e-3, atol=1e-4)
    assert found.std() == pytest.approx(3**-0.5, rel=1e-5)


def test_tokens_and_ids_give_the_same_bits_each_time() -> None:
    ids, vocabulary = corpus()
    one = ppmi_vectors(ids, vocabulary, 4)
    assert one.dtype == np.float32
    assert one.shape == (len(vocabulary), 4)
    np.testing.assert_array_equal(one, ppmi_vectors(ids, vocabulary, 4))
    np.testing.assert_array_equal(one, ppmi_vectors([text.split() for text in TEXTS], vocabulary, 4))
    assert (one != ppmi_vectors(ids, vocabulary, 4, seed=1)).any()


def test_words_without_neighbours_get_little_noise() -> None:
    vocabulary = Vocabulary(["<pad>", "<unk>", "a", "b", "c", "lone"], [0, 0, 3, 2, 2, 1], 2)
    vectors = ppmi_vectors([["a", "b", "c"], ["a", "c"], ["lone"], ["b", "a"]], vocabulary, 2)
    assert not vectors[0].any()
    for word in (1, 5):
        assert 0 < np.abs(vectors[word]).max() < 0.4 * np.abs(vectors[2:5]).max()


def test_refusals() -> None:
    ids, vocabulary = corpus()
    with pytest.raises(DataError, match="no two different words"):
        ppmi_vectors([["a"], ["a"]], Vocabulary(["<pad>", "a"], [0, 2], 1), size=2)
    with pytest.raises(DataError, match=r"^embedding_size is 500"):
        ppmi_vectors(ids, vocabulary, size=500, name="embedding_size")
    with pytest.raises(DataError, match=r"size is 500; 10 words with neighbours allow 1 to 9"):
        ppmi_vectors(ids, vocabulary, 500)
    with pytest.raises(DataError, match="window is 0"):
        ppmi_vectors(ids, vocabulary, 2, 0)
    with pytest.raises(DataError, match="none came"):
        ppmi_vectors([], vocabulary, 2)
