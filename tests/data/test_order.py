"""Order of rows: every row once, little padding, pure functions; splits."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storyline.data import DataError, ragged_order, split_validation


def padding(batches: list[np.ndarray], lengths: np.ndarray) -> float:
    cells = sum(lengths[batch].max() * len(batch) for batch in batches)
    return float(1 - lengths.sum() / cells)


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=60),
    st.integers(1, 20),
    st.integers(0, 9),
    st.integers(0, 9),
    st.booleans(),
)
def test_every_row_once(lengths: list[int], batch_size: int, seed: int, epoch: int, shuffle: bool) -> None:
    batches = ragged_order(lengths, batch_size, seed=seed, epoch=epoch, shuffle=shuffle)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // batch_size)
    assert sorted(map(len, batches))[1:] == [batch_size] * (len(batches) - 1)
    assert all(batch.dtype == np.int64 and 0 < len(batch) <= batch_size for batch in batches)


@pytest.mark.parametrize("mean", [2.3, 5.3])
def test_padding_is_small_and_epochs_differ(mean: float) -> None:
    lengths = np.random.default_rng(0).lognormal(mean, 0.6, 5000).astype(int) + 1
    first, second = (ragged_order(lengths, 32, seed=0, epoch=epoch) for epoch in (0, 1))
    assert padding(first, lengths) < 0.10
    assert padding(ragged_order(lengths, 32, seed=0, epoch=0, shuffle=False), lengths) < 0.02
    # Two rows of one batch meet again in the next epoch's batch in a small share of cases only.
    place = {int(row): number for number, batch in enumerate(second) for row in batch}
    together = [place[int(a)] == place[int(b)] for batch in first for a, b in pairwise(batch)]
    assert np.mean(together) < 0.3
    # Batches do not come in the order of their lengths.
    means = [lengths[batch].mean() for batch in first]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3


def test_pure_function_of_its_arguments() -> None:
    lengths = np.arange(1, 100)
    random.seed(1)
    np.random.seed(1)
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    one = ragged_order(lengths, 8, seed=3, epoch=4)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]
    np.random.seed(2)
    two = ragged_order(lengths, 8, seed=3, epoch=4)
    assert [batch.tolist() for batch in one] == [batch.tolist() for batch in two]
    for other in (dict(seed=4, epoch=4), dict(seed=3, epoch=5), dict(seed=4, epoch=3)):
        assert [b.tolist() for b in one] != [b.tolist() for b in ragged_order(lengths, 8, **other)]


def test_the_odd_batch_is_not_always_the_longest() -> None:
    lengths = np.arange(1, 102)
    means = [
        next(lengths[b].mean() for b in ragged_order(lengths, 10, seed=0, epoch=e) if len(b) == 1)
        for e in range(20)
    ]
    assert min(means) < 40 < 60 < max(means)


@pytest.mark.parametrize(
    ("lengths", "batch_size", "said"),
    [
        ([3, 0, 2], 2, r"lengths\[1\] is 0; every sequence needs at least one step"),
        ([], 2, "at least one row"),
        ([1], 0, "batch_size is 0"),
    ],
)
def test_refusals(lengths: list[int], batch_size: int, said: str) -> None:
    with pytest.raises(DataError, match=said):
        ragged_order(lengths, batch_size, seed=0, epoch=0)


@given(st.lists(st.sampled_from("aaaabbc"), min_size=2, max_size=80), st.floats(0, 0.95), st.integers(0, 5))
def test_split(classes: list[str], fraction: float, seed: int) -> None:
    training, held = split_validation(len(classes), fraction, seed, stratify=classes)
    assert sorted([*training, *held]) == list(range(len(classes)))
    assert training.tolist() == sorted(training)
    assert held.tolist() == sorted(held)
    all_, kept = Counter(classes), Counter(classes[row] for row in training)
    for value, count in all_.items():
        assert kept[value] >= 1
        assert abs(count - kept[value] - count * fraction) <= 1 + 1e-9 or kept[value] == 1
    again = split_validation(len(classes), fraction, seed, stratify=classes)
    assert again[1].tolist() == held.tolist()


def test_split_sizes() -> None:
    training, held = split_validation(1000, 0.1, 0)
    assert (len(training), len(held)) == (900, 100)
    classes = ["a"] * 500 + ["b"] * 490 + ["c"] * 10
    _, held = split_validation(1000, 0.1, 0, stratify=classes)
    assert Counter(classes[row] for row in held) == {"a": 50, "b": 49, "c": 1}
    assert split_validation(1000, 0.1, 1)[1].tolist() != split_validation(1000, 0.1, 0)[1].tolist()
    assert [len(rows) for rows in split_validation(5, 0, 0)] == [5, 0]
    assert [len(rows) for rows in split_validation(5, 0.01, 0)] == [4, 1]
    assert [len(rows) for rows in split_validation(4, 0.5, 0, stratify=["a", "b", "c", "d"])] == [4, 0]


def test_split_refusals() -> None:
    with pytest.raises(DataError, match=r"fraction is 1\.0"):
        split_validation(5, 1.0, 0)
    with pytest.raises(DataError, match="1 rows cannot be split"):
        split_validation(1, 0.1, 0)
    with pytest.raises(DataError, match="stratify has 2 classes for 5 rows"):
        split_validation(5, 0.1, 0, stratify=["a", "b"])
