"""Scoring: recall over distance, its interval, and the longest distance recalled."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from storyline.stories.examples import Examples
from storyline.stories.script import SPLITS
from storyline.stories.story import Story

# From a batch to its answers, in the order of its questions: classes, or numbers.
Reader = Callable[[Examples], np.ndarray]
NORMAL_95 = 1.959964
BAR = 0.95


@dataclass(frozen=True)
class Recall:
    """How much was recalled over one distance.

    right, facts                 facts answered right (all of their questions), and facts asked for
    chance                       the share of facts that the best guess blind to order gets right, were its answers
                                 to the questions of one fact independent
    questions_right, questions   the same of single questions (the digits of a number)
    question_chance              and the share that this guess gets right of them
    seconds                      that an example took
    """

    distance: int
    right: int
    facts: int
    chance: float
    questions_right: int
    questions: int
    question_chance: float
    seconds: float = field(default=0.0, compare=False)

    @property
    def accuracy(self) -> float:
        """The share of facts recalled."""
        return self.right / self.facts

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy, by Wilson's score."""
        return wilson(self.right, self.facts)


def wilson(right: int, count: int, z: float = NORMAL_95) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927): the p with (right/count - p)^2 <= z^2 p (1 - p) / count."""
    if not 0 <= right <= count or count < 1:
        raise ValueError(f"{right} of {count} is no share; give 0 <= right <= count and at least one")
    share, weight = right / count, z * z / count
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / count + weight / (4 * count))
    # At the ends the interval closes exactly, which rounding would miss.
    return 0.0 if right == 0 else centre - half, 1.0 if right == count else centre + half


def marks(story: Story, examples: Examples, answers: np.ndarray) -> np.ndarray:
    """(questions,) bool: which answers are right; a number within the story's tolerance.

    answers  (questions,) classes, or numbers. Raises ValueError for another shape or what is not finite.
    """
    answers = np.asarray(answers)
    if answers.shape != examples.answers.shape:
        raise ValueError(
            f"the answers have the shape {answers.shape}, and {examples.answers.shape[0]} questions were asked; "
            "give one answer a question"
        )
    if not np.isfinite(answers).all():
        raise ValueError(
            f"answer {int(np.argmin(np.isfinite(answers)))} is not finite; the model has diverged"
        )
    if story.classes:
        return np.asarray(answers == examples.answers)
    return np.asarray(np.abs(answers - examples.numbers) < story.kind.tolerance)


def fact_marks(examples: Examples, marked: np.ndarray) -> np.ndarray:
    """(facts asked,) bool: a fact is recalled where all of its questions are answered right."""
    return np.asarray(_by_fact(examples, ~marked) == 0)


def _by_fact(examples: Examples, values: np.ndarray) -> np.ndarray:
    """(facts asked,) sums of the values of each fact's questions."""
    _, fact = np.unique(np.stack([examples.question_rows, examples.facts]), axis=1, return_inverse=True)
    return np.bincount(fact.ravel(), weights=values)


def recall(
    reader: Reader,
    story: Story,
    distance: int,
    *,
    n: int = 200,
    split: str = "test",
    seconds: float | None = None,
    words: int = 200_000,
) -> Recall:
    """Ask `n` examples of a split, the same each time, over one distance.

    seconds  begin no further batch that would end after so many; `Recall.facts` says how many were asked. None: ask all
    words    how many words a batch may have, which bounds the memory
    """
    size = max(1, min(n, words // distance))
    right = facts = questions_right = questions = 0
    chance = question_chance = 0.0
    rng = np.random.default_rng([SPLITS.index(split), story.seed, distance])
    began, spent, asked = time.perf_counter(), 0.0, 0
    for start in range(0, n, size):
        if start and seconds is not None and spent + spent / asked * min(size, n - start) > seconds:
            break
        examples = story.batch(min(size, n - start), split, rng, distance=distance)
        marked = marks(story, examples, reader(examples))
        recalled = fact_marks(examples, marked)
        right, facts = right + int(recalled.sum()), facts + len(recalled)
        questions_right, questions = questions_right + int(marked.sum()), questions + len(marked)
        chance += float(np.exp(_by_fact(examples, np.log(examples.chances))).sum())
        question_chance += float(examples.chances.sum())
        spent, asked = time.perf_counter() - began, min(n, start + size)
    return Recall(
        distance,
        right,
        facts,
        chance / facts,
        questions_right,
        questions,
        question_chance / questions,
        spent / asked,
    )


def recall_over_distance(
    reader: Reader,
    story: Story,
    distances: Sequence[int],
    *,
    n: int = 200,
    split: str = "test",
    seconds: float | None = None,
    words: int = 200_000,
    progress: Callable[[Recall], None] = lambda recalled: None,
) -> list[Recall]:
    """Recall over each distance, from the shortest to the longest, as `recall` takes it.

    A distance of which, by how the time grew so far, not one example would be answered within `seconds` is not asked,
    nor is a longer one: what is returned ends before it.
    """
    curve: list[Recall] = []
    for distance in sorted(set(distances)):
        if seconds is not None and curve and seconds_of_one(curve, distance) > seconds:
            break
        curve.append(recall(reader, story, distance, n=n, split=split, seconds=seconds, words=words))
        progress(curve[-1])
    return curve


def seconds_of_one(curve: Sequence[Recall], distance: int) -> float:
    """What an example over `distance` will take, from the last two distances of a curve; of one, by its square.

    The time is taken to grow as a power of the distance, 1 (a state) to 2 (attention).
    """
    *before, last = curve
    power = 2.0
    if before and before[-1].seconds > 0 < last.seconds:
        first = before[-1]
        power = math.log(last.seconds / first.seconds) / math.log(last.distance / first.distance)
    return last.seconds * float((distance / last.distance) ** min(2.0, max(1.0, power)))


def longest_recalled(curve: Sequence[Recall], bar: float = BAR) -> int | None:
    """The longest distance at which at least `bar` of the facts were recalled, and at all shorter ones tested.

    None where the shortest tested one was not.
    """
    longest = None
    for recalled in sorted(curve, key=lambda each: each.distance):
        if recalled.accuracy < bar:
            break
        longest = recalled.distance
    return longest


def headline(longest: Sequence[int | None], share: float = 0.8) -> int | None:
    """The distance that at least `share` of the seeds (four of five) recalled, from the longest of each.

    None where more of them recalled nothing.
    """
    if not longest:
        raise ValueError("there is no seed to take a headline from; train at least one")
    ranked = sorted((each or 0 for each in longest), reverse=True)
    return ranked[math.ceil(share * len(ranked)) - 1] or None


def mean_over_seeds(
    accuracies: Sequence[float], *, draws: int = 2_000, seed: int = 0
) -> tuple[float, float, float]:
    """The mean over seeds and its 95 % interval, by bootstrap over the seeds; one seed has an interval of nothing."""
    values = np.asarray(accuracies, np.float64)
    means = np.random.default_rng(seed).choice(values, (draws, len(values))).mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(values.mean()), float(low), float(high)
