"""Context use against losses that depend on exactly the last m steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from storyline.memory import MeasureError, Steps, context_use


@given(longest=st.integers(1, 3000), data=st.data())
def test_loss_that_needs_exactly_m_steps(longest: int, data: st.DataObject) -> None:
    needed = data.draw(st.integers(1, longest))
    calls: list[int | None] = []

    def loss_at(k: int | None) -> float:
        calls.append(k)
        return 0.5 if k is None or k >= needed else 0.5 + 1e-2 * (needed - k)

    use = context_use(loss_at, longest)
    assert use.steps == Steps(needed)
    assert len(calls) == len(set(calls)) <= 6 + math.log(longest, 1.5) + math.log2(longest)
    assert use.lags[-1] == longest
    assert (np.diff(use.lags) > 0).all()


@pytest.mark.parametrize("needed", [1, 2, 7, 50, 64])
def test_a_task_whose_answer_is_the_sum_of_the_last_m_steps(needed: int) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(500, 64, generator=generator)
    targets = inputs[:, -needed:].sum(1) + 0.3 * torch.randn(500, generator=generator)

    def loss_at(k: int | None) -> float:
        seen = inputs if k is None else inputs[:, -k:]
        return float((seen[:, -needed:].sum(1) - targets).square().mean())

    assert context_use(loss_at, 64).steps == Steps(needed)


def test_exponential_approach_is_found_to_the_step() -> None:
    use = context_use(lambda k: 2.0 if k is None else 2.0 + math.exp(-k / 30), 400)
    assert use.steps == Steps(math.ceil(30 * math.log(1 / 0.02)))
    assert use.limit == pytest.approx(2.02)


@pytest.mark.parametrize(("scale", "most"), [(30.0, 2), (200.0, 2), (1e9, 1)])
def test_few_points_are_asked_where_the_loss_falls_on_as_it_fell(scale: float, most: int) -> None:
    """Of a model that remembers everything the point before the last is enough to know."""
    calls: list[int | None] = []

    def loss_at(k: int | None) -> float:
        calls.append(k)
        return 1.0 if k is None or k >= 4000 else 1.0 + math.exp(-k / scale)

    needed = min(4000, math.ceil(scale * math.log(100)))
    assert context_use(loss_at, 4000, ratio=2.0).steps == Steps(needed)
    grid = [2**power for power in range(2, 12)]
    assert len(set(calls) - {None, 1, 2, 3, *grid, 4000}) <= most


def test_negative_losses_have_their_band_above_too() -> None:
    assert context_use(lambda k: -1.0 if k is None or k >= 9 else -0.98, 40).steps == Steps(9)
    assert context_use(lambda k: -1.0 if k is None or k >= 9 else -0.995, 40).steps == Steps(1)


def test_where_even_the_longest_falls_short_it_is_a_lower_bound() -> None:
    use = context_use(lambda k: 1.0 if k is None else 2.0, 30)
    assert use.steps == Steps(30, at_least=True)


def test_a_later_rise_counts() -> None:
    use = context_use(lambda k: 1.0 if k is None or k < 5 or k >= 100 else 1.5, 200)
    assert use.steps == Steps(100)


def test_harm_of_the_older_context_is_said() -> None:
    use = context_use(lambda k: 1.0 if k is None or k > 12 else 0.7, 40)
    assert use.steps == Steps(1)
    assert "30 % below the full loss" in use.notes[0]
    assert context_use(lambda k: 1.0, 40).notes == ()


def test_refusals() -> None:
    with pytest.raises(MeasureError, match="longest is 0"):
        context_use(lambda k: 1.0, 0)
    with pytest.raises(MeasureError, match="all of the context is nan"):
        context_use(lambda k: math.nan, 4)
    with pytest.raises(MeasureError, match="3 steps of context is inf"):
        context_use(lambda k: math.inf if k == 3 else 1.0, 4)
    with pytest.raises(MeasureError, match=r"ratio 1\.0"):
        context_use(lambda k: 1.0, 4, ratio=1.0)
