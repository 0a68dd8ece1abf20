"""The yardsticks that the instruments are held against, and the rows that say how they did."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from benchmarks.memory.ablation import MarkedBit
from benchmarks.memory.filters import FILTERS, Filter, NoisyRegister, white
from benchmarks.memory.instruments import Trial, summary
from torch import Tensor


@pytest.mark.parametrize("known", FILTERS, ids=lambda f: f.name)
def test_the_formula_is_what_the_recurrence_does_to_an_impulse(known: Filter) -> None:
    impulse = torch.zeros(1, 200, 1, dtype=torch.float64)
    impulse[0, 0] = 1.0
    np.testing.assert_allclose(known.run(impulse)[0].numpy(), known.response(200), rtol=1e-9, atol=1e-12)


def test_white_noise_has_the_moments_that_the_formulas_take_for_granted() -> None:
    drawn = white(500, 60, seed=3)[..., 0]
    torch.testing.assert_close(drawn.mean(0), torch.zeros(60, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(drawn.T @ drawn / 500, torch.eye(60, dtype=torch.float64), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="60 sequences of 60 steps cannot be uncorrelated"):
        white(60, 60, seed=3)


def test_a_noisy_register_is_read_as_well_as_its_formula_says() -> None:
    known = NoisyRegister(0.9, 1.0, 20, 40)
    inputs = known.draw(40_000, torch.Generator().manual_seed(0))
    fact = torch.where(torch.arange(40_000) % 2 == 0, 3.0, -3.0)
    for lag in (0, 5, 12):
        planted = inputs.clone()
        planted[:, 39 - lag, 0] = fact
        right = ((known.run(planted)[:, -1, lag] > 0) == (fact > 0)).float().mean()
        chance = 0.5 + 1.645 / (2 * 200)
        assert (float(right) - chance) / (1 - chance) == pytest.approx(known.skill(40_000)[lag], abs=0.015)


class Exact:
    """Answers with the marked sign if it stands in the last `reach` steps."""

    def __init__(self, reach: int) -> None:
        self.reach = reach

    def __call__(self, x: Tensor) -> Tensor:
        return (x[..., :1] * x[..., 1:])[:, -self.reach - 1 :].sum(1, keepdim=True)


def test_ablation_finds_where_the_answer_stands() -> None:
    task = MarkedBit(23, 40)
    assert task.ablated(Exact(39), torch.Generator().manual_seed(0)) == 23
    # who cannot see it answers by chance, and has no horizon to compare with
    assert task.ablated(Exact(22), torch.Generator().manual_seed(0)) is None


def test_a_row_tells_the_worst_and_the_covered() -> None:
    row = summary("closed form", "leak", "use", [Trial(100, 102, 99, 103), Trial(50, 47, 45, 49)], 1.234)
    assert (row["worst_error_percent"], row["mean_error_percent"], row["covered"]) == (6.0, 4.0, 1)
    assert (row["expected"], row["found"], row["must_percent"]) == ("100 50", "102 47", 5.0)
