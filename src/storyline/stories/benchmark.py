"""The memory benchmark: a cell learns a story by a fixed budget, and is asked at and beyond that distance."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import torch

from storyline.stories.bag import bag_of_words
from storyline.stories.learning import Learning, learn, learning_rate_of
from storyline.stories.scoring import recall_over_distance
from storyline.stories.story import Story

Row = dict[str, str | int | float]
BAG = "bag"
BAG_DISTANCE = 25

FILLED = (450, (100, 450, 900, 2_500, 10_000, 25_000))
PAGES = (450, (100, 450, 2_500, 10_000, 25_000, 50_000))
NESTED = (8, (1, 2, 4, 8, 16, 32))
BLANKS = (100, (25, 50, 100, 200, 500))
# The distance that a story is learned up to, and those that it is asked at. A filled story of 450 words between fact
# and question is one of about 500 words.
PLANS: dict[str, tuple[int, tuple[int, ...]]] = {
    "party": PAGES,
    "filing": PAGES,
    "router": (450, (100, 450, 900, 1_500, 10_000)),
    "chase": NESTED,
    "books": NESTED,
    "theme": BLANKS,
    "card": BLANKS,
    "adding": (400, (100, 200, 400, 1_000)),
    "temporal-order": (100, (50, 100, 200, 500, 1_000)),
    "copy": BLANKS,
    "selective-copy": BLANKS,
    "parity": (40, (10, 40, 100, 1_000, 10_000, 100_000)),
    "associative-recall": BLANKS,
}


@dataclass(frozen=True)
class Run:
    """One training and its questions.

    story           told up to its `distance` in training
    cell            a name that `learn` knows; "bag": the bag of words, trained and asked at a distance of 25 at most
    seed            of the training
    distances       asked at
    learning        the budget, the same for every cell
    examples        asked at each distance
    asking_seconds  the most that a distance may take, but for one example where that was not to be foreseen; None: no
                    limit
    """

    story: Story
    cell: str
    seed: int
    distances: tuple[int, ...]
    learning: Learning = field(default_factory=Learning)
    examples: int = 200
    asking_seconds: float | None = 30.0

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two runs the same, as a file of results says it in the columns KEY and SETTINGS."""
        story, learning = self.story, self.learning
        asked = (
            story.distractors,
            story.facts,
            story.source,
            self.examples,
            learning.seconds,
            learning.batches,
            learning.hidden_size,
            "" if self.cell == BAG else learning_rate_of(learning, self.cell),
        )
        unusual = "" if self.cell == BAG else unusual_settings(learning)
        return tuple(map(str, (label(story), self.cell, self.seed, story.distance, *asked, unusual)))

    @property
    def asked(self) -> tuple[int, ...]:
        """The distances that it has a row for; a bag is asked near, where it is at its best.

        Far away the filling drowns even the names that it could count.
        """
        return (min(BAG_DISTANCE, self.story.distance),) if self.cell == BAG else self.distances


KEY = ("story", "cell", "seed", "trained_distance", "distractors", "facts", "filling", "examples", "budget_seconds",
       "budget_batches", "hidden_size", "learning_rate")  # fmt: skip
# How it was learned where that is not as usual, see `unusual_settings`. Files from before there was the column do
# without: their rows count for whatever settings.
SETTINGS = "settings"
# What a row says of the answers; empty where none was asked for.
MEASURED = ("accuracy", "low", "high", "recalled", "asked", "chance", "question_accuracy", "question_chance")
SPENT = ("parameters", "sharpened", "training_seconds", "asking_seconds")


def label(story: Story) -> str:
    """The story's name, and what of it is not as usual: party-2-facts."""
    unusual = [
        f"-{value}-{what}"
        for what, value in (("distractors", story.distractors), ("facts", story.facts))
        if value != getattr(story.kind, what)[0]
    ]
    return story.name + "".join(unusual)


def unusual_settings(learning: Learning) -> str:
    """What of it is not as usual, but for what has columns of its own: rest=None, curriculum=False."""
    own = ("seconds", "batches", "hidden_size", "learning_rate")
    usual = {each.name: getattr(Learning(), each.name) for each in fields(Learning) if each.name not in own}
    return ", ".join(
        f"{name}={getattr(learning, name)!r}"
        for name, value in usual.items()
        if getattr(learning, name) != value
    )


def planned(
    name: str, *, quick: bool = False, **parameters: str | int | None
) -> tuple[Story, tuple[int, ...]]:
    """The story at the distance that it is learned up to, and the distances asked; quick: to ten times that."""
    trained, distances = PLANS.get(name, FILLED)
    story = Story(name, trained, **parameters)  # type: ignore[arg-type]
    return story, tuple(each for each in distances if not quick or each <= 10 * trained)


def measure(run: Run, place: Row | None = None) -> list[Row]:
    """Train, ask, and return a row a distance; `place` (machine, commit, ...) is added to each.

    The row of a distance that would have taken too long, see `recall_over_distance`, says so: 0 were asked, and it has
    no accuracy.
    """
    began = time.perf_counter()
    if run.cell == BAG:
        bag = bag_of_words(replace(run.story, seed=run.seed), distance=run.asked[0])
        reader, parameters, sharpened = bag, 0, 1.0
    else:
        model = learn(run.story, run.cell, run.seed, run.learning)
        reader, sharpened = model.answers, model.sharpened
        parameters = sum(parameter.numel() for parameter in model.parameters())
    trained = time.perf_counter()
    # Of attention the examples are asked one by one where they are long: one alone may take half of the limit.
    words = 25_000 if run.cell == "transformer" else 1_000_000
    curve = recall_over_distance(
        reader, run.story, run.asked, n=run.examples, seconds=run.asking_seconds, words=words
    )
    took = (round(trained - began, 1), round(time.perf_counter() - trained, 1))
    spent: Row = dict(zip(SPENT, (parameters, sharpened, *took), strict=True))
    rows = []
    for each in curve:
        low, high = each.interval
        measured: Row = {
            "distance": each.distance,
            "accuracy": round(each.accuracy, 4),
            "low": round(low, 4),
            "high": round(high, 4),
            "recalled": each.right,
            "asked": each.facts,
            "chance": round(each.chance, 6),
            "question_accuracy": round(each.questions_right / each.questions, 4),
            "question_chance": round(each.question_chance, 4),
        }
        rows.append(
            dict(zip((*KEY, SETTINGS), run.key, strict=True)) | measured | spent | (place or surroundings())
        )
    unasked = sorted(set(run.asked) - {each.distance for each in curve})
    nothing = dict.fromkeys(MEASURED, "") | {"recalled": 0, "asked": 0}
    return rows + [rows[0] | nothing | {"distance": each} for each in unasked]


def share(row: Row) -> str:
    """What a row says was recalled, in words: 64%, or that nothing was asked."""
    return f"{row['accuracy']:.0%}" if row["asked"] else "not asked, it would take too long"


def surroundings() -> Row:
    """Where a row was measured."""
    from storyline import __version__

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "machine": f"{names[0] if names else platform.machine()}, {cores} cores",
        "commit": f"storyline {__version__}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
