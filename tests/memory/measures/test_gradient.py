"""The gradient's reach against recurrences whose gradient is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from storyline.memory import GradientReach, MeasureError, Steps, gradient_reach


def leaky(decay: Tensor) -> object:
    """h_t = decay * h_(t-1) + x_t, one channel a unit: ||dh_T/dx_(T-k)||_F = ||decay^k||."""

    def function(inputs: Tensor) -> Tensor:
        state = torch.zeros_like(inputs[:, 0])
        for step in inputs.unbind(1):
            state = decay * state + step
        return state

    return function


def last(layer: nn.Module):
    return lambda inputs: layer(inputs)[0][:, -1]


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.97, 0.985])
def test_leaky_integrator_reaches_ln_threshold_over_ln_decay(decay: float) -> None:
    inputs = torch.randn(3, 400, 1, dtype=torch.float64)
    reach = gradient_reach(leaky(torch.tensor([decay], dtype=torch.float64)), inputs)
    np.testing.assert_allclose(reach.norms, decay ** np.arange(400.0), rtol=1e-10)
    assert reach.reach_percent == Steps(math.floor(math.log(0.01) / math.log(decay)))
    millionth = math.floor(math.log(1e-6) / math.log(decay))
    assert reach.reach_1e6 == (Steps(millionth) if millionth < 399 else Steps(399, at_least=True))
    assert reach.reach(0.5) == Steps(math.floor(math.log(0.5) / math.log(decay)))
    assert reach.at(100) == pytest.approx(decay**100, rel=1e-9)
    assert reach.exact


def test_norm_is_frobenius_over_all_units_and_probes_are_unbiased() -> None:
    torch.manual_seed(0)
    decay = torch.linspace(0.2, 0.99, 48, dtype=torch.float64)
    inputs = torch.randn(200, 60, 48, dtype=torch.float64)
    truth = (decay[None] ** (2 * torch.arange(60.0)[:, None])).sum(1).sqrt().numpy()
    exact = gradient_reach(leaky(decay), inputs[:2], probes=48)
    np.testing.assert_allclose(exact.norms, truth, rtol=1e-10)
    estimate = gradient_reach(leaky(decay), inputs, probes=8, seed=3)
    assert not estimate.exact
    mean_square = np.square(estimate.per_sequence).mean(0)
    error = np.square(estimate.per_sequence).std(0) / math.sqrt(200)
    assert (np.abs(mean_square - truth**2) < 4.5 * error + 1e-12).all()
    assert error[-1] > 0.0


def test_delay_line_ends_where_its_memory_ends() -> None:
    reach = gradient_reach(lambda inputs: inputs[:, -20:].flatten(1), torch.randn(4, 50, 3), probes=60)
    np.testing.assert_allclose(reach.norms, [math.sqrt(3.0)] * 20 + [0.0] * 30, rtol=1e-6)
    assert reach.reach_percent == reach.reach_1e6 == Steps(19)
    assert reach.notes == ()


def test_pure_delay_takes_the_largest_norm_as_its_reference_and_says_so() -> None:
    reach = gradient_reach(lambda inputs: inputs[:, -13], torch.randn(4, 50, 3))
    assert (reach.reference_lag, reach.reach_percent) == (12, Steps(12))
    assert "lag 0 is exactly 0" in reach.notes[0]
    assert "lag 12" in reach.notes[0]


def test_reach_is_a_lower_bound_where_the_sequence_is_too_short() -> None:
    reach = gradient_reach(leaky(torch.tensor([0.99])), torch.randn(2, 249, 1))
    assert reach.reach_percent == Steps(248, at_least=True)
    assert str(reach.reach_percent) == "at least 248 steps"
    assert reach.reach_percent.short == ">= 248"


def test_the_largest_lag_counts_not_the_first_crossing() -> None:
    bumps = GradientReach.from_norms([1.0, 0.001, 0.02, 0.001, 0.0])
    assert bumps.reach_percent == Steps(2)


def test_lstm_with_its_forget_gate_forced_keeps_by_the_gate() -> None:
    torch.manual_seed(0)
    layer = nn.LSTM(4, 8, batch_first=True).double()
    keep = 0.95
    with torch.no_grad():
        layer.weight_hh_l0.zero_()
        layer.bias_ih_l0.zero_()
        layer.bias_hh_l0.zero_()
        layer.weight_ih_l0[8:16] = 0.0
        layer.bias_ih_l0[8:16] = math.log(keep / (1 - keep))
    # no recurrence: dc_T/dx_(T-k) = f^k d(i g)/dx, and constant inputs make d(i g)/dx the same at each step
    inputs = torch.randn(3, 1, 4, dtype=torch.float64).expand(3, 150, 4)
    reach = gradient_reach(lambda x: layer(x)[1][1][0], inputs)
    np.testing.assert_allclose(reach.relative, keep ** np.arange(150.0), rtol=1e-9)
    assert reach.reach_percent == Steps(math.floor(math.log(0.01) / math.log(keep)))


def test_default_torch_layers_forget_within_ten_steps_as_the_design_says() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(32, 160, 32)
    below = {}
    for kind in (nn.RNN, nn.GRU, nn.LSTM):
        reach = gradient_reach(last(kind(32, 64, batch_first=True)), inputs[:, :60]).reach_percent
        assert reach is not None
        below[kind.__name__] = reach.value + 1
    assert below == pytest.approx({"RNN": 7, "GRU": 9, "LSTM": 9}, abs=1)
    lstm = nn.LSTM(32, 64, batch_first=True)
    with torch.no_grad():
        lstm.bias_ih_l0[64:128] = 3.0
        lstm.bias_hh_l0[64:128] = 0.0
    remembering = gradient_reach(last(lstm), inputs)
    assert remembering.at(100) > 0.1
    assert remembering.reach_percent == Steps(159, at_least=True)


def test_equals_a_jacobian_by_finite_differences() -> None:
    torch.manual_seed(1)
    layer = nn.GRU(2, 5, batch_first=True).double()
    inputs = torch.randn(1, 6, 2, dtype=torch.float64)
    reach = gradient_reach(last(layer), inputs, probes=5)
    step = 1e-6
    with torch.no_grad():
        for lag in range(6):
            square = 0.0
            for channel in range(2):
                ends = []
                for sign in (1, -1):
                    moved = inputs.clone()
                    moved[0, 5 - lag, channel] += sign * step
                    ends.append(last(layer)(moved))
                square += float(((ends[0] - ends[1]) / (2 * step)).square().sum())
            assert reach.norms[lag] == pytest.approx(math.sqrt(square), rel=1e-6)


def test_chunks_of_rows_change_nothing_and_the_model_is_left_as_it_was() -> None:
    torch.manual_seed(2)
    layer = nn.LSTM(3, 20, batch_first=True)
    inputs = torch.randn(7, 30, 3)
    before = torch.random.get_rng_state()
    whole = gradient_reach(last(layer), inputs, probes=4, seed=5)
    rows = gradient_reach(last(layer), inputs, probes=4, seed=5, rows_at_once=7)
    again = gradient_reach(last(layer), inputs, probes=4, seed=5)
    other = gradient_reach(last(layer), inputs, probes=4, seed=6)
    pairs = gradient_reach(last(layer), inputs, probes=20, rows_at_once=2)
    exact = gradient_reach(last(layer), inputs, probes=20)
    np.testing.assert_array_equal(whole.norms, again.norms)
    np.testing.assert_array_equal(whole.norms, rows.norms)
    assert not np.array_equal(whole.norms, other.norms)
    np.testing.assert_allclose(pairs.per_sequence, exact.per_sequence, rtol=1e-4)
    assert all(parameter.grad is None for parameter in layer.parameters())
    assert torch.equal(before, torch.random.get_rng_state())
    assert not inputs.requires_grad


def test_rows_at_once_bounds_a_call_and_changes_no_direction() -> None:
    seen: list[int] = []
    torch.manual_seed(3)
    layer = nn.GRU(3, 7, batch_first=True).double()

    def function(inputs: Tensor) -> Tensor:
        seen.append(len(inputs))
        return last(layer)(inputs)

    inputs = torch.randn(10, 12, 3, dtype=torch.float64)
    chunked = gradient_reach(function, inputs, probes=3, rows_at_once=4)
    assert seen == [4, 4, 2]
    whole = gradient_reach(function, inputs, probes=3)
    np.testing.assert_allclose(chunked.per_sequence, whole.per_sequence, rtol=1e-9)


def test_median_and_quartiles_are_over_sequences() -> None:
    scale = torch.tensor([1.0, 2.0, 3.0, 4.0, 50.0])
    inputs = scale[:, None, None].expand(5, 4, 1)
    reach = gradient_reach(lambda x: x.square().sum(1) / 2, inputs)
    np.testing.assert_allclose(reach.norms, [3.0] * 4)
    np.testing.assert_allclose(reach.low, [2.0] * 4)
    np.testing.assert_allclose(reach.high, [4.0] * 4)
    np.testing.assert_allclose(reach.relative_quartiles[1], [4 / 3] * 4)


def test_dead_gradient_is_said() -> None:
    weight = torch.ones(3, requires_grad=True)
    reach = gradient_reach(lambda x: weight.expand(len(x), 3), torch.randn(4, 9, 2))
    assert reach.dead
    assert reach.reach_percent is None
    assert reach.at(3) == 0.0
    assert "exactly 0 at every lag in 4 of 4" in reach.notes[0]
    partly = gradient_reach(
        lambda x: torch.relu(x).sum(1), torch.tensor([1.0, 1.0, -1.0])[:, None, None].expand(3, 5, 1)
    )
    assert partly.reach_percent == Steps(4, at_least=True)
    assert "in 1 of 3" in partly.notes[0]


def test_sequences_with_nan_gradients_are_left_out_and_counted() -> None:
    def rooted(inputs: Tensor) -> Tensor:
        return inputs.sqrt().sum(1)

    inputs = torch.tensor([1.0, 4.0, 0.0])[:, None, None].expand(3, 5, 1)
    reach = gradient_reach(rooted, inputs)
    assert len(reach.per_sequence) == 2
    assert "NaN or infinite in 1 of 3" in reach.notes[0]
    with pytest.raises(MeasureError, match="in every one of the 1 sequences"):
        gradient_reach(rooted, inputs[2:])


@pytest.mark.parametrize(
    ("inputs", "function", "message"),
    [
        (torch.zeros(2, 5), lambda x: x, r"shape \(2, 5\).*embed tokens first"),
        (torch.zeros(2, 5, 1, dtype=torch.int64), lambda x: x, "torch.int64"),
        (torch.zeros(2, 1, 1), lambda x: x[:, 0], "at least 2 steps"),
        (torch.zeros(0, 4, 1), lambda x: x[:, 0], "at least one sequence"),
        (torch.full((2, 4, 1), float("nan")), lambda x: x[:, 0], r"inputs\[0\] holds NaN"),
        (torch.zeros(2, 4, 1), lambda x: x, r"returned \(2, 4, 1\)"),
        (torch.zeros(2, 4, 1), lambda x: (x, x), "returned tuple"),
        (torch.zeros(2, 4, 1), lambda x: x[:, 0].detach(), "carries no gradient"),
    ],
)
def test_refusals_are_one_clear_sentence(inputs: Tensor, function: object, message: str) -> None:
    with pytest.raises(MeasureError, match=message):
        gradient_reach(function, inputs)


def test_bad_settings_are_refused() -> None:
    reach = GradientReach.from_norms([1.0, 0.5])
    with pytest.raises(MeasureError, match="lag 2 was not measured; the inputs allow 0 to 1"):
        reach.at(2)
    with pytest.raises(MeasureError, match=r"threshold is 0\.0"):
        reach.reach(0.0)
    with pytest.raises(MeasureError, match="not negative"):
        GradientReach.from_norms([1.0, -1.0])
    with pytest.raises(MeasureError, match="probes is 0"):
        gradient_reach(lambda x: x[:, 0], torch.zeros(1, 3, 1), probes=0)
