"""`python -m benchmarks.memory.remember`: LSTM(64, remember=T) against torch.nn.LSTM(64) as it comes.

Both learn the adding problem at T = 400 and copy at T = 100 (`--far`: at T = 1,000 and at T = 500, what is aimed at)
from stories of that distance alone, with the same batches and optimiser, without curriculum, perturbation or
sharpening, from 5 seeds; asked are 200 test stories at T. Rows go to results/remember.csv as they are finished; the
same command again goes on. `--tiny` takes seconds and records nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.record import surroundings
from storyline.stories import Story
from storyline.stories.benchmark import Row, Run
from storyline.stories.learning import Learning
from storyline.stories.results_file import run_into

FILE = Path(__file__).parent / "results" / "remember.csv"
OURS, THEIRS = "lstm_plain", "torch_lstm"
# Of each story the distance and the batches: what is claimed, and what is aimed at.
CLAIMED = {"adding": (400, 1_500), "copy": (100, 3_000)}
FAR = {"adding": (1_000, 1_500), "copy": (500, 5_000)}


def runs_of(seeds: int, **tasks: tuple[int, int]) -> list[Run]:
    """Both layers on each story at its distance for so many batches, a seed after the other."""
    learning = Learning(
        seconds=None,
        batches=1,
        hidden_size=64,
        curriculum=False,
        perturbation=None,
        rest=None,
        sharpenings=(1.0,),
    )
    return [
        Run(Story(name, distance), cell, seed, (distance,), replace(learning, batches=batches))
        for name, (distance, batches) in tasks.items()
        for seed in range(seeds)
        for cell in (OURS, THEIRS)
    ]


def said(rows: list[Row], left: int) -> None:
    """Print what a run recalled."""
    for row in rows:
        share, chance = float(row["accuracy"]), float(row["chance"])
        print(
            f"{row['story']} at {row['distance']}, {row['cell']}, seed {row['seed']}: {share:.0%} (chance "
            f"{chance:.0%}) after {row['training_seconds']} s; {left} left",
            flush=True,
        )


def tiny() -> None:
    """All of it at a size that takes seconds, in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        small = [
            replace(run, learning=replace(run.learning, hidden_size=4), examples=4)
            for run in runs_of(1, adding=(20, 2), copy=(5, 2))
        ]
        run_into(Path(folder) / "remember.csv", small, place=dict(surroundings()), progress=said)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory.remember", description=__doc__)
    parser.add_argument("--stories", nargs="+", choices=list(CLAIMED), default=list(CLAIMED))
    parser.add_argument("--far", action="store_true", help="at the distances aimed at; 90 processor minutes")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side, one thread each")
    parser.add_argument("--tiny", action="store_true", help="seconds; the numbers mean nothing")
    asked = parser.parse_args()
    if asked.tiny:
        tiny()
        return
    tasks = FAR if asked.far else CLAIMED
    runs = runs_of(asked.seeds, **{name: tasks[name] for name in asked.stories})
    run_into(FILE, runs, jobs=asked.jobs, place=dict(surroundings()), progress=said)


if __name__ == "__main__":
    main()
