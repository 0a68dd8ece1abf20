"""MNIST read as a sequence: a row of 28 pixels a step, or a pixel a step."""

from __future__ import annotations

import gzip
from functools import cache
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from benchmarks.tasks.harness import Benchmark, Outcome
from benchmarks.tasks.scoring import fitted
from benchmarks.tasks.sources import data_file
from storyline import Classifier

TINY = 600


@cache
def images(part: str) -> tuple[np.ndarray, np.ndarray]:
    """(n, 28, 28) float32 in 0..1 and labels; `part` is train or t10k, the official split."""

    def read(kind: str, offset: int) -> np.ndarray:
        with gzip.open(data_file("mnist", f"{part}-{kind}-ubyte.gz")) as file:
            return np.frombuffer(file.read(), np.uint8, offset=offset)

    pixels = read("images-idx3", 16).reshape(-1, 28, 28).astype(np.float32) / 255
    return pixels, read("labels-idx1", 8).astype(np.int64)


def softmax_regression(tiny: bool) -> dict[str, float]:
    (x, y), (x_test, y_test) = images("train"), images("t10k")
    if tiny:
        x, y = x[:TINY], y[:TINY]
    model = LogisticRegression(C=0.1, max_iter=300, tol=1e-3)
    model.fit(x.reshape(len(x), -1), y)
    return {"softmax regression": 100 * float(model.score(x_test.reshape(len(x_test), -1), y_test))}


def read_rows(seed: int, tiny: bool) -> Outcome:
    """Test accuracy in percent of a Classifier that reads a row of 28 pixels a step."""
    (x, y), (x_test, y_test) = images("train"), images("t10k")
    settings = ROWS
    if tiny:
        x, y, x_test, y_test = x[:TINY, 12:16], y[:TINY], x_test[:50, 12:16], y_test[:50]
        settings = settings | {"epochs": 1, "hidden_size": 8}
    model, seconds, parameters = fitted(
        Classifier(**settings, seed=seed, threads=torch.get_num_threads()), x, y
    )
    return Outcome(100 * float(model.score(x_test, y_test)), seconds, parameters)


def read_pixels(seed: int, tiny: bool) -> Outcome:
    """Test accuracy in percent of a Classifier that reads 784 pixels one a step.

    It first learns from the same images at half the resolution (196 steps), then its gates are slowed four times and it
    goes on at 784 steps; both fits count in the seconds, and the test is at 784 steps only.
    """
    (x, y), (x_test, y_test) = images("train"), images("t10k")
    coarse, fine = COARSE, FINE
    if tiny:
        x, y, x_test, y_test = x[:TINY, 12:16], y[:TINY], x_test[:50, 12:16], y_test[:50]
        small = {"max_steps": 3, "hidden_size": 8}
        coarse, fine = coarse | small, fine | small
    halves = x.reshape(len(x), x.shape[1] // 2, 2, 14, 2).mean((2, 4))
    model = Classifier(**coarse, seed=seed, threads=torch.get_num_threads())
    model, first, parameters = fitted(model, halves.reshape(len(x), -1, 1), y)
    model.stretch(4).set_params(**fine, warm_start=True)
    model, second, _ = fitted(model, x.reshape(len(x), -1, 1), y)
    accuracy = 100 * float(model.score(x_test.reshape(len(x_test), -1, 1), y_test))
    return Outcome(accuracy, first + second, parameters, {"seconds at 196 steps": first})


LAST: dict[str, Any] = {
    "bidirectional": False,
    "pooling": "last",
    "label_smoothing": 0.0,
    "validation_fraction": 0.0,
    "warmup": 0.1,
}
ROWS = LAST | {
    "hidden_size": 128,
    "dropout": 0.2,
    "batch_size": 128,
    "epochs": 12,
    "learning_rate": 6e-3,
}
COARSE = LAST | {
    "hidden_size": 64,
    "dropout": 0.0,
    "weight_decay": 0.0,
    "supervise_every": 14,
    "supervise_weight": 0.3,
    "batch_size": 32,
    "epochs": 4,
    "max_steps": 6000,
    "learning_rate": 5e-3,
}
FINE: dict[str, Any] = {
    "supervise_every": 28,
    "batch_size": 64,
    "epochs": 2,
    "max_steps": 1400,
    "learning_rate": 3e-3,
}

BENCHMARKS = [
    Benchmark(
        name="mnist_rows",
        data=("mnist",),
        title="MNIST, a row a step",
        metric="test accuracy, %",
        must=98.5,
        aim=99.0,
        higher_is_better=True,
        baselines=softmax_regression,
        run=read_rows,
        model="LSTM 128, remember=28",
    ),
    Benchmark(
        name="mnist_pixels",
        data=("mnist",),
        title="MNIST, a pixel a step",
        metric="test accuracy, %",
        must=95.0,
        aim=98.0,
        higher_is_better=True,
        baselines=softmax_regression,
        run=read_pixels,
        model="LSTM 64, remember=784",
    ),
]
