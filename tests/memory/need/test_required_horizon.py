"""How far back the data needs, on data whose need is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from storyline.memory import MeasureError
from storyline.memory.need.required_horizon import required_horizon

LINEAR = ("linear",)


def noise(sequences: int, steps: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((sequences, steps, channels))


def delayed(x: np.ndarray, lag: int) -> np.ndarray:
    return np.concatenate([np.zeros_like(x[:, :lag]), x], 1)[:, : x.shape[1]]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_delay_of_d_needs_d_plus_one_steps(seed: int) -> None:
    x = noise(200, 100, seed=seed)
    need = required_horizon(x, delayed(x, 30), probes=LINEAR, seed=seed)
    assert (need.steps, need.low, need.high, need.at_least) == (31, 31, 31, False)
    # a delay line is predicted in full, and nothing short of it is worth anything
    assert need.gain == pytest.approx(need.curve[0], rel=1e-3)
    assert need.left(30) > 0.9
    assert need.left(31) < 0.01
    assert str(need) == "1 % of the achievable gain is left beyond 31 steps (95 % interval 31-31)"


def test_a_sum_loses_its_share_with_every_step_left_out() -> None:
    x = noise(300, 80)
    total = sum(delayed(x, lag) for lag in range(21))
    need = required_horizon(x, total, probes=LINEAR)
    assert need.steps == 21
    # of a sum of n independent terms k terms explain k / n
    for k in (6, 9, 14):
        assert need.left(k) == pytest.approx(1 - k / 21, abs=0.06)


def test_tolerance_is_a_share_of_the_gain() -> None:
    # h_k = a^k: what lies beyond k steps is a^(2 k) of the variance
    x, leak = noise(400, 100), 0.9
    y = np.zeros_like(x)
    for t in range(100):
        y[:, t] = x[:, t] + (leak * y[:, t - 1] if t else 0.0)
    for tolerance in (0.1, 0.01):
        expected = int(np.ceil(np.log(tolerance) / (2 * np.log(leak))))
        assert abs(required_horizon(x, y, tolerance=tolerance, probes=LINEAR).steps - expected) <= 1


def test_the_next_value_of_an_autoregression_needs_its_order() -> None:
    generator = np.random.default_rng(3)
    series = generator.standard_normal((200, 200))
    for t in range(4, 200):
        series[:, t] += 0.5 * series[:, t - 1] - 0.4 * series[:, t - 4]
    need = required_horizon(series)
    assert (need.steps, need.at_least) == (4, False)
    # what is left in the end is the innovation, of variance 1; the constant leaves the variance of the series
    assert need.curve[-1] / need.curve[0] == pytest.approx(1 / series[:, 50:].var(), rel=0.05)


def test_a_class_decided_at_the_first_of_t_steps_needs_t() -> None:
    x = noise(400, 60, 2, seed=1)
    need = required_horizon(torch.as_tensor(x), torch.as_tensor(x[:, 0, 0] > 0).long())
    assert (need.steps, need.low, need.high, need.at_least) == (60, 60, 60, False)


def test_a_ragged_class_at_the_first_step_needs_the_longest_sequences() -> None:
    generator = np.random.default_rng(0)
    rows = [generator.standard_normal((generator.integers(20, 31), 1)) for _ in range(500)]
    rows = [np.concatenate([row, np.eye(len(row), 1)], 1) for row in rows]
    need = required_horizon(rows, [int(row[0, 0] > 0) for row in rows])
    assert 28 <= need.steps <= 30


def test_tokens_that_return_need_their_period() -> None:
    generator = np.random.default_rng(5)
    rows = generator.integers(0, 8, (200, 60))
    for t in range(17, 60):
        rows[:, t] = np.where(generator.random(200) < 0.9, rows[:, t - 17], rows[:, t])
    assert required_horizon([row.tolist() for row in rows], probes=LINEAR).steps == 17


def test_what_is_marked_is_found_though_no_place_is_fixed() -> None:
    # the adding problem: a linear probe of products sees it, wherever the marks stand
    generator = np.random.default_rng(2)
    x = np.stack([generator.random((500, 50)), np.zeros((500, 50))], 2)
    for row in x:
        row[generator.integers(0, 25), 1] = row[generator.integers(25, 50), 1] = 1.0
    need = required_horizon(x, x.prod(2).sum(1))
    # the earlier mark is uniform on the first 25 steps: of its share 1 % lies in the earliest
    assert 47 <= need.steps <= 50


@pytest.mark.parametrize("seed", range(3))
def test_noise_needs_nothing(seed: int) -> None:
    generator = np.random.default_rng(seed)
    x = noise(200, 40, seed=seed)
    for targets in (generator.integers(0, 3, 200), generator.standard_normal(200)):
        need = required_horizon(x, targets, seed=seed, updates=50)
        assert need.nothing_to_gain
        assert (need.steps, need.gain) == (0, 0.0)
        assert str(need).startswith("nothing to gain")


def test_a_longest_that_is_too_short_is_said() -> None:
    x = noise(200, 100)
    y = sum(delayed(x, lag) for lag in range(40))
    need = required_horizon(x, y, longest=20, probes=LINEAR)
    assert (need.steps, need.at_least) == (20, True)
    assert "at least 20 steps" in str(need)
    assert "longest= sets another" in need.notes[0]


def test_same_seed_same_number_and_the_global_generator_is_left() -> None:
    x = noise(60, 20)
    torch.manual_seed(1)
    first = required_horizon(x, delayed(x, 3), seed=4, updates=20)
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(1))
    assert np.array_equal(first.curve, required_horizon(x, delayed(x, 3), seed=4, updates=20).curve)


def test_bad_data_is_named() -> None:
    x = noise(40, 10)
    with pytest.raises(MeasureError, match="sequences are 8; at least 16"):
        required_horizon(x[:8], np.arange(8) % 2)
    with pytest.raises(MeasureError, match="targets are 39, sequences 40"):
        required_horizon(x, np.arange(39) % 2)
    with pytest.raises(MeasureError, match=r"targets\[1\] has shape \(9, 1\), targets\[0\] \(10, 1\)"):
        required_horizon(list(x), [x[0], x[1][:9], *x[2:]])
    with pytest.raises(MeasureError, match="all targets are class 1"):
        required_horizon(x, np.ones(40, dtype=int))
    with pytest.raises(MeasureError, match="a constant needs no memory"):
        required_horizon(x, np.full(40, 0.1))
    with pytest.raises(MeasureError, match="target 7 is NaN"):
        required_horizon(x, np.where(np.arange(40) == 7, np.nan, np.arange(40)))
    broken = x.copy()
    broken[3, 4] = np.nan
    with pytest.raises(MeasureError, match=r"inputs\[3\] holds NaN or infinity at step 4"):
        required_horizon(broken, np.arange(40) % 2)
    with pytest.raises(MeasureError, match="have 50 steps or more"):
        required_horizon(x, x, longest=50)
    with pytest.raises(MeasureError, match="targets are <U1"):
        required_horizon(x, np.array(["a", "b"] * 20))
    for single in (5, np.array(5), torch.tensor(5)):
        with pytest.raises(MeasureError, match=r"targets are .*5.*; one target for each sequence"):
            required_horizon(x, single)
    with pytest.raises(MeasureError, match="some of linear, recurrent"):
        required_horizon(x, x, probes=("linaer",))
    with pytest.raises(MeasureError, match=r"tolerance is 1\.5"):
        required_horizon(x, x, tolerance=1.5)


def test_padded_targets_are_one_a_step_where_no_row_is_full() -> None:
    x = noise(40, 12)
    found = required_horizon(x, x, lengths=[9, 10] * 20, longest=3, updates=5)
    rows = [row[:n] for row, n in zip(x, [9, 10] * 20, strict=True)]
    assert found.steps == required_horizon(rows, rows, longest=3, updates=5).steps == 1
