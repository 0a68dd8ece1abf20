"""README's opening: how far back an LSTM as torch starts it remembers after training, and one with `remember=`.

Both learn the question of `storyline demo`: a handwritten digit is shown row by row, then 30 others; which was the
first? Rows go to results/opening.csv, the pictures to docs/pictures/horizon-*.png, the answers into README.md.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import torch

from benchmarks.readme import README, between_marks
from benchmarks.record import ROOT, append_row, surroundings
from storyline.cli.demo import KEPT, MODELS, SEQUENCES, TRAINED_TO, held_out_questions, run_trial
from storyline.cli.first_digit import Digits, digits, training_set
from storyline.memory import Horizon, horizon
from storyline.memory.report.figures import to_png
from storyline.tasks import Classifier

RESULTS = Path(__file__).parent / "results" / "opening.csv"
PICTURES = ROOT / "docs" / "pictures"
# Model -> how the picture's file is called.
SHOWN = {"LSTM as in torch": "as-in-torch", KEPT: "remember"}


def add_to(commands: Any) -> None:
    parser = commands.add_parser("opening", description=__doc__, help="README's first answer and its picture")
    parser.add_argument("--tiny", action="store_true", help="seconds; nothing is written")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    place = surroundings()
    training, held_out = digits()
    sequences = training_set(training, TRAINED_TO, 310 if options.tiny else SEQUENCES, 0)
    for name, file in SHOWN.items():
        trial = run_trial(MODELS[name], sequences, held_out)
        found = measured(trial.model, held_out)
        print(f"{name}: {found}", flush=True)
        if not options.tiny:
            to_png(found.plot().figure, str(PICTURES / f"horizon-{file}.png"))  # type: ignore[arg-type]
            for row in rows(name, found):
                append_row(RESULTS, row | place)
    if not options.tiny:
        text = README.read_text(encoding="utf-8")
        README.write_text(between_marks(text, {"horizon": opening()}), encoding="utf-8")
    return 0


def measured(model: Classifier, held_out: Digits) -> Horizon:
    """The horizon over the held-out questions with as many distractors as in training."""
    shown, answers = held_out_questions(held_out, TRAINED_TO)
    probe = model.memory_probe(shown, answers, sample=len(shown))
    # No recall: a step planted anywhere is no digit, and a model that keeps the first digit does well to drop it.
    return horizon(
        probe.model,
        torch.stack(list(probe.inputs)),
        probe.targets,
        measures=("counterfactual", "gradient", "use"),
    )


def rows(name: str, found: Horizon) -> list[dict[str, Any]]:
    """A row a measure; `answer` is what print() says of the whole."""
    return [
        {"model": name, "measure": measure, "steps": each.steps, "low": each.low, "high": each.high,
         "at_least": each.at_least, "sequences": each.sequences, "answer": found.headline}
        for measure, each in found.measures.items()
    ]  # fmt: skip


def opening() -> str:
    """The block of README: the newest answer of each model."""
    with RESULTS.open(newline="", encoding="utf-8") as file:
        newest = {row["model"]: row["answer"] for row in csv.DictReader(file)}
    lines = [f"    {name + ':':<{max(map(len, SHOWN)) + 1}} {newest[name]}" for name in SHOWN]
    return "\n".join(lines)
