"""The horizon against recurrences whose memory is known in closed form, and what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from benchmarks.memory.filters import FILTERS, Filter, NoisyRegister, delay, leaks, register

from storyline.memory import Horizon, MeasureError, horizon


def noise(sequences: int, steps: int, channels: int = 1, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(sequences, steps, channels, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("known", [f for f in FILTERS if f.steps <= 600], ids=lambda f: f.name)
def test_every_measure_finds_the_closed_form(known: Filter) -> None:
    inputs = noise(1024, known.steps)
    h = horizon(
        known.run,
        inputs,
        known.run(inputs)[:, -1],
        pairings=1,
        measures=("gradient", "counterfactual", "use"),
    )
    assert h.gradient is not None
    assert h.counterfactual is not None
    assert h.use is not None
    # the gradient is exact; the others sample 1,024 sequences: an error of e in the level shifts a leak by e / ln 100
    assert h.gradient.steps == h.gradient.low == h.gradient.high == known.expected("gradient")
    assert h.counterfactual.steps == pytest.approx(known.expected("counterfactual"), rel=0.03)
    assert h.use.steps == pytest.approx(known.expected("use"), rel=0.03)
    for measure in (h.counterfactual, h.use):
        assert measure.low <= measure.steps <= measure.high
        assert not measure.at_least


def test_a_leak_is_ln_threshold_over_ln_decay() -> None:
    # R(k) = a^k and g(k) = a^k, so both end at floor(ln .1 / ln .9) = 21; L(k) - L is a^(2 k) of L(0), so that
    # within .1 of the gain L(1) - L it is 1 + ceil(ln .1 / (2 ln .9)) = 12
    known = leaks(0.9, steps=100)
    inputs = noise(2048, 100)
    h = horizon(known.run, inputs, known.run(inputs)[:, -1], threshold=0.1, pairings=2)
    assert h.gradient.steps == math.floor(math.log(0.1) / math.log(0.9)) == 21
    assert abs(h.counterfactual.steps - 21) <= 1
    assert abs(h.use.steps - 12) <= 1


def test_the_counterfactual_curve_is_the_tail_of_the_response() -> None:
    known = leaks(0.3, 0.95, steps=200)
    curve = horizon(known.run, noise(1024, 200), measures=("counterfactual",), pairings=4).counterfactual
    squares = np.square(known.response(200)).sum(1)
    truth = np.sqrt(np.cumsum(squares[::-1])[::-1] / squares.sum())[curve.lags]
    seen = truth > 0.01
    np.testing.assert_allclose(curve.curve[seen], truth[seen], rtol=0.08)


def test_a_register_recalls_what_it_holds_and_nothing_else() -> None:
    # tap k holds x_(t-k) as it was, so that facts are told perfectly up to the last tap, and not at all beyond
    h = horizon(register(30, 120).run, noise(256, 120), measures=("recall",))
    assert (h.recall.steps, h.recall.low, h.recall.high) == (29, 29, 29)
    assert h.recall.curve[h.recall.lags <= 29].min() > 0.9
    assert h.recall.curve[h.recall.lags > 29].max() < 0.3


def test_a_delay_shows_a_fact_at_one_lag_and_that_is_found() -> None:
    h = horizon(delay(67, 160).run, noise(128, 160), measures=("recall",))
    assert h.recall.steps == 67


def test_facts_grow_faint_at_the_known_rate() -> None:
    known = NoisyRegister(0.95, 0.8, 48, 80)
    inputs = known.draw(3000, torch.Generator().manual_seed(3))
    h = horizon(known.run, inputs, measures=("recall",), planted=3000)
    assert h.recall.steps == pytest.approx(known.expected(0.5, 3000), rel=0.05)
    skills = known.skill(3000)[h.recall.lags[h.recall.lags < 30]]
    # 48 weights fitted on 1,500 sequences read a little worse than the best readout, never better
    np.testing.assert_allclose(h.recall.curve[: len(skills)], skills, atol=0.05)


def test_one_answer_a_sequence_recalls_like_one_a_step() -> None:
    known = register(12, 60)
    inputs = noise(128, 60)
    h = horizon(lambda x: known.run(x)[:, -1], inputs, measures=("recall",))
    assert h.recall.steps == 11


class Classes(torch.nn.Module):
    """Two classes of a whole sequence, from the last state of a layer."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.head = torch.nn.Linear(16, 2).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(x)[0][:, -1, :16])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_of_a_classifier_the_state_is_read(bidirectional: bool) -> None:
    torch.manual_seed(0)
    layer = torch.nn.LSTM(2, 16, batch_first=True, bidirectional=bidirectional).double()
    inputs = noise(128, 40, 2)
    h = horizon(Classes(layer), inputs, measures=("recall",)).recall
    assert "read back from the state of its LSTM 'layer'" in h.definition
    # the layer alone, of both directions the one that reads forwards
    alone = horizon(lambda x: layer(x)[0][..., :16], inputs, measures=("recall",)).recall
    np.testing.assert_allclose(h.curve, alone.curve)
    assert h.steps == alone.steps > 0


def test_one_answer_that_says_nothing_of_a_fact_has_no_recall() -> None:
    h = horizon(lambda x: (x.mean(1) > 0).double(), noise(64, 30, 2), measures=("recall",))
    assert h.recall is None
    assert (
        "one answer a sequence, which does not tell which fact was planted at any lag" in h.reasons["recall"]
    )
    # the upper layer of a stack that reads both ways has seen what comes later: the answer is read
    torch.manual_seed(0)
    stacked = torch.nn.LSTM(2, 16, 2, batch_first=True, bidirectional=True).double()
    both = horizon(Classes(stacked), noise(64, 30, 2), measures=("recall",)).recall
    assert "read back from the answer" in both.definition


def test_the_interval_covers_the_truth() -> None:
    known = leaks(0.95, steps=150)
    truth = known.expected("counterfactual")
    covered = 0
    for seed in range(40):
        found = horizon(
            known.run, noise(128, 150, seed=seed), measures=("counterfactual",), pairings=1, seed=seed
        )
        covered += found.counterfactual.low <= truth <= found.counterfactual.high
    # of 95 % intervals fewer than 33 of 40 cover with probability 2e-3
    assert covered >= 33


def test_where_the_data_ends_first_it_is_a_lower_bound() -> None:
    known = leaks(0.99, steps=100)
    h = horizon(known.run, noise(64, 100), measures=("counterfactual", "gradient"))
    for measure in (h.counterfactual, h.gradient):
        assert (measure.steps, measure.at_least, measure.high_at_least) == (99, True, True)
    assert (
        h.headline == "remembers at least 99 steps (95 % interval 99 or more); gradient reaches at least 99"
    )


def test_it_is_said_in_a_line_and_what_was_not_taken_too() -> None:
    h = horizon(delay(20, 64).run, noise(64, 64))
    assert str(h).splitlines() == [
        "remembers 20 steps (95 % interval 20-20); gradient reaches 20; recalls a fact for 20",
        "use was not taken: no targets were given; give targets= (and loss=)",
    ]
    assert h.use is None
    assert "no targets" in h.reasons["use"]
    table = h.table().splitlines()
    assert [line.split()[0] for line in table[:4]] == ["measure", "counterfactual", "gradient", "recall"]
    assert "The last answer does not depend on the last input; shares are of lag 20." in h.table()


def test_the_same_seed_gives_the_same_and_no_generator_is_touched() -> None:
    known = leaks(0.9, steps=60)
    inputs = noise(64, 60)
    before = torch.random.get_rng_state()
    first, second = (horizon(known.run, inputs, seed=4) for _ in range(2))
    other = horizon(known.run, inputs, seed=5)
    np.testing.assert_array_equal(first.counterfactual.curve, second.counterfactual.curve)
    assert not np.array_equal(first.counterfactual.curve, other.counterfactual.curve)
    assert torch.equal(before, torch.random.get_rng_state())


def test_plot_draws_each_measure_with_its_figure() -> None:
    known = leaks(0.9, steps=60)
    inputs = noise(64, 60)
    h: Horizon = horizon(known.run, inputs, known.run(inputs)[:, -1])
    axes = h.plot()
    labels = axes.get_legend_handles_labels()[1]
    assert labels[0] == f"change of the answer: {h.counterfactual.steps}"
    assert len(labels) == 4
    assert h.plot(axes) is axes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.0}, "threshold is 0.0"),
        ({"confidence": 95}, "confidence is 95"),
        ({"recall_threshold": "half"}, "recall_threshold is 'half'; a share above 0"),
        ({"measures": ("gradient", "memory")}, "some of counterfactual, gradient, recall, use"),
        ({"measures": "gradient"}, "as a tuple"),
        ({"max_lag": 0}, "max_lag is 0"),
        ({"time_dim": 2}, "time_dim is 2"),
        ({"rows_at_once": 0}, "rows_at_once is 0"),
        ({"max_lag": 10.5}, r"max_lag is 10\.5; a whole number"),
        ({"pairings": 0}, "pairings is 0; a whole number, 1 or more"),
        ({"probes": 0}, "probes is 0"),
        ({"planted": 0}, "planted is 0; 8 or more"),
        ({"planted": 1}, "planted is 1"),
        ({"seed": -1}, "seed is -1; a whole number, 0 or more"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(MeasureError, match=message):
        horizon(delay(3, 20).run, noise(16, 20), **options)


def test_a_caller_in_inference_mode_gets_the_gradient_too() -> None:
    model, x = torch.nn.LSTM(1, 4, batch_first=True), noise(16, 20)
    with torch.inference_mode():
        found = horizon(model, x.clone(), measures=("gradient",))
    plain = horizon(model, x, measures=("gradient",))
    assert found.gradient.curve.tolist() == plain.gradient.curve.tolist()


def test_without_a_measure_there_is_nothing_to_draw() -> None:
    found = horizon(delay(3, 20).run, noise(16, 20), measures=("use",))
    with pytest.raises(MeasureError, match=r"nothing to draw .*use: no targets were given"):
        found.plot()


def test_whole_numbers_of_numpy_are_taken() -> None:
    found = horizon(delay(3, 20).run, noise(16, 20), max_lag=np.int64(10), pairings=np.int32(2))
    assert (found.max_lag, found.counterfactual.steps) == (10, 3)


def test_a_measure_says_its_confidence_to_the_digit() -> None:
    found = horizon(delay(3, 20).run, noise(16, 20), confidence=0.975, measures=("counterfactual",))
    assert str(found.counterfactual) == "counterfactual: 3 steps (97.5 % interval 3-3)"
