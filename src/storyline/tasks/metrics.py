"""How good predicted classes are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import f1_score


def class_metrics(predicted: np.ndarray, right: np.ndarray, loss: float) -> dict[str, Any]:
    """accuracy, macro_f1, loss (the mean, in nats) and n of predicted and right classes, both (n,)."""
    return {
        "accuracy": float((predicted == right).mean()),
        "macro_f1": float(f1_score(right, predicted, average="macro", zero_division=0.0)),
        "loss": loss,
        "n": len(right),
    }


def counts_by_class(
    predicted: np.ndarray, right: np.ndarray, names: Sequence[str]
) -> dict[str, dict[str, int]]:
    """For each class that comes in `right`: how often it comes, is predicted, and is predicted rightly."""
    return {
        names[place]: {
            "n": int((right == place).sum()),
            "right": int(((right == place) & (predicted == place)).sum()),
            "predicted": int((predicted == place).sum()),
        }
        for place in np.unique(right).tolist()
    }
