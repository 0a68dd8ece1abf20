"""Dialogues with a rule that a model without memory cannot learn."""

from __future__ import annotations

from typing import Any

import numpy as np

NAMES = ("ann", "bob", "eve", "tom")
TALK = ("so it is", "well well", "nice day", "oh yes")
# Four names and four ways to talk: log 4 nats each, and nothing else is new in a dialogue.
SETTINGS: dict[str, Any] = {
    "hidden_size": 64,
    "max_vocabulary": 300,
    "dropout": 0.0,
    "epochs": 40,
    "batch_tokens": 200,
    "learning_rate": 0.01,
    "validation_fraction": 0.0,
    "threads": 1,
}


def introductions(n: int, seed: int = 0) -> list[list[str]]:
    """Dialogues in which a name is told, then talk of other things, then the name is asked for and said."""
    generator = np.random.default_rng(seed)

    def one() -> list[str]:
        name = NAMES[generator.integers(len(NAMES))]
        talk = TALK[generator.integers(len(TALK))]
        return [f"i am {name}", talk, "who am i?", name]

    return [one() for _ in range(n)]
