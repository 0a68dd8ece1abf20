"""Every benchmark runs, at a size that takes seconds, so that none rots; the numbers mean nothing here."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from benchmarks.tasks.catalogue import BENCHMARKS
from benchmarks.tasks.harness import measure


# A tiny training part may have no sentence as long as some of those tested.
@pytest.mark.filterwarnings("ignore:.* longer than any in training")
@pytest.mark.data
@pytest.mark.parametrize("name", BENCHMARKS)
def test_runs_at_a_tiny_size(name: str, data_folder: Path) -> None:
    row = measure(BENCHMARKS[name], [0], threads=torch.get_num_threads(), tiny=True)
    assert math.isfinite(float(str(row["mean"])))
    assert row["commit"]
    assert row["baselines"]
