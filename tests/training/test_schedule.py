from __future__ import annotations

import math

import pytest
import torch

from storyline.training.schedule import learning_rate_factor


def torchs(make, steps: int) -> list[float]:  # type: ignore[no-untyped-def]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.3), (1000, 0.05), (40, 0.5)])
def test_one_cycle_is_torchs(steps: int, warmup: float) -> None:
    ours = [learning_rate_factor(i, steps, schedule="one_cycle", warmup=warmup) for i in range(steps)]
    theirs = torchs(
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=1.0, total_steps=steps, pct_start=warmup, cycle_momentum=False
        ),
        steps,
    )
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)


def test_cosine_without_warmup_is_torchs_annealing() -> None:
    ours = [learning_rate_factor(i, 57, schedule="cosine", warmup=0.0) for i in range(57)]
    theirs = torchs(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=57), 57)
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_warmup_rises_linearly_to_the_peak_and_cosine_falls_to_nothing() -> None:
    rates = [learning_rate_factor(i, 200, schedule="cosine", warmup=0.1) for i in range(200)]
    assert rates[:20] == pytest.approx([(i + 1) / 21 for i in range(20)])
    assert rates[20] == max(rates) == 1.0
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] == pytest.approx((1 + math.cos(math.pi * 179 / 180)) / 2)
    assert learning_rate_factor(200, 200, schedule="cosine", warmup=0.1) == 0.0


def test_constant_is_constant_after_its_warmup() -> None:
    assert {learning_rate_factor(i, 30, schedule="constant") for i in range(30)} == {1.0}
    assert learning_rate_factor(0, 30, schedule="constant", warmup=0.5) == pytest.approx(1 / 16)
    assert learning_rate_factor(15, 30, schedule="constant", warmup=0.5) == 1.0


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle", "constant"])
@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_short_runs_have_positive_rates_up_to_the_peak(schedule, steps: int) -> None:  # type: ignore[no-untyped-def]
    for warmup in (None, 0.0, 0.99):
        for step in range(steps):
            assert 0 < learning_rate_factor(step, steps, schedule=schedule, warmup=warmup) <= 1
