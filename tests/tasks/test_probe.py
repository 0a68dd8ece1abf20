"""What the probes of all tasks share: which sequences are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from storyline.tasks.probe import draw


def test_a_sample_is_bounded_in_sequences_and_in_steps() -> None:
    many = draw(np.full(5000, 10), 512, seed=0)
    assert len(many) == len(set(many.tolist())) == 512
    assert (np.diff(many) > 0).all()
    np.testing.assert_array_equal(many, draw(np.full(5000, 10), 512, seed=0))
    assert (many != draw(np.full(5000, 10), 512, seed=1)).any()
    assert len(draw(np.full(300, 1000), 512, seed=0)) == 40
    # so few that no interval could be told from fewer, however long they are
    assert len(draw(np.full(300, 50_000), 512, seed=0)) == 16
    np.testing.assert_array_equal(draw(np.array([3, 4]), 512, seed=0), [0, 1])
    with pytest.raises(ValueError, match="X is empty; give at least one sequence"):
        draw(np.array([], dtype=int), 512, seed=0)
