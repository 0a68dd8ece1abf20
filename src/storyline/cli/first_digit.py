"""The question of the demo: a handwritten digit is shown row by row, then N others; which was the first?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

ROWS = 8  # a digit is 8 rows (steps) of 8 pixels (channels)


@dataclass(frozen=True)
class Digits:
    """Images (n, 8, 8) in 0..1, float32, and which digit each shows, "0" to "9" (n,)."""

    images: np.ndarray
    labels: np.ndarray


def digits() -> tuple[Digits, Digits]:
    """(training, held out): the 1,797 digits that scikit-learn ships, four fifths and one fifth of each class."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    found: Any = load_digits()
    images = (found.images / 16).astype(np.float32)
    shown = found.target.astype(str)
    parts = train_test_split(images, shown, test_size=0.2, stratify=shown, random_state=0)
    return Digits(parts[0], parts[2]), Digits(parts[1], parts[3])


def question(
    pool: Digits, first: np.ndarray, distractors: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sequences (len(first), 8 * (1 + distractors), 8), and the answers (len(first),).

    first        rows of `pool` to begin with
    distractors  how many other digits follow, drawn from the same pool
    """
    others = generator.integers(len(pool.labels), size=(len(first), distractors))
    shown = pool.images[np.column_stack([first, others])]
    return shown.reshape(len(first), -1, shown.shape[-1]), pool.labels[first]


def training_set(pool: Digits, most: int, sequences: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """`sequences` questions with 0 to `most` distractors, each number equally often; ragged."""
    generator = np.random.default_rng(seed)
    inputs: list[np.ndarray] = []
    answers: list[np.ndarray] = []
    for distractors, rows in enumerate(np.array_split(np.arange(sequences), most + 1)):
        first = generator.integers(len(pool.labels), size=len(rows))
        shown, labels = question(pool, first, distractors, generator)
        inputs.extend(shown)
        answers.append(labels)
    return inputs, np.concatenate(answers)
