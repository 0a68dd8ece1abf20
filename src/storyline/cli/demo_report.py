"""What the demo found: a table in the terminal, report.html, and the pictures as PNG files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from storyline.cli.demo import DISTRACTORS, KEPT, LONGEST, TRAINED_TO, commands_to_try
from storyline.memory.measures.curve import Measure
from storyline.memory.steps import Steps

if TYPE_CHECKING:
    from rich.console import Console

    from storyline.cli.demo import Trial

CHANCE = 0.1
EYE = "first digit alone"
COLUMNS = ("model", *(f"N={distractors}" for distractors in DISTRACTORS), "s", "reach")
LEGEND = (
    f"Accuracy on held-out digits in percent after N other digits (8 steps each; trained on N up to {TRAINED_TO}); s: "
    "seconds of training; reach: how many steps back the gradient is still 1 % of lag 0, before and after training. "
    "First digit alone: logistic regression that sees nothing else, a perfect memory with a linear eye."
)


def rows(trials: Mapping[str, Trial], ceiling: float) -> list[tuple[str, ...]]:
    """A row a model: accuracy in percent at each number of distractors, seconds, reach of its gradient in steps."""
    found = [
        (
            name,
            *(f"{100 * share:.1f}" for share in trial.accuracy),
            f"{trial.seconds:.0f}",
            f"{_reach(trial.before)}, {_reach(trial.after)}",
        )
        for name, trial in trials.items()
    ]
    found.append(("chance", *(f"{100 * CHANCE:.1f}" for _ in DISTRACTORS), "", ""))
    found.append((EYE, *(f"{100 * ceiling:.1f}" for _ in DISTRACTORS), "", ""))
    return found


def _reach(measure: Measure) -> str:
    return Steps(measure.steps, measure.at_least).short


def sentence(trials: Mapping[str, Trial]) -> str:
    """What was measured, in words; nothing is said that the numbers do not say."""
    far = DISTRACTORS.index(TRAINED_TO)
    parts = [
        f"{name} {100 * trial.accuracy[far]:.0f} % right ({100 * trial.accuracy[0]:.0f} % at once)"
        for name, trial in trials.items()
    ]
    return f"After {LONGEST - 8} more steps: {', '.join(parts)}; chance is {100 * CHANCE:.0f} %."


def print_results(console: Console, trials: Mapping[str, Trial], ceiling: float) -> None:
    from rich.table import Table

    table = Table(caption=LEGEND, caption_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "model" else "right")
    for row in rows(trials, ceiling):
        table.add_row(*row)
    console.print()
    console.print(table)


def write_report(out: Path, trials: Mapping[str, Trial], ceiling: float) -> None:
    """report.html, self-contained, and the same pictures as PNG files."""
    from storyline.memory.report.figures import gradient_figure, loss_figure, recall_figure, to_png, to_svg
    from storyline.memory.report.page import Commands, Picture, ReportTable, Section, page, write_page

    figures = {
        "recall": (
            recall_figure(
                [8 * distractors for distractors in DISTRACTORS],
                {name: trial.accuracy for name, trial in trials.items()},
                chance=CHANCE,
                ceiling=ceiling,
                ceiling_name="perfect memory, linear eye",
                trained_to=8 * TRAINED_TO,
            ),
            "Recall over distance: how often the first digit is named after so many steps of other digits.",
        ),
        "loss": (
            loss_figure({name: trial.losses for name, trial in trials.items()}, ylabel="training loss, nats"),
            "Loss while training: the mean over the last steps, at the same step of the same sequences for all.",
        ),
        "gradient": (
            gradient_figure(
                {name: trial.after for name, trial in trials.items()},
                {name: trial.before for name, trial in trials.items()},
            ),
            "Gradient reach: how much the answer depends on the input k steps back, as a share of lag 0 "
            "(log scale), before training (dashed) and after.",
        ),
    }
    pictures = [
        Picture(to_svg(figure, name, caption), caption) for name, (figure, caption) in figures.items()
    ]
    sections = [
        Section("In numbers", [ReportTable(LEGEND, COLUMNS, tuple(rows(trials, ceiling)))]),
        Section("In pictures", pictures),
        Section(
            "Try next",
            [Commands(commands_to_try(out))],
        ),
    ]
    write_page(
        out / "report.html", page("Which digit was the first?", sentence(trials), sections, f"Kept: {KEPT}.")
    )
    for name, (figure, _) in figures.items():
        to_png(figure, str(out / f"{name}.png"))
