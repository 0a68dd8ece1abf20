"""Batches and chunks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from storyline.data import DataError, collate, stream_chunks

IDS = [np.array([5, 6, 7]), np.array([8]), np.array([9, 10])]


def test_ids() -> None:
    batch = collate(IDS, [2, 0], targets=[0, 1, 2])
    assert batch.inputs.tolist() == [[9, 10, 0], [5, 6, 7]]
    assert batch.lengths.tolist() == [2, 3]
    assert batch.targets is not None
    assert batch.targets.tolist() == [2, 0]
    assert batch.rows.tolist() == [2, 0]
    assert len(batch) == 2
    for tensor in (batch.inputs, batch.lengths, batch.targets, batch.rows):
        assert tensor.dtype == torch.int64
    assert collate(IDS, np.array([1]), pad=3).targets is None
    assert collate(IDS, [0, 1], pad=3).inputs.tolist() == [[5, 6, 7], [8, 3, 3]]


def test_series() -> None:
    series = [np.arange(6, dtype=np.float64).reshape(3, 2), np.ones((1, 2), dtype=np.float32)]
    batch = collate(series, [1, 0], targets=np.array([0.5, 1.5]))
    assert batch.inputs.dtype == torch.float32
    assert batch.inputs.tolist() == [[[1, 1], [0, 0], [0, 0]], [[0, 1], [2, 3], [4, 5]]]
    assert batch.targets is not None
    assert batch.targets.dtype == torch.float32
    assert batch.targets.tolist() == [1.5, 0.5]


def test_a_target_a_step() -> None:
    batch = collate(IDS, [1, 0], targets=[np.array([1, 2, 3]), np.array([4]), np.array([5, 6])])
    assert batch.targets is not None
    assert batch.targets.tolist() == [[4, -100, -100], [1, 2, 3]]
    assert collate(IDS, [1, 0], IDS, target_pad=-1).targets.tolist() == [[8, -1, -1], [5, 6, 7]]  # type: ignore[union-attr]


def test_moved() -> None:
    batch = collate(IDS, [0, 1], targets=[0, 1, 2]).to("meta")
    assert batch.targets is not None
    assert {t.device.type for t in (batch.inputs, batch.lengths, batch.targets, batch.rows)} == {"meta"}
    assert collate(IDS, [0]).to("cpu").targets is None


def test_refusals() -> None:
    with pytest.raises(DataError, match="row 1 has 0 steps; every sequence needs at least one step"):
        collate([np.array([1]), np.array([], dtype=np.int64)], [0, 1])
    with pytest.raises(DataError, match=r"row 1 has steps of shape \(2,\), row 0 of \(3,\)"):
        collate([np.ones((4, 3)), np.ones((4, 2))], [0, 1])
    with pytest.raises(DataError, match="row 0 has 2 targets for 3 steps"):
        collate(IDS, [1, 0], targets=[np.array([1, 2]), np.array([4]), np.array([5, 6])])
    with pytest.raises(DataError, match="at least one row"):
        collate(IDS, [])


@settings(deadline=None)
@given(st.integers(2, 80), st.integers(1, 6), st.integers(1, 9), st.integers(0, 3))
def test_chunks_follow_each_other(n: int, streams: int, steps: int, offset: int) -> None:
    ids = np.arange(100, 100 + n)
    if (n - offset - 1) // streams < 1:
        with pytest.raises(DataError, match="too few"):
            stream_chunks(ids, streams, steps, offset=offset)
        return
    chunks = stream_chunks(ids, streams, steps, offset=offset)
    assert all(x.shape == y.shape and x.shape[0] == streams and x.shape[1] <= steps for x, y in chunks)
    assert all(x.shape[1] == steps for x, _ in chunks[:-1])
    inputs = torch.cat([x for x, _ in chunks], dim=1)
    targets = torch.cat([y for _, y in chunks], dim=1)
    torch.testing.assert_close(targets, inputs + 1)
    read = inputs.flatten().tolist()
    assert read == list(range(100 + offset, 100 + offset + len(read)))
    assert n - offset - 1 - len(read) < streams


def test_chunk_refusals() -> None:
    for name, arguments in {"streams": (0, 1, 0), "steps": (1, 0, 0), "offset": (1, 1, -1)}.items():
        with pytest.raises(DataError, match=f"{name} is"):
            stream_chunks(np.arange(9), arguments[0], arguments[1], offset=arguments[2])
