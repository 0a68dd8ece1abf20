"""Vocabulary and scaler."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from storyline.data import DataError, Scaler, Vocabulary


@given(
    st.dictionaries(st.text(max_size=5), st.integers(1, 5), max_size=20),
    st.integers(1, 4),
    st.integers(3, 12),
)
def test_order_counts_and_document(counts: dict[str, int], min_count: int, max_size: int) -> None:
    vocabulary = Vocabulary.build(counts, min_count=min_count, max_size=max_size)
    kept = vocabulary.tokens[2:]
    assert len(vocabulary) <= max_size
    assert list(kept) == sorted(kept, key=lambda token: (-counts[token], token))
    assert min((counts[token] for token in kept), default=min_count) >= min_count
    assert vocabulary.counts.sum() == sum(counts.values())
    assert vocabulary.names(vocabulary.ids(kept)) == list(kept)
    again = Vocabulary.from_document(json.loads(json.dumps(vocabulary.to_document())))
    assert again == vocabulary
    assert again.index == vocabulary.index


def test_labels() -> None:
    vocabulary = Vocabulary.of_labels(["b", "a", "b"])
    assert vocabulary.tokens == ("a", "b")
    assert vocabulary.counts.tolist() == [1, 2]
    assert vocabulary.ids(["b", "a"]).tolist() == [1, 0]
    assert (vocabulary.pad_id, vocabulary.unknown_id, vocabulary.end_id) == (None, None, None)
    assert "a" in vocabulary
    assert "c" not in vocabulary
    assert vocabulary != Vocabulary.of_labels(["b", "a"])


def test_unseen_label_offers_the_nearest() -> None:
    vocabulary = Vocabulary.of_labels(["positive", "negative"])
    with pytest.raises(DataError) as caught:
        vocabulary.ids(["negative", "positiv"])
    assert str(caught.value) == (
        "'positiv' was not seen in training (did you mean 'positive'?); known are 'negative', 'positive'"
    )


def test_duplicate_tokens() -> None:
    with pytest.raises(DataError, match="distinct tokens"):
        Vocabulary(["a", "a"], [1, 1])


def test_scaler_against_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    sequences = [generator.normal([1e4, -3], [0.5, 200], (n, 2)).astype(np.float32) for n in (3, 50, 7)]
    scaler = Scaler().fit(sequences)
    oracle = StandardScaler().fit(np.concatenate(sequences).astype(np.float64))
    np.testing.assert_allclose(scaler.mean, oracle.mean_, rtol=1e-12)
    np.testing.assert_allclose(scaler.scale, oracle.scale_, rtol=1e-9)
    for found, sequence in zip(scaler.transform(sequences), sequences, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, oracle.transform(sequence.astype(np.float64)), rtol=1e-5, atol=1e-6)


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=1, max_size=9))
def test_scaler_document_is_exact(rows: list[list[float]]) -> None:
    scaler = Scaler().fit([np.array(rows, dtype=np.float32)])
    again = Scaler.from_document(json.loads(json.dumps(scaler.to_document())))
    assert again.mean is not None
    np.testing.assert_array_equal(again.mean, scaler.mean)
    np.testing.assert_array_equal(again.scale, scaler.scale)
    assert all(np.isfinite(x).all() for x in scaler.transform([np.array(rows, dtype=np.float32)]))


def test_constant_channel() -> None:
    rows = np.full((5, 1), 0.1, dtype=np.float32)
    np.testing.assert_allclose(Scaler().fit([rows]).transform([rows])[0], 0, atol=1e-7)
    np.testing.assert_allclose(Scaler().fit([rows]).transform([rows + 2])[0], 2, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_small_spread_on_a_large_offset(dtype: type[np.floating]) -> None:
    noise = np.random.default_rng(0).normal(size=(2000, 1))
    rows = (noise + 1e9).astype(dtype)
    scaler = Scaler().fit([rows])
    assert scaler.constant is not None
    if dtype is np.float32:  # its steps are 64 there: what is left is rounding
        assert scaler.constant.tolist() == [True]
    else:
        assert scaler.constant.tolist() == [False]
        expected = (noise - noise.mean()) / noise.std()
        np.testing.assert_allclose(scaler.transform([rows])[0], expected, atol=1e-5)


def test_a_long_constant_channel_is_known_as_one() -> None:
    rows = np.full((1_000_000, 2), 0.1)
    rows[::2, 1] = 0.2
    scaler = Scaler().fit([rows, rows])
    assert scaler.constant is not None
    assert scaler.constant.tolist() == [True, False]
    assert scaler.mean is not None
    assert scaler.mean[0] == 0.1


def test_scaler_refusals() -> None:
    with pytest.raises(DataError, match="got no sequences"):
        Scaler().fit([])
    with pytest.raises(DataError, match=r"sequence 1 has shape \(3, 1\); \(time, 2\) was wanted"):
        Scaler().fit([np.zeros((4, 2)), np.zeros((3, 1))])
    with pytest.raises(DataError, match=r"sequence 0 has shape \(3, 1\); \(time, 2\) was wanted"):
        Scaler().fit([np.ones((4, 2))]).transform([np.zeros((3, 1))])
    with pytest.raises(DataError, match="call fit first"):
        Scaler().transform([])
