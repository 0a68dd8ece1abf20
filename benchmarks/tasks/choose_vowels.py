"""`python -m benchmarks.tasks.choose_vowels`: noise and dropout of short series, by JapaneseVowels' training part.

Cross-validation in stratified folds; the test part is never read. A row a setting goes to results/choices/.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold

from benchmarks.record import append_row, surroundings
from benchmarks.tasks import vowels
from benchmarks.tasks.harness import RESULTS
from benchmarks.tasks.sources import MissingDataError, check
from storyline import Classifier

NOISE = (0.0, 0.1, 0.3)
DROPOUT = (0.0, 0.25, 0.5)
PATH = RESULTS / "choices" / "japanese_vowels.csv"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks.choose_vowels", description=__doc__)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the folds and of every fit")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        check(["ucr_uea"])
    except MissingDataError as error:
        parser.exit(1, f"{error}\n")
    place = surroundings()  # of the code that runs, whatever is committed meanwhile
    for row in choose(arguments.folds, arguments.seed):
        print(f"noise {row['noise']}, dropout {row['dropout']}: {row['mean']} ({row['values']})", flush=True)
        append_row(PATH, row | place)


def choose(folds: int, seed: int, settings: dict[str, Any] | None = None) -> Iterator[dict[str, object]]:
    """A row a pair of noise and dropout: the accuracy in percent on each held-out fold, and the mean.

    settings  in the place of the benchmark's, for instance to be quick
    """
    series, speakers = vowels.read("TRAIN")
    splits = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(series, speakers))
    for noise, dropout in product(NOISE, DROPOUT):
        began = time.process_time()
        recipe = vowels.RECIPE | (settings or {}) | {"noise": noise, "dropout": dropout, "seed": seed}
        values = [100 * _accuracy(recipe, series, speakers, *split) for split in splits]
        yield {
            "noise": noise,
            "dropout": dropout,
            "mean": round(statistics.fmean(values), 4),
            "spread": round(statistics.stdev(values), 4),
            "values": " ".join(f"{value:.4f}" for value in values),
            "folds": folds,
            "seed": seed,
            "cpu_seconds": round(time.process_time() - began, 1),
            "threads": torch.get_num_threads(),
        }


def _accuracy(
    recipe: dict[str, Any],
    series: list[np.ndarray],
    speakers: list[str],
    train: np.ndarray,
    held_out: np.ndarray,
) -> float:
    model = Classifier(**recipe, threads=torch.get_num_threads())
    model.fit([series[i] for i in train], [speakers[i] for i in train])
    return float(model.score([series[i] for i in held_out], [speakers[i] for i in held_out]))


if __name__ == "__main__":
    main()
