"""The contest of decoders, at a size that takes seconds; its figures mean nothing here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from benchmarks.decoding.contest import agreement, cores_for
from benchmarks.decoding.measure import measure


@pytest.mark.data
def test_both_write_the_same(data_folder: Path, tmp_path: Path) -> None:
    row = measure(tmp_path / "model", torch.get_num_threads(), tiny=True)
    assert row["same_outputs"] >= 0.5, "outputs of equal score may differ"
    assert row["ratio"] > 0
    assert row["sentences"] == 4


def test_what_is_called_the_same_and_how_many_cores_a_day_takes() -> None:
    ours, theirs = ([[1], [2, 3]], [-1.0, -2.0]), ([[1], [2, 4]], [-1.0, -2.5])
    assert agreement(ours, theirs) == (0.5, 0.5)
    assert agreement(ours, ours) == (1.0, 0.0)
    assert cores_for(86_400 * 100, 50, 2) == 4
