"""MNIST read as a sequence: a row of 28 pixels a step, or a pixel a step."""

from __future__ import annotations

import gzip
from functools import cache
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks.record import DATA
from benchmarks.tasks.harness import THREADS, Benchmark, Outcome
from benchmarks.tasks.scoring import fitted
from storyline import Classifier

TINY = 600


@cache
def images(part: str) -> tuple[np.ndarray, np.ndarray]:
    """(n, 28, 28) float32 in 0..1 and labels; `part` is train or t10k, the official split."""

    def read(kind: str, offset: int) -> np.ndarray:
        with gzip.open(DATA / "mnist" / f"{part}-{kind}-ubyte.gz") as file:
            return np.frombuffer(file.read(), np.uint8, offset=offset)

    pixels = read("images-idx3", 16).reshape(-1, 28, 28).astype(np.float32) / 255
    return pixels, read("labels-idx1", 8).astype(np.int64)


def softmax_regression(tiny: bool) -> dict[str, float]:
    (x, y), (x_test, y_test) = images("train"), images("t10k")
    if tiny:
        x, y = x[:TINY], y[:TINY]
    model = LogisticRegression(C=0.1, max_iter=60, tol=1e-3)
    model.fit(x.reshape(len(x), -1), y)
    return {"softmax regression": 100 * float(model.score(x_test.reshape(len(x_test), -1), y_test))}


def classify(shape: tuple[int, int], settings: dict[str, Any], seed: int, tiny: bool) -> Outcome:
    """Test accuracy in percent of a Classifier that reads (steps, channels) = `shape`."""
    (x, y), (x_test, y_test) = images("train"), images("t10k")
    if tiny:
        x, y, x_test, y_test = x[:TINY, 10:14], y[:TINY], x_test[:50, 10:14], y_test[:50]
        shape = (4 * 28 // shape[1], shape[1])
        settings = settings | {"epochs": 1, "hidden_size": 8}
    model = Classifier(**settings, seed=seed, threads=THREADS)
    model, seconds, parameters = fitted(model, x.reshape(-1, *shape), y)
    accuracy = 100 * model.score(x_test.reshape(-1, *shape), y_test)
    return Outcome(accuracy, seconds, parameters)


ROW: dict[str, Any] = {
    "hidden_size": 128,
    "batch_size": 64,
    "epochs": 8,
    "learning_rate": 3e-3,
    "schedule": "one_cycle",
    "dropout": 0.1,
    "validation_fraction": 0.0,
}
PIXEL: dict[str, Any] = {
    "hidden_size": 64,
    "batch_size": 64,
    "epochs": 3,
    "learning_rate": 5e-3,
    "schedule": "one_cycle",
    "dropout": 0.0,
    "remember": 784,
    "validation_fraction": 0.0,
}

BENCHMARKS = [
    Benchmark(
        name="mnist_rows",
        title="MNIST, a row a step",
        metric="test accuracy, %",
        must=98.5,
        aim=99.0,
        higher_is_better=True,
        baselines=softmax_regression,
        run=lambda seed, tiny: classify((28, 28), ROW, seed, tiny),
        model="LSTM 128, remember=28",
    ),
    Benchmark(
        name="mnist_pixels",
        title="MNIST, a pixel a step",
        metric="test accuracy, %",
        must=95.0,
        aim=98.0,
        higher_is_better=True,
        baselines=softmax_regression,
        run=lambda seed, tiny: classify((784, 1), PIXEL, seed, tiny),
        model="LSTM 64, remember=784",
    ),
]
