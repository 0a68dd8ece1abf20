"""Small sequences with a rule that a broken model cannot learn."""

from __future__ import annotations

from typing import Any

import numpy as np

QUICK: dict[str, Any] = {"hidden_size": 16, "embedding_size": 16, "threads": 1, "validation_fraction": 0.0}

# The first word decides; the rest distracts.
RIGHT, LEFT = "right", "left"
OTHERS = ("and", "the", "road", "goes", "on", "past", "a", "house")


def first_word_decides(n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts of 3 to 12 words whose first word is their label; the other label's word may come later."""
    generator = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(n):
        label = (RIGHT, LEFT)[generator.integers(2)]
        rest = generator.choice([*OTHERS, RIGHT, LEFT], size=generator.integers(2, 12))
        texts.append(" ".join([label, *rest]))
        labels.append(label)
    return texts, labels


def parity_of_markers(n: int, seed: int = 0, longest: int = 12) -> tuple[list[np.ndarray], np.ndarray]:
    """Ragged series of two channels, noise and markers (0 or 1); the label is the parity of the markers."""
    generator = np.random.default_rng(seed)
    series, labels = [], []
    for _ in range(n):
        steps = int(generator.integers(3, longest))
        markers = generator.random(steps) < 0.25
        series.append(np.stack([generator.normal(size=steps), markers], axis=1))
        labels.append(int(markers.sum()) % 2)
    return series, np.array(labels)


def after_a_digit(n: int, seed: int = 0) -> tuple[list[list[str]], list[list[str]]]:
    """Sentences whose tags need the word before and the spelling: after a digit NEAR, capitals NAME, else WORD."""
    generator = np.random.default_rng(seed)
    letters = list("abcdefgh")
    sentences, tags = [], []
    for _ in range(n):
        words, marks = [], []
        for _ in range(int(generator.integers(3, 9))):
            after = bool(words) and words[-1].isdigit()
            word = "".join(generator.choice(letters, size=4))
            kind = generator.integers(3)
            word = (word, word.upper(), str(generator.integers(10)))[kind]
            words.append(word)
            marks.append("NEAR" if after else ("WORD", "NAME", "DIGIT")[kind])
        sentences.append(words)
        tags.append(marks)
    return sentences, tags
