"""Batches of pairs by tokens: all rows once, the same number each epoch, within the budget, padded as said."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from storyline.data import DataError, PairEncoder, TokenPairs, token_order


def lengths(count: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(7)
    source = 1 + generator.poisson(12, count)
    return source, np.maximum(1, source + generator.integers(-3, 6, count))


def held(source: np.ndarray, target: np.ndarray, batches: list[np.ndarray]) -> list[int]:
    return [len(rows) * int(source[rows].max() + target[rows].max()) for rows in batches]


@pytest.mark.parametrize("tokens", [40, 1000, 4000])
def test_an_epoch(tokens: int) -> None:
    source, target = lengths()
    epochs = [token_order(source, target, tokens, seed=3, epoch=epoch) for epoch in range(6)]
    assert len({len(batches) for batches in epochs}) == 1
    for batches in epochs:
        assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(len(source)))
        single = max(held(source, target, [np.array([row]) for row in range(len(source))]))
        assert max(held(source, target, batches)) <= max(1.1 * tokens, single)
    # A third of the padding of batches of the same sizes, filled at random.
    sizes = np.cumsum([len(rows) for rows in epochs[1]])[:-1]
    unsorted = np.split(np.random.default_rng(0).permutation(len(source)), sizes)
    padding, usual = (
        sum(held(source, target, batches)) - (source + target).sum() for batches in (epochs[1], unsorted)
    )
    assert padding < usual / 3
    again = token_order(source, target, tokens, seed=3, epoch=1)
    assert all(np.array_equal(one, two) for one, two in zip(epochs[1], again, strict=True))
    first, second = ({tuple(sorted(rows)) for rows in epochs[epoch] if len(rows) > 1} for epoch in (0, 1))
    assert len(first & second) < len(first) / 2
    assert [rows.tolist() for rows in epochs[0]] != [
        rows.tolist() for rows in token_order(source, target, tokens, seed=4, epoch=0)
    ]


def test_very_long_pairs_stand_alone() -> None:
    source, target = lengths(500)
    target[[20, 300]] = 5000
    for epoch in range(4):
        batches = token_order(source, target, 1000, seed=0, epoch=epoch)
        assert [20] in [rows.tolist() for rows in batches]
        assert [300] in [rows.tolist() for rows in batches]
        assert sorted(held(source, target, batches))[-3] <= 1100


def test_without_shuffling() -> None:
    source, target = lengths()
    batches = token_order(source, target, 1000, seed=0, epoch=0, shuffle=False)
    shortest = [source[rows].min() for rows in batches]
    assert shortest == sorted(shortest)
    assert max(held(source, target, batches)) <= 1000
    assert 1 - (source + target).sum() / sum(held(source, target, batches)) < 0.04


def test_what_is_refused() -> None:
    for arguments, said in (
        (([1, 2], [1], 10), "shapes (2,) and (1,)"),
        (([], [], 10), "at least one pair"),
        (([1, 0], [1, 1], 10), "source_lengths[1] is 0"),
        (([1], [0], 10), "target_lengths[0] is 0"),
        (([1], [1], 0), "tokens is 0; it must be at least 1"),
    ):
        with pytest.raises(DataError) as caught:
            token_order(*arguments, seed=0, epoch=0)
        assert said in str(caught.value)


def test_a_batch_holds_its_pairs() -> None:
    sources, targets = ["a b c", "d"], ["x", "y z"]
    encoder = PairEncoder.learn(sources, targets, "word")
    pairs = TokenPairs(
        encoder.encode_sources(sources),
        encoder.encode_targets(targets),
        encoder.end_id,
        encoder.end_id,
        np.array([0, 1]),
    )
    batch = pairs.take(np.array([1, 0])).batch(np.array([0, 1]))
    a, b, c, d = (int(encoder.source.encode(word)[0]) for word in "abcd")
    x, y, z = (int(encoder.target.encode(word)[0]) for word in "xyz")
    assert batch.source.tolist() == [[d, 2, 0, 0], [a, b, c, 2]]
    assert batch.source_lengths.tolist() == [2, 4]
    assert batch.target_in.tolist() == [[2, y, z], [2, x, 0]]
    assert batch.target_out.tolist() == [[y, z, 2], [x, 2, -100]]
    assert batch.target_lengths.tolist() == [3, 2]
    assert batch.rows.tolist() == [1, 0]
    assert batch.source.dtype == batch.target_out.dtype == batch.rows.dtype == torch.int64
    assert pairs.source_lengths.tolist() == [4, 2]
    assert pairs.target_lengths.tolist() == [2, 3]
    assert pairs.within(3).rows.tolist() == [1]
    assert pairs.within(None) is pairs
    with pytest.raises(DataError, match="longest is 0"):
        pairs.within(0)
