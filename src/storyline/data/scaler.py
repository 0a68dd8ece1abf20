"""Scaler: mean 0 and standard deviation 1 for every channel, learned from the training part only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from storyline.data.source import DataError


class Scaler:
    """`(x - mean) / scale` by channel, over all steps of all sequences; a constant channel has scale 1.

    mean, scale: (channels,) float64, None before fit.
    constant: (channels,) bool, the channels that did not vary in fit; None for a scaler that was not fitted here.
    """

    def __init__(self) -> None:
        self.mean: NDArray[np.float64] | None = None
        self.scale: NDArray[np.float64] | None = None
        self.constant: NDArray[np.bool_] | None = None

    def fit(self, sequences: Sequence[NDArray[Any]]) -> Self:
        """Learn from arrays (time, channels)."""
        if not sequences:
            raise DataError("the scaler got no sequences; give at least one")
        channels = sequences[0].shape[-1]
        for index, sequence in enumerate(sequences):
            _check(index, sequence, channels)
        # Two passes in float64: the one-pass formula loses all digits where the mean is large. Sums are taken of
        # differences from a first value, so that a constant channel is its mean to the last bit.
        steps = sum(len(sequence) for sequence in sequences)
        first = next((x[0] for x in sequences if len(x)), np.zeros(channels)).astype(np.float64)
        mean = first + sum(((x - first).sum(axis=0) for x in sequences), np.zeros(channels)) / steps
        squares = sum((((x - mean) ** 2).sum(axis=0) for x in sequences), np.zeros(channels))
        deviation = np.sqrt(squares / steps)
        # Up to this the spread is the rounding of the data's own precision, not signal.
        self.constant = deviation <= np.abs(mean) * max(map(_rounding, {x.dtype for x in sequences}))
        self.mean, self.scale = mean, np.where(self.constant, 1.0, deviation)
        return self

    def transform(self, sequences: Iterable[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Arrays (time, channels) as float32, scaled in float64: what varies on a large offset would be lost before."""
        if self.mean is None or self.scale is None:
            raise DataError("the scaler has learned nothing yet; call fit first")
        scaled = []
        for index, sequence in enumerate(sequences):
            _check(index, sequence, len(self.mean))
            scaled.append(((sequence - self.mean) / self.scale).astype(np.float32))
        return scaled

    def to_document(self) -> dict[str, Any]:
        """A JSON-able dictionary; JSON writes floats so that they are read back exactly."""
        assert self.mean is not None
        assert self.scale is not None
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Scaler:
        scaler = cls()
        scaler.mean = np.array(document["mean"], dtype=np.float64)
        scaler.scale = np.array(document["scale"], dtype=np.float64)
        return scaler


def _rounding(dtype: np.dtype[Any]) -> float:
    """The relative spacing of floating numbers; 0 for whole ones."""
    return float(np.finfo(dtype).eps) if np.issubdtype(dtype, np.floating) else 0.0


def _check(index: int, sequence: NDArray[Any], channels: int) -> None:
    if sequence.ndim != 2 or sequence.shape[1] != channels:
        raise DataError(
            f"sequence {index} has shape {sequence.shape}; (time, {channels}) was wanted, "
            "the same channels in every sequence"
        )
