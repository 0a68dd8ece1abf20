"""Scores against closed forms: intervals, exactness of a fact, the longest distance, the headline."""

from __future__ import annotations

import math

import numpy as np
import oracles
import pytest
from scipy import stats

from storyline.stories import Examples, Story
from storyline.stories.recall import most_frequent
from storyline.stories.scoring import (
    Recall,
    fact_marks,
    headline,
    longest_recalled,
    marks,
    mean_over_seeds,
    recall,
    recall_over_distance,
    wilson,
)


@pytest.mark.parametrize(("right", "count"), [(0, 20), (7, 20), (190, 200), (200, 200)])
def test_the_interval_is_scipys(right: int, count: int) -> None:
    interval = stats.binomtest(right, count).proportion_ci(method="wilson")
    assert wilson(right, count) == pytest.approx((interval.low, interval.high), abs=1e-6)


def test_the_best_guess_blind_to_order_is_the_counted_one() -> None:
    # All strings of 4 symbols of 3, one by one.
    strings = np.stack(np.meshgrid(*[range(3)] * 4), -1).reshape(-1, 4)
    counted = np.mean([np.bincount(string).max() / 4 for string in strings])
    assert most_frequent(4, 3) == pytest.approx(counted)
    assert most_frequent(1, 8) == pytest.approx(1.0)


def test_a_number_is_recalled_with_all_its_digits_or_not_at_all() -> None:
    story = Story("router", 10, facts=2)
    examples = story.batch(50, "test")
    right = oracles.answers("router", examples)
    assert fact_marks(examples, marks(story, examples, right)).sum() == 100
    wrong = right.copy()
    # One digit of row 0 is wrong; the digits of a serial number are fact 0.
    wrong[np.flatnonzero((examples.question_rows == 0) & (examples.facts == 0))[2]] += 1
    marked = marks(story, examples, wrong)
    assert marked.sum() == 50 * 6 - 1
    assert fact_marks(examples, marked).sum() == 99


def test_a_reader_that_forgets_is_measured_as_it_is() -> None:
    story = Story("party", facts=2)

    def forgets(examples: Examples) -> np.ndarray:
        answers = oracles.answers("party", examples)
        lost = examples.question_steps - examples.told_steps > 60
        return np.where(lost, (answers + 1) % len(examples.classes), answers)

    seen: list[Recall] = []
    curve = recall_over_distance(forgets, story, [200, 10, 30, 10], n=60, progress=seen.append)
    assert seen == curve
    assert [each.distance for each in curve] == [10, 30, 200]
    assert [each.right for each in curve] == [120, 120, 0]
    assert curve[0].chance == pytest.approx(1 / 5)
    assert longest_recalled(curve) == 30
    # The same questions each time, however many words a batch may have.
    pieces = recall(forgets, story, 30, n=60, words=300)
    assert (pieces.right, pieces.facts) == (120, 120)


def test_seconds_bound_the_questions_and_the_count_says_so() -> None:
    story = Story("parity", 10)
    answer = lambda examples: oracles.answers("parity", examples)  # noqa: E731
    cut = recall(answer, story, 10, n=100, words=100, seconds=0.0)
    assert (cut.right, cut.facts) == (10, 10)
    assert recall(answer, story, 10, n=100, words=100).facts == 100


def test_a_distance_that_would_take_too_long_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes by what is read: a word costs a second, a pair of words too."""
    story, clock = Story("parity", 10), [0.0]
    monkeypatch.setattr("storyline.stories.scoring.time.perf_counter", lambda: clock[0])

    def asked(power: float, seconds: float) -> dict[int, int]:
        def reader(examples: Examples) -> np.ndarray:
            clock[0] += float(examples.question_steps[0]) ** power * len(examples.answers)
            return oracles.answers("parity", examples)

        curve = recall_over_distance(reader, story, [10, 20, 40, 80, 160], n=4, words=40, seconds=seconds)
        return {each.distance: each.facts for each in curve}

    assert asked(1.0, 100.0) == {10: 4, 20: 4, 40: 2, 80: 1}
    assert asked(2.0, 10_000.0) == {10: 4, 20: 4, 40: 4, 80: 1}
    assert asked(2.0, 1_000_000.0) == {10: 4, 20: 4, 40: 4, 80: 4, 160: 4}


def test_the_chance_of_a_number_is_that_of_all_its_digits() -> None:
    story = Story("router", 10)
    found = recall(lambda examples: oracles.answers("router", examples), story, 10, n=5)
    assert found.question_chance == pytest.approx(0.1)
    assert found.chance == pytest.approx(1e-5)


def made(shares: dict[int, int]) -> list[Recall]:
    return [Recall(distance, right, 100, 0.1, right, 100, 0.1) for distance, right in shares.items()]


def test_the_longest_distance_has_no_gap_before_it() -> None:
    assert longest_recalled(made({10: 100, 100: 95, 1000: 94})) == 100
    assert longest_recalled(made({1000: 100, 10: 100, 100: 94})) == 10
    assert longest_recalled(made({10: 94, 100: 100})) is None


def test_the_headline_is_what_four_of_five_recall() -> None:
    assert headline([100, 25_000, 25_000, 25_000, 25_000]) == 25_000
    assert headline([100, 100, 25_000, 25_000, 25_000]) == 100
    assert headline([None, None, 5, 5, 5]) is None
    assert headline([7]) == 7
    with pytest.raises(ValueError, match="no seed"):
        headline([])


def test_the_interval_over_seeds_is_the_bootstraps() -> None:
    shares = [0.2, 0.9, 1.0, 0.7, 0.8]
    mean, low, high = mean_over_seeds(shares)
    oracle = stats.bootstrap((shares,), np.mean, method="percentile", rng=1).confidence_interval
    assert mean == pytest.approx(0.72)
    assert (low, high) == pytest.approx((oracle.low, oracle.high), abs=0.03)
    assert mean_over_seeds([0.5]) == (0.5, 0.5, 0.5)


def test_answers_that_cannot_be_scored_are_refused() -> None:
    story = Story("adding", 20)
    examples = story.batch(4)
    assert marks(story, examples, examples.numbers + 0.039).all()
    assert not marks(story, examples, examples.numbers + 0.041).any()
    with pytest.raises(ValueError, match=r"shape \(3,\), and 4 questions"):
        marks(story, examples, np.zeros(3))
    with pytest.raises(ValueError, match="answer 2 is not finite"):
        marks(story, examples, np.array([0, 0, math.nan, 0]))
    with pytest.raises(ValueError, match="5 of 4 is no share"):
        wilson(5, 4)
