"""Loss over context of the best probe: chosen on one half of the held-out sequences, scored on the other."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from storyline.memory.measures.curve import Array


def lags_of(longest: int) -> list[int]:
    """1, 2, 3, 4, 6, 9 ... longest: growing by a half."""
    found, k = [longest], 1
    while k < longest:
        found.append(k)
        k = max(k + 1, math.ceil(1.5 * k) if k > 3 else k + 1)
    return sorted(found)


class NeedCurve:
    """Held-out losses of candidates by context, and what is read off them.

    Args:
        row: (held-out questions,) the sequence of each.
        names: of the candidates.
    """

    def __init__(self, row: NDArray[np.int64], names: list[str]) -> None:
        self.names = ["constant", *names]
        self.rows, self.place = np.unique(row, return_inverse=True)
        self.count = np.bincount(self.place)
        self.losses: dict[int, Array] = {}
        # sequences were shuffled before they were held out, but their numbers are sorted here: alternate
        half = np.arange(len(self.rows)) % 2 == 0
        self.halves = (half, ~half)

    @property
    def sequences(self) -> int:
        """How many are held out."""
        return len(self.rows)

    @property
    def lags(self) -> NDArray[np.int64]:
        """Contexts that were measured, from 0."""
        return np.array(sorted(self.losses), dtype=np.int64)

    def add_constant(self, losses: Array) -> None:
        """losses: (questions,) without any context."""
        self.losses[0] = self._by_sequence(losses[None])

    def add(self, k: int, losses: Array) -> None:
        """losses: (candidates, questions) with a context of k steps."""
        self.losses[k] = self._by_sequence(losses)

    def _by_sequence(self, losses: Array) -> Array:
        return np.stack([np.bincount(self.place, each) / self.count for each in losses])

    def curve(self) -> tuple[Array, tuple[str, ...]]:
        """(contexts,) the loss, and the name of the probe that was chosen at each by the first half."""
        whole = np.ones((1, self.sequences))
        path = self._paths(whole, self.halves[0])[0]
        return self.resampled(whole)[0], tuple(self._name(place) for place in path)

    def resampled(self, drawn: Array) -> Array:
        """(resamples, contexts) the loss; drawn: (resamples, sequences) how often each sequence counts."""
        losses = self._all()
        total = np.zeros((len(drawn), len(self.losses)))
        for chooses, scores in (self.halves, self.halves[::-1]):
            paths = self._paths(drawn, chooses)
            weight = drawn[:, scores]
            table = losses[:, scores] @ weight.T
            total += table[paths, np.arange(len(drawn))[:, None]]
        found: Array = total / drawn.sum(1, keepdims=True)
        return found

    def steps(self, curve: Array, tolerance: float) -> int:
        """The smallest measured context from which on at most `tolerance` of the gain is left; 0: there is no gain."""
        gain = curve[0] - curve[-1]
        if gain <= 0:
            return 0
        short = np.flatnonzero(curve - curve[-1] > tolerance * gain)
        return int(self.lags[short[-1] + 1]) if len(short) else 0

    def between(self, tolerance: float) -> int | None:
        """A context halfway between the last that falls short and the next; None where those are neighbours."""
        enough = self.steps(self.curve()[0], tolerance)
        place = int(np.searchsorted(self.lags, enough))
        if enough < 2 or self.lags[place - 1] + 1 == enough:
            return None
        return int((self.lags[place - 1] + enough) // 2)

    def _all(self) -> Array:
        """(contexts * candidates, sequences), in the order of contexts."""
        return np.concatenate([self.losses[int(k)] for k in self.lags])

    def _name(self, place: int) -> str:
        sizes = [0, *np.cumsum([len(self.losses[int(k)]) for k in self.lags])]
        k = int(np.searchsorted(sizes, place, side="right")) - 1
        return self.names[0] if k == 0 else self.names[1 + place - sizes[k]]

    def _paths(self, drawn: Array, half: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(resamples, contexts): place in `_all` of what the half's sequences choose with up to so much context."""
        weight = drawn[:, half]
        weight = weight / np.maximum(weight.sum(1, keepdims=True), 1.0)
        losses = self._all()[:, half]
        means = weight @ losses.T
        # of n sequences drawn with repetition the error of a mean is that of n
        size = int(half.sum())
        best = np.zeros(len(drawn), dtype=np.int64)
        every = np.arange(len(drawn))
        path, start = [], 0
        for k in self.lags:
            stop = start + len(self.losses[int(k)])
            rival = start + means[:, start:stop].argmin(1)
            away = losses[rival] - losses[best]
            mean = (weight * away).sum(1)
            error = np.sqrt(np.maximum((weight * away**2).sum(1) - mean**2, 0.0) / max(size - 1, 1))
            better = (mean < -error) & (means[every, rival] < means[every, best])
            best = np.where(better, rival, best)
            path.append(best)
            start = stop
        return np.stack(path, 1)
