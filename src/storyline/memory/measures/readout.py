"""A linear readout of classes from states, fitted on one half of the sequences and scored on the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from storyline.memory.measures.curve import Array

_SHUFFLES = 100
# The ridge, as shares of the mean variance of a direction of the states.
_RIDGES = (1e-9, 1e-6, 1e-4, 1e-2, 1.0)


@dataclass(frozen=True, eq=False)
class Reading:
    """What a readout got right.

    Attributes:
        right: (samples,) bool, each told by a readout that has not seen its sequence.
        chance: accuracy's 95th percentile for shuffled classes.
    """

    right: NDArray[np.bool_]
    chance: float

    @property
    def skill(self) -> float:
        """(accuracy - chance) / (1 - chance); 0 where that is negative."""
        return (
            max(0.0, (float(self.right.mean()) - self.chance) / (1.0 - self.chance))
            if self.chance < 1
            else 0.0
        )


class Readout:
    """Tells classes from states by ridge regression on indicators (Hoerl and Kennard 1970; with two classes Fisher's).

        W = (X'X + r I)^-1 X'Y,     class = argmax of (x - mean) W + mean of Y

    on states centred and scaled by the fitted half; r minimises the generalised cross-validation of that half. The
    halves and the shuffles are drawn once, for states at any number of lags.

    Args:
        classes: (samples,) in 0 ... count - 1.
        groups: (samples,) what a sample comes from; a group is in one half as a whole.
        count: number of classes.
        seed: of the halves and the shuffles.
    """

    def __init__(self, classes: NDArray[np.int64], groups: NDArray[np.int64], count: int, seed: int) -> None:
        generator = np.random.default_rng(seed)
        names, place = np.unique(groups, return_inverse=True)
        half = (generator.permutation(len(names)) % 2 == 0)[place]
        # the classes as they are, and shuffled: (variants, samples)
        self._variants = np.stack([classes, *(generator.permutation(classes) for _ in range(_SHUFFLES))])
        indicators = (self._variants[..., None] == np.arange(count)).astype(np.float64)
        self._halves = [(fitted, _centred(indicators[:, fitted])) for fitted in (half, ~half)]

    def read(self, states: Tensor) -> Reading:
        """What is told from states (samples, size)."""
        values = states.numpy().astype(np.float64)
        right = np.zeros(self._variants.shape, dtype=bool)
        for fitted, targets in self._halves:
            scores = _predict(values[fitted], targets, values[~fitted])
            right[:, ~fitted] = scores.argmax(-1) == self._variants[:, ~fitted]
        return Reading(right[0], float(np.quantile(right[1:].mean(1), 0.95)))


@dataclass(frozen=True, eq=False)
class _Targets:
    """What all variants are fitted to by one product: `centre` (variants, 1, classes) and, less that, `aside`.

    aside  (samples, variants * classes)
    """

    centre: Array
    aside: Array


def _centred(indicators: Array) -> _Targets:
    """Of indicators (variants, samples, classes)."""
    centre = indicators.mean(1, keepdims=True)
    return _Targets(centre, (indicators - centre).transpose(1, 0, 2).reshape(indicators.shape[1], -1))


def _predict(x: Array, targets: _Targets, new: Array) -> Array:
    """(variants, new, classes) from x (n, size), its targets and new x; the ridge is variant 0's best."""
    mean, scale = x.mean(0), x.std(0)
    alive = scale > 1e-12 * max(float(np.abs(x).max(initial=0.0)), 1e-300)
    x, new = (x - mean)[:, alive] / scale[alive], (new - mean)[:, alive] / scale[alive]
    centre, aside = targets.centre, targets.aside
    variants, _, classes = centre.shape
    if not alive.any():
        return np.broadcast_to(centre, (variants, len(new), classes))
    # eigenvectors of the smaller of the two products serve both shapes
    wide = x.shape[1] > x.shape[0]
    eigenvalues, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    kept = eigenvalues > 1e-10 * eigenvalues[-1]
    eigenvalues, vectors = eigenvalues[kept], vectors[:, kept]
    left = vectors if wide else x @ vectors / np.sqrt(eigenvalues)
    fresh = new @ (x.T @ vectors / np.sqrt(eigenvalues) if wide else vectors)
    projected = left.T @ aside
    best, chosen = np.inf, 0.0
    for ridge in _RIDGES:
        r = ridge * len(x)
        shrink = eigenvalues / (eigenvalues + r)
        rest = aside[:, :classes] - left @ (shrink[:, None] * projected[:, :classes])
        error = (
            float(np.square(rest).sum()) / (1.0 - shrink.sum() / len(x)) ** 2
            if shrink.sum() < len(x)
            else np.inf
        )
        if error < best:
            best, chosen = error, r
    shrunk = np.sqrt(eigenvalues) / (eigenvalues + chosen)
    told = ((fresh * shrunk) @ projected).reshape(len(new), variants, classes)
    result: Array = told.transpose(1, 0, 2) + centre
    return result
