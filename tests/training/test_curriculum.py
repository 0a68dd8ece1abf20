"""The curriculum: when it raises the difficulty, by how much, and where it stops."""

from __future__ import annotations

from typing import Any

import pytest

from storyline.training.curriculum import Curriculum


def test_all_right_raises_after_as_many_batches_as_the_average_needs() -> None:
    curriculum = Curriculum(9, 100)
    batches = 0
    while curriculum.difficulty == 9:
        curriculum, batches = curriculum.after(1.0), batches + 1
    assert 1 - 0.9 ** (batches - 1) <= 0.9 < 1 - 0.9**batches  # the average after n batches is 1 - 0.9^n
    assert (curriculum.difficulty, curriculum.average) == (12, 0.6)


def test_it_grows_by_a_third_rounded_up_to_the_limit_and_stays() -> None:
    curriculum, seen = Curriculum(1, 20, memory=0.0), [1]
    for _ in range(15):
        curriculum = curriculum.after(1.0)
        seen.append(curriculum.difficulty)
    assert seen == [1, 2, 3, 4, 6, 8, 11, 15, 20, 20, 20, 20, 20, 20, 20, 20]
    assert curriculum.finished
    assert curriculum.average == 1.0


def test_answers_at_the_threshold_do_not_raise_it() -> None:
    curriculum = Curriculum(5, 50, memory=0.5, threshold=0.75, restart=0.0)
    for _ in range(200):
        curriculum = curriculum.after(0.75)
    assert curriculum.difficulty == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"difficulty": 0}, "give 1 <= difficulty <= limit"),
        ({"difficulty": 11}, "difficulty is 11 and limit 10"),
        ({"growth": 1.0}, "greater than 1, such as 4/3"),
        ({"restart": 0.9}, "give 0 <= restart < threshold < 1"),
        ({"memory": 1.0}, "from 0 to below 1"),
    ],
)
def test_refusals(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Curriculum(**{"difficulty": 1, "limit": 10, **settings})
