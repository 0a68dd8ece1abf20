"""What the benchmarks of answering count, and the baseline beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.tasks import answers
from benchmarks.tasks.sliding_window import sliding_window

CONTEXT = (
    "The crisis began in October 1973. Prices had risen to 12 dollars. "
    "The members of OPEC proclaimed an embargo. Later Alaska built a pipeline."
)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When did the crisis begin?", "October 1973"),
        ("Who proclaimed an embargo?", "members"),
        ("What had risen to 12 dollars?", "Prices"),
        ("What did Alaska build later?", "built"),
    ],
)
def test_sliding_window_finds_the_sentence(question: str, answer: str) -> None:
    assert sliding_window(CONTEXT, question) == answer


def test_a_longer_candidate_wins_by_the_words_it_adds() -> None:
    assert sliding_window("The old red house and the barn burned.", "What burned?") == "old red house"
    assert sliding_window("burned", "What burned?") == "burned"


def test_the_interval_is_that_of_whole_groups() -> None:
    # Two groups of opposite values: a draw has both, or one twice.
    low, high = answers.bootstrap([np.zeros(50), np.ones(50)])
    assert (low, high) == (0.0, 1.0)
    low, high = answers.bootstrap([np.tile([0.0, 1.0], 25)] * 5)
    assert low == high == 0.5


@pytest.mark.data
def test_no_part_shares_an_article(data_folder: Path) -> None:
    parts = [set(answers.articles(part, tiny=False)) for part in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [27, 3, 6]
    assert len(set.union(*parts)) == 36


@pytest.mark.data
def test_stories_are_read_up_to_their_question(data_folder: Path) -> None:
    for task in answers.BABI:
        contexts, questions, right = answers.babi(task, "test")
        assert len(contexts) == len(questions) == len(right) == 1000
    contexts, questions, right = answers.babi(1, "test")
    assert contexts[0] == "John travelled to the hallway. Mary journeyed to the bathroom."
    assert (questions[0], right[0]) == ("Where is John?", "hallway")
    assert contexts[1].startswith(contexts[0])
