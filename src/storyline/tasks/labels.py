"""Labels to places among the known ones, and known labels to a document and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from storyline.tasks.inputs import refuse_surrogates

_SHOWN = 10


def check_labels(labels: np.ndarray) -> None:
    """ValueError for labels that cannot be saved: dates, and texts with half a surrogate pair."""
    if labels.dtype.kind in "mM":
        raise ValueError(
            f"y holds labels of the type {labels.dtype}; give strings, integers or booleans, y.astype(str) say"
        )
    if labels.dtype.kind in "OU":
        for index, label in enumerate(labels.tolist()):
            if isinstance(label, str):
                refuse_surrogates(label, f"y[{index}]")


def check_same_number(X: Any, labels: np.ndarray) -> None:
    """ValueError where there are more or fewer labels than sequences."""
    if len(X) != len(labels):
        raise ValueError(f"X has {len(X)} sequences and y {len(labels)} labels; give one label for each")


def encode_labels(labels: np.ndarray, classes: np.ndarray, name: str = "y") -> np.ndarray:
    """The place (n,) int64 of each label among the sorted `classes`; ValueError names one that is not there."""
    places = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    unseen = np.flatnonzero(classes[places] != labels)
    if len(unseen):
        index = int(unseen[0])
        known = ", ".join(repr(label) for label in classes[:_SHOWN].tolist())
        more = f" and {len(classes) - _SHOWN} more" if len(classes) > _SHOWN else ""
        raise ValueError(
            f"{name}[{index}] is {labels[index : index + 1].tolist()[0]!r}, a label that was not in training; "
            f"known labels: {known}{more}"
        )
    return places.astype(np.int64)


def labels_to_document(classes: np.ndarray) -> dict[str, Any]:
    """JSON-able; keeps the dtype."""
    return {"dtype": classes.dtype.str, "labels": classes.tolist()}


def labels_from_document(document: dict[str, Any]) -> np.ndarray:
    """The inverse of `labels_to_document`."""
    return np.array(document["labels"], dtype=np.dtype(document["dtype"]))
