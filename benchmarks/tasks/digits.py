"""The handwritten digits that scikit-learn ships: the first of 31 (the demo), and 64 pixels one a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from benchmarks.tasks.harness import Benchmark, Outcome
from benchmarks.tasks.scoring import fitted
from storyline import Classifier
from storyline.cli import demo
from storyline.cli.first_digit import digits, training_set

TINY = 100


def eye(tiny: bool) -> dict[str, float]:
    """Chance, and logistic regression on the first digit alone."""
    training, held_out = digits()
    return {"chance": 10.0, "logistic regression": 100 * demo.first_digit_alone(training, held_out)}


def first_of_31(name: str, seed: int, tiny: bool) -> Outcome:
    """Accuracy in percent after 30 distractors; that at each other number of them is in the details."""
    training, held_out = digits()
    sequences = training_set(training, demo.TRAINED_TO, TINY if tiny else demo.SEQUENCES, seed)
    settings = demo.MODELS[name] | {"threads": torch.get_num_threads()}
    if tiny:
        settings |= {"epochs": 1, "hidden_size": 8}
    trial = demo.run_trial(settings, sequences, held_out, seed=seed)
    accuracy = dict(zip(demo.DISTRACTORS, trial.accuracy, strict=True))
    details = {f"N={distractors}": 100 * share for distractors, share in accuracy.items()}
    return Outcome(
        100 * accuracy[demo.TRAINED_TO],
        trial.seconds,
        trial.model.training_summary_["parameters"],
        details | {"reach before": float(trial.before.steps), "reach after": float(trial.after.steps)},
    )


def shifted(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """Images (n, 8, 8) moved by at most one pixel each way, zeros moving in."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    return padded[:, 1 - down : 9 - down, 1 - right : 9 - right]


def pixels(settings: dict[str, Any], seed: int, tiny: bool) -> Outcome:
    """Accuracy in percent on held-out digits read one pixel a step.

    Half of the training images are as they are, half moved by a pixel in one of the eight directions.
    """
    training, held_out = digits()
    moves = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    copies = [shifted(training.images, *move) for move in moves for _ in range(8 if move == (0, 0) else 1)]
    x, y = np.concatenate(copies).reshape(-1, 64, 1), np.tile(training.labels, len(copies))
    if tiny:
        x, y, settings = x[:TINY], y[:TINY], settings | {"epochs": 1, "hidden_size": 8}
    model, seconds, parameters = fitted(
        Classifier(**settings, seed=seed, threads=torch.get_num_threads()), x, y
    )
    test = held_out.images.reshape(-1, 64, 1)
    return Outcome(100 * float(model.score(test, held_out.labels)), seconds, parameters)


def pixel_baseline(tiny: bool) -> dict[str, float]:
    training, held_out = digits()
    model = LogisticRegression(max_iter=2000).fit(training.images.reshape(-1, 64), training.labels)
    return {"logistic regression": 100 * float(model.score(held_out.images.reshape(-1, 64), held_out.labels))}


PIXELS: dict[str, Any] = {
    "hidden_size": 96,
    "bidirectional": False,
    "pooling": "last",
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "epochs": 7,
    "max_steps": 2800,
    "batch_size": 50,
    "learning_rate": 1e-2,
    "weight_decay": 0.0,
    "average": 0.99,
    "validation_fraction": 0.0,
}


def _first(name: str, short: str) -> Benchmark:
    """Only the model that was told to remember owes anything: at most 3 points less than without distractors."""
    return Benchmark(
        name=f"first_of_31_{short}",
        data=(),
        title=f"handwritten digits, the first of 31: {name}",
        metric="held-out accuracy, %",
        must=(lambda baselines, details: details["N=0"] - 3) if name == demo.KEPT else None,
        aim=None,
        higher_is_better=True,
        baselines=eye,
        run=lambda seed, tiny: first_of_31(name, seed, tiny),
        model=f"{name}, {demo.BUDGET['hidden_size']} units",
    )


def _pixels(core: str, short: str, model: str, more: dict[str, Any]) -> Benchmark:
    return Benchmark(
        name=f"digit_pixels_{short}",
        data=(),
        title=f"handwritten digits, 64 pixels one a step: {core}",
        metric="held-out accuracy, %",
        must=96.0 if core == "LSTM" else None,  # the RNN stands beside it, and owes nothing
        aim=98.0 if core == "LSTM" else None,
        higher_is_better=True,
        baselines=pixel_baseline,
        run=lambda seed, tiny: pixels(PIXELS | more, seed, tiny),
        model=model,
    )


BENCHMARKS = [
    *(
        _first(name, short)
        for name, short in zip(demo.MODELS, ("rnn", "lstm_torch", "lstm_remember"), strict=True)
    ),
    _pixels("LSTM", "lstm", "LSTM 96", {"remember": None}),
    _pixels(
        "orthogonal RNN",
        "rnn",
        "vanilla RNN 96, scaled orthogonal",
        {"core": "rnn", "remember": 64, "learning_rate": 1e-3},
    ),
]
