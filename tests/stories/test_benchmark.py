"""The memory benchmark: a run and its rows, the curves and the picture of them."""

from __future__ import annotations

import pytest

from storyline.stories import Story
from storyline.stories.benchmark import PLANS, Row, Run, label, measure, planned
from storyline.stories.learning import Learning
from storyline.stories.picture import curves, recall_picture, table

TINY = Learning(seconds=None, batches=3, hidden_size=8, embedding_size=4, sharpenings=(1.0,))


def test_a_run_has_a_row_a_distance() -> None:
    rows = measure(Run(Story("party", 8, filling=None), "gru", 1, (4, 8, 40), TINY, 20))
    assert [row["distance"] for row in rows] == [4, 8, 40]
    first = rows[0]
    assert (first["story"], first["cell"], first["seed"], first["trained_distance"]) == (
        "party",
        "gru",
        "1",
        "8",
    )
    assert first["asked"] == 20
    assert first["chance"] == 0.25
    assert first["low"] <= first["accuracy"] <= first["high"]  # type: ignore[operator]
    assert first["accuracy"] == first["recalled"] / 20  # type: ignore[operator]
    assert first["filling"] == "the built-in grammar"
    bag = measure(Run(Story("party", 8), "bag", 0, (4, 8, 40), TINY, 50))
    assert [row["distance"] for row in bag] == [8]


def test_every_story_has_a_plan_that_goes_beyond_its_training() -> None:
    for name in PLANS:
        story, distances = planned(name)
        assert min(distances) <= story.distance < max(distances)
        assert max(planned(name, quick=True)[1]) <= 10 * story.distance


def test_a_label_says_what_is_unusual() -> None:
    assert label(Story("party")) == "party"
    assert label(Story("party", facts=2)) == "party-2-facts"
    assert (
        Run(Story("party", facts=2), "lstm", 0, (8,)).key[0] == "party-2-facts"
    )  # so that rows are told apart
    assert label(Story("party", facts=2, distractors=5)) == "party-5-distractors-2-facts"


def made_up(shares: dict[str, list[list[float]]]) -> list[Row]:
    """Rows of made-up accuracies: cell -> a list a seed, of one at 10, 100 and 1000."""
    return [
        {"story": "party", "cell": cell, "seed": seed, "distance": distance, "accuracy": accuracy, "chance": 0.25,
         "trained_distance": 100}
        for cell, seeds in shares.items()
        for seed, curve in enumerate(seeds)
        for distance, accuracy in zip((10, 100, 1000), curve, strict=False)
    ]  # fmt: skip


def test_curves_say_what_the_seeds_recalled() -> None:
    rows = made_up(
        {"lstm": [[1, 1, 0.96], [1, 0.94, 1.0]], "rnn": [[0.9, 0.5, 0.3], [0.7, 0.3, 0.3]], "bag": [[0.2]]}
    )
    lstm, rnn, bag = curves(rows, "party")
    assert lstm.longest == {0: 1000, 1: 10}
    assert lstm.headline == 10
    assert rnn.headline is None
    assert rnn.mean == pytest.approx((0.8, 0.4, 0.3))
    assert (rnn.low[0], rnn.high[0]) == pytest.approx((0.7, 0.9))
    assert bag.distances == (10,)
    said = table(rows)
    assert "lstm         recalls 10 at 95 % (by seed: 1,000 10); 98% at 1,000" in said
    assert "rnn          recalls none at 95 % (by seed: - -); 30% at 1,000" in said
    assert "bag          20% at 10" in said


def test_the_picture_has_a_line_a_cell_on_a_log_axis() -> None:
    rows = made_up(
        {"lstm": [[1, 1, 0.96], [1, 0.94, 1.0]], "rnn": [[0.9, 0.5, 0.3], [0.7, 0.3, 0.3]], "bag": [[0.2]]}
    )
    figure = recall_picture(rows, "party")
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["rnn"].get_ydata().tolist() == pytest.approx([0.8, 0.4, 0.3])  # type: ignore[union-attr]
    assert set(lines["chance"].get_ydata()) == {0.25}  # type: ignore[arg-type]
    assert "bag" not in lines
    with pytest.raises(ValueError, match="no cell of party was asked at two distances"):
        recall_picture(made_up({"bag": [[0.2]]}), "party")
