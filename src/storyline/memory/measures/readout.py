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
        # the classes as they are, and shuffled: (samples, variants)
        variants = [classes, *(generator.permutation(classes) for _ in range(_SHUFFLES))]
        self._variants = np.stack(variants, axis=1)
        self._halves = [
            _Half(fitted, _centred(self._variants[fitted], count), self._variants[~fitted])
            for fitted in (half, ~half)
        ]

    def read(self, states: Tensor) -> Reading:
        """What is told from states (samples, size)."""
        values = states.double().numpy()
        right = np.zeros(self._variants.shape, dtype=bool)
        for half in self._halves:
            told = _told(values[half.fitted], half.targets, values[~half.fitted])
            right[~half.fitted] = told == half.scored
        return Reading(right[:, 0].copy(), float(np.quantile(right[:, 1:].mean(0), 0.95)))


@dataclass(frozen=True, eq=False)
class _Targets:
    """What all variants are fitted to by one product: `centre` (classes, variants) and, less that, `aside`.

    aside  (samples, classes * variants)
    """

    centre: Array
    aside: Array


@dataclass(frozen=True, eq=False)
class _Half:
    """`fitted` (samples,) is fitted to `targets`, the others are scored by their classes, (others, variants)."""

    fitted: NDArray[np.bool_]
    targets: _Targets
    scored: NDArray[np.int64]


def _centred(variants: NDArray[np.int64], count: int) -> _Targets:
    """Of classes (samples, variants)."""
    indicators = (np.arange(count)[:, None] == variants[:, None]).astype(np.float64)
    centre = indicators.mean(0)
    return _Targets(centre, (indicators - centre).reshape(len(variants), -1))


def _told(x: Array, targets: _Targets, new: Array) -> NDArray[np.int64]:
    """The classes (new, variants) told from x (n, size), its targets and new x; the ridge is variant 0's best."""
    mean = x.mean(0)
    largest = float(np.abs(x).max(initial=0.0))
    x, new = x - mean, new - mean
    scale = np.sqrt(np.einsum("ij,ij->j", x, x) / len(x))
    alive = scale > 1e-12 * max(largest, 1e-300)
    if not alive.all():
        x, new, scale = x[:, alive], new[:, alive], scale[alive]
    x /= scale
    new /= scale
    centre, aside = targets.centre, targets.aside
    classes, variants = centre.shape
    if not alive.any():
        return np.broadcast_to(centre.argmax(0), (len(new), variants))
    # eigenvectors of the smaller of the two products serve both shapes
    wide = x.shape[1] > x.shape[0]
    eigenvalues, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    kept = eigenvalues > 1e-10 * eigenvalues[-1]
    eigenvalues, vectors = eigenvalues[kept], vectors[:, kept]
    left = vectors if wide else x @ vectors / np.sqrt(eigenvalues)
    fresh = new @ (x.T @ vectors / np.sqrt(eigenvalues) if wide else vectors)
    projected = left.T @ aside
    r = _best_ridge(eigenvalues, left, aside[:, ::variants], projected[:, ::variants])
    shrunk = np.sqrt(eigenvalues) / (eigenvalues + r)
    scores = ((fresh * shrunk) @ projected).reshape(len(new), classes, variants) + centre
    told, highest = np.zeros((len(new), variants), dtype=np.int64), scores[:, 0]
    for place in range(1, classes):
        told[scores[:, place] > highest] = place
        highest = np.maximum(highest, scores[:, place])
    return told


def _best_ridge(eigenvalues: Array, left: Array, aside: Array, projected: Array) -> float:
    """The ridge with the smallest error of generalised cross-validation, of targets `aside` (n, classes)."""
    count = len(left)
    best, chosen = np.inf, 0.0
    for ridge in _RIDGES:
        r = ridge * count
        shrink = eigenvalues / (eigenvalues + r)
        if shrink.sum() >= count:
            continue
        rest = aside - left @ (shrink[:, None] * projected)
        error = float(np.square(rest).sum()) / (1.0 - shrink.sum() / count) ** 2
        if error < best:
            best, chosen = error, r
    return chosen
