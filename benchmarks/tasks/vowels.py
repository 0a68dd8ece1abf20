"""JapaneseVowels: who speaks, from 7 to 29 steps of 12 cepstral coefficients."""

from __future__ import annotations

import gzip
from functools import cache
from typing import Any

import numpy as np
import torch

from benchmarks.tasks.harness import Benchmark, Outcome
from benchmarks.tasks.scoring import fitted
from benchmarks.tasks.sources import data_file
from storyline import Classifier


@cache
def read(part: str) -> tuple[list[np.ndarray], list[str]]:
    """Series (time, 12) float32 and speakers; `part` is TRAIN or TEST, the official split."""
    path = data_file("ucr_uea", f"JapaneseVowels/*{part}*")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.strip() and line[0] not in "#@"]
    series, speakers = [], []
    for line in lines:
        *channels, speaker = line.split(":")
        series.append(np.array([channel.split(",") for channel in channels], dtype=np.float32).T)
        speakers.append(speaker)
    return series, speakers


def dtw_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Dynamic time warping with squared Euclidean cost between (time_a, channels) and (time_b, channels)."""
    cost = ((a[:, None, :] - b[None, :, :]) ** 2).sum(-1)
    total = np.full((len(a) + 1, len(b) + 1), np.inf)
    total[0, 0] = 0
    for i in range(len(a)):
        for j in range(len(b)):
            total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    return float(total[-1, -1])


def nearest_neighbour(tiny: bool) -> dict[str, float]:
    (series, speakers), (tests, answers) = read("TRAIN"), read("TEST")
    if tiny:
        series, speakers, tests, answers = series[::30], speakers[::30], tests[::60], answers[::60]
    nearest = [speakers[int(np.argmin([dtw_distance(test, one) for one in series]))] for test in tests]
    return {
        "1-NN DTW": 100
        * float(np.mean([found == answer for found, answer in zip(nearest, answers, strict=True)]))
    }


def classify(settings: dict[str, Any], seed: int, tiny: bool) -> Outcome:
    settings = settings | {"epochs": 2} if tiny else settings
    model = Classifier(**settings, seed=seed, threads=torch.get_num_threads())
    model, seconds, parameters = fitted(model, *read("TRAIN"))
    return Outcome(100 * model.score(*read("TEST")), seconds, parameters)


RECIPE: dict[str, Any] = {"hidden_size": 100, "bidirectional": True, "validation_fraction": 0.0}

BENCHMARKS = [
    Benchmark(
        name="japanese_vowels",
        data=("ucr_uea",),
        title="JapaneseVowels, ragged, 12 channels",
        metric="test accuracy, %",
        must=97.0,
        aim=99.0,
        higher_is_better=True,
        baselines=nearest_neighbour,
        run=lambda seed, tiny: classify(RECIPE, seed, tiny),
        model="bidirectional LSTM 100",
    )
]
