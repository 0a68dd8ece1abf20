"""Probes of states that are made by hand, so that what they hold, and where, is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from storyline.memory import MeasureError
from storyline.memory.inside.fact_states import Fact
from storyline.memory.inside.facts import probe_fact

ROWS, TIME = 300, 12


def planted(seed: int = 0) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """(noise (rows, time, 6), one of 4 classes, the step that plants it)."""
    random = np.random.default_rng(seed)
    noise = torch.from_numpy(random.normal(size=(ROWS, TIME, 6)))
    return noise, random.integers(0, 4, ROWS), random.integers(0, 4, ROWS)


def holding(labels: np.ndarray, at: np.ndarray, steps: int, noise: torch.Tensor) -> torch.Tensor:
    """Units 1 and 4 hold the two bits of the class for so many steps from the planting on; the others are noise."""
    states = noise.clone()
    for row, (label, start) in enumerate(zip(labels, at, strict=True)):
        for unit, bit in ((1, label & 1), (4, label >> 1)):
            states[row, start : start + steps, unit] = (
                2.0 * bit - 1 + 0.1 * noise[row, start : start + steps, unit]
            )
    return states


def test_what_holds_a_fact_and_for_how_long() -> None:
    noise, labels, at = planted()
    states = holding(labels, at, 5, noise)
    found = probe_fact(lambda rows: rows, Fact(states, labels, at, name="the colour"), [7, 0, 4, 5])
    assert found.lags.tolist() == [0, 4, 5, 7]
    assert found.score[:2].tolist() == [1, 1]
    assert (found.low[:2] > 0.98).all()
    assert (found.low[2:] < found.chance).all()
    assert found.chance == np.bincount(labels).max() / ROWS
    assert [set(each) for each in found.holders] == [{"state[1]", "state[4]"}] * 2 + [set()] * 2
    assert set(np.argsort(-found.importance[1])[:2]) == {1, 4}
    assert str(found.held) == "4 steps"
    assert str(found) == (
        f"the colour is held for 4 steps (score 1.000, chance {found.chance:.3f}); there 2 of 6 units hold 95% of it: "
        f"{', '.join(found.holders[1])}"
    )


def test_score_is_that_of_scikit_learn() -> None:
    noise, labels, _ = planted(1)
    values = noise.clone()
    values[..., 2] += 0.8 * torch.from_numpy(labels % 2)[:, None]  # a fact half drowned in noise
    found = probe_fact(lambda rows: rows, Fact(values, labels, 3), [2], penalty=4.0, seed=7)
    split = StratifiedKFold(5, shuffle=True, random_state=7)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.25))
    accuracy = (cross_val_predict(model, values[:, 5].numpy(), labels, cv=split) == labels).mean()
    assert found.score[0] == pytest.approx(accuracy)
    # Wilson's interval solves (p - seen)^2 = z^2 p (1 - p) / n
    for p in (found.low[0], found.high[0]):
        assert abs(p - accuracy) == pytest.approx(1.959964 * np.sqrt(p * (1 - p) / ROWS))


def test_a_number_is_read_by_least_squares() -> None:
    noise, _, _ = planted(2)
    numbers = np.random.default_rng(3).normal(size=ROWS)
    values = noise.clone()
    values[..., 3] = torch.from_numpy(numbers)[:, None] + 0.5 * noise[..., 3]
    found = probe_fact(lambda rows: rows, Fact(values, numbers, 0), [6], share=0.9)
    assert found.score[0] == pytest.approx(1 / 1.25, abs=0.05)  # the signal's share of the variance of unit 3
    assert found.low[0] < found.score[0] < found.high[0]
    assert found.holders == (("state[3]",),)
    whole = Ridge(1.0).fit(StandardScaler().fit_transform(values[:, 6].numpy()), numbers)
    np.testing.assert_allclose(found.importance[0], np.abs(whole.coef_), rtol=1e-9)
    assert (
        r2_score(numbers, whole.predict(StandardScaler().fit_transform(values[:, 6].numpy())))
        > found.score[0]
    )


@pytest.mark.parametrize("copies", [1, 5])
def test_copies_of_a_fact_need_only_one_unit(copies: int) -> None:
    noise, labels, _ = planted(4)
    values = noise.clone()
    values[..., :copies] = torch.from_numpy(labels % 2).double()[:, None, None] + 0.1 * noise[..., :copies]
    found = probe_fact(lambda rows: rows, Fact(values, labels % 2 == 1, 0), [1])
    assert len(found.holders[0]) == 1
    assert found.holders[0][0] in [f"state[{unit}]" for unit in range(copies)]


def test_cell_that_latches_its_input() -> None:
    """Unit 2 of layer 1 is a latch: it takes the first channel where the second one asks for it, and keeps it."""
    torch.manual_seed(0)
    layer = nn.LSTM(3, 4, num_layers=2, batch_first=True).double()
    with torch.no_grad():
        for each in layer.parameters():
            each.mul_(0.3)
        for name, row, bias in (("i", 2, -20.0), ("f", 6, 20.0)):
            for kind in ("weight_ih", "weight_hh", "bias_hh"):
                getattr(layer, f"{kind}_l0")[row] = 0
            layer.bias_ih_l0[row] = bias
            if name == "i":
                layer.weight_ih_l0[row, 1] = 40.0
        layer.weight_ih_l0[10, 0] = 3.0
        layer.weight_hh_l0[:, 2] = layer.weight_ih_l1[:, 2] = 0  # and nothing else sees it
    x = torch.randn(200, 9, 3, dtype=torch.float64) * 0.1
    labels, at = np.arange(200) % 2, np.arange(200) % 3
    x[..., 1] = 0
    x[torch.arange(200), torch.from_numpy(at), 1] = 1.0
    x[torch.arange(200), torch.from_numpy(at), 0] = 2.0 * torch.from_numpy(labels).double() - 1
    found = probe_fact(layer, Fact(x, labels, at), [1, 6])
    assert found.units == tuple(f"c_l{number}[{unit}]" for number in (0, 1) for unit in range(4))
    assert found.holders == (("c_l0[2]",),) * 2
    assert str(found.held) == "at least 6 steps"
    assert len(probe_fact(layer, Fact(x, labels, at), [1], states="hc").units) == 16


def test_states_of_a_layer_are_those_of_torch() -> None:
    """Labels that are a linear function of torch's own h at the step are read from it without error."""
    layer = nn.GRU(2, 3).double()
    x = torch.randn(10, 120, 2, dtype=torch.float64)
    lengths = torch.arange(120) % 4 + 7
    at = np.arange(120) % 5
    h = layer(x)[0].detach()[at + 2, np.arange(120)].numpy()
    found = probe_fact(layer, Fact(x, h @ [1.0, -2.0, 3.0], at, lengths), [2], penalty=1e-9)
    assert found.score[0] == pytest.approx(1, abs=1e-9)


def test_refusals() -> None:
    x, labels = torch.randn(20, 6, 2), np.arange(20) % 2
    gru = nn.GRU(2, 3, batch_first=True)
    with pytest.raises(MeasureError, match="the labels of the fact are all 1; a fact must differ"):
        Fact(x, [1] * 20, 0)
    with pytest.raises(MeasureError, match=r"the labels of the fact have shape \(2, 2\)"):
        Fact(x, [[1, 2], [3, 4]], 0)
    with pytest.raises(MeasureError, match="the label of sequence 1 is nan"):
        Fact(x, [0.5, float("nan")], 0)
    with pytest.raises(MeasureError, match="planted is float64"):
        Fact(x, labels, 1.5)
    with pytest.raises(MeasureError, match="class 7 of the fact has 1 sequences; at least 5, one a fold"):
        probe_fact(gru, Fact(x, [7] + [1] * 19, 0), [0])
    with pytest.raises(MeasureError, match="there are 20 sequences; at least 30 are needed for 15 folds"):
        probe_fact(gru, Fact(x, labels / 2, 0), [0], folds=15)
    with pytest.raises(
        MeasureError, match="sequence 3 has 6 steps and the fact at step 4, so that lag 2 lies beyond"
    ):
        probe_fact(gru, Fact(x, labels, np.where(np.arange(20) == 3, 4, 0)), [1, 2])
    with pytest.raises(MeasureError, match="there are 20 sequences and 10 labels"):
        probe_fact(gru, Fact(x, labels[:10], 0), [1])
    with pytest.raises(MeasureError, match=r"lags are \[-1\]"):
        probe_fact(gru, Fact(x, labels, 0), [-1])
    with pytest.raises(MeasureError, match="states is 'c'; letters out of 'h' were wanted"):
        probe_fact(gru, Fact(x, labels, 0), [1], states="c")
    with pytest.raises(MeasureError, match="a state of sequence 0 is NaN or infinite"):
        probe_fact(lambda rows: rows / 0, Fact(torch.zeros(20, 6, 2), labels, 0), [1])
    with pytest.raises(
        MeasureError, match=r"the function returned \(20, 2\) for 20 sequences; \(20, time, size\)"
    ):
        probe_fact(lambda rows: rows[:, 0], Fact(x, labels, 0), [1])
    with pytest.raises(MeasureError, match="the source is str"):
        probe_fact("model", Fact(x, labels, 0), [1])
