"""The perturbation of a state: each part by its formula, its bounds, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from storyline.cells import Cell
from storyline.layers import GRU, LSTM, RNN, SLSTM, CellStack
from storyline.layers.state_perturbation import StatePerturbation

BATCH, SIZE = 4000, 3
unknown = Cell(
    "sum", gates=(), states=("h",), preactivations=1, step=lambda x, h, state: ((), (x + h + state[0],))
)
STILL = {"noise": 0.0, "shrinkage": 0.0, "drift": 0.0, "share": 1.0}


def state_of(value: float, states: int = 2) -> tuple[torch.Tensor, ...]:
    return tuple(torch.full((1, BATCH, SIZE), value, dtype=torch.float64) for _ in range(states))


def test_nothing_asked_for_changes_nothing_and_share_is_the_share_of_rows() -> None:
    layer, state = LSTM(2, SIZE), state_of(0.5)
    for same, old in zip(StatePerturbation(**STILL)(layer, state, state_of(0.0)), state, strict=True):
        assert torch.equal(same, old)
    _, c = StatePerturbation(noise=1.0, shrinkage=0, drift=0, share=0.25)(layer, state, None)
    moved = (c != 0.5).all(-1).double().mean().item()
    assert moved == pytest.approx(0.25, abs=5 * math.sqrt(0.25 * 0.75 / BATCH))


def test_shrinkage_takes_a_uniform_share_and_half_of_the_time_from_c() -> None:
    h, c = StatePerturbation(**{**STILL, "shrinkage": 0.8})(LSTM(2, SIZE), state_of(2.0), None)
    for kept, coins in ((h / 2, 1.0), (c / 2, 0.5)):
        assert (kept[..., :1] == kept).all()  # all units of a row alike
        assert kept.min() >= 0.2
        assert kept.max() <= 1
        assert kept.mean().item() == pytest.approx(1 - coins * 0.8 / 2, abs=0.02)


def test_the_noise_has_the_variance_of_a_normal_times_a_uniform() -> None:
    h, c = StatePerturbation(**{**STILL, "noise": 0.6})(LSTM(2, SIZE), state_of(0.0), None)
    for values in (h, c):
        assert values.var().item() == pytest.approx(0.36 / 3, rel=0.1)  # E u^2 = 1/3
        assert values.mean().item() == pytest.approx(0, abs=0.02)


def test_the_drift_is_extrapolated_log_uniformly_and_clipped() -> None:
    layer, moved = LSTM(2, SIZE), 0.01
    far = StatePerturbation(**{**STILL, "drift": 100.0})
    near = StatePerturbation(**{**STILL, "drift": 0.5})
    _, c = far(layer, state_of(1 + moved), state_of(1.0))
    factor = ((c - 1 - moved) / moved)[0, :, 0].numpy()
    assert factor.max() <= 199 + 1e-6
    drifted = factor[factor > 1e-9]
    assert len(drifted) / BATCH == pytest.approx(0.5, abs=0.04)
    assert np.log(1 + drifted).mean() == pytest.approx(math.log(200) / 2, rel=0.05)
    _, c = near(layer, state_of(1 - moved), state_of(1.0))
    assert (c - (1 - moved)).abs().max().item() == pytest.approx(0.5)
    assert torch.equal(near(layer, state_of(1.0), None)[1], state_of(1.0)[1])


@pytest.mark.parametrize("layer", [LSTM(2, SIZE, coupled_gates=True), GRU(2, SIZE), RNN(2, SIZE)], ids=str)
def test_what_the_equations_bound_stays_bounded(layer: LSTM | GRU | RNN) -> None:
    states = len(layer.cell.states)
    state = state_of(0.9, states)
    after = StatePerturbation(noise=2.0, share=1.0)(layer, state if states > 1 else state[0], None)
    kept = after[-1] if isinstance(after, tuple) else after
    assert kept.abs().max().item() == 1
    plain = StatePerturbation(noise=2.0, share=1.0)(LSTM(2, SIZE), state_of(0.9), None)[1]
    assert plain.abs().max().item() > 1


def test_of_the_slstm_the_quotient_is_perturbed_and_an_empty_state_stays_empty() -> None:
    h, c, n, m = state_of(0.5, 4)
    after = StatePerturbation(**{**STILL, "shrinkage": 1.0})(
        SLSTM(2, SIZE, num_heads=1), (h, 2 * c, 4 * n, m), None
    )
    assert torch.equal(after[2], 4 * n)
    assert torch.equal(after[3], m)
    assert (after[1] / after[2]).max().item() == pytest.approx(0.5)
    empty = StatePerturbation(share=1.0)(SLSTM(2, SIZE, num_heads=1), state_of(0.0, 4), None)
    assert torch.equal(empty[1], state_of(0.0)[0])


def test_the_gradient_passes_and_not_through_the_drift() -> None:
    c = torch.full((1, BATCH, 1), 0.3, requires_grad=True)
    h = torch.zeros(1, BATCH, 1)
    _, after = StatePerturbation(**{**STILL, "drift": 9.0})(LSTM(2, 1), (h, c), (h, h))
    (gradient,) = torch.autograd.grad(after.sum(), c)
    assert torch.equal(gradient, torch.ones_like(gradient))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="shrinkage is 2; it must be a number from 0 to 1"):
        StatePerturbation(shrinkage=2)
    with pytest.raises(ValueError, match=r"drift_factor is 0\.5"):
        StatePerturbation(drift_factor=0.5)
    with pytest.raises(ValueError, match="which state of sum holds what is remembered is not known"):
        StatePerturbation()(CellStack(unknown, 2, SIZE), state_of(0.0, 1)[0], None)
    half = StatePerturbation(noise=0.4, shrinkage=0.2, drift=2.0, share=0.3).scaled(0.5)
    assert half == StatePerturbation(noise=0.2, shrinkage=0.1, drift=1.0, share=0.3)
