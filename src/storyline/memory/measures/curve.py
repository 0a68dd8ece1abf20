"""A measure over lags: where it falls under its threshold, and the interval that sequences leave for that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storyline.memory.steps import Steps

Array = NDArray[np.float64]
# So many resamples leave the ends of a 95 % interval uncertain by less than a tenth of its width.
RESAMPLES = 400


@dataclass(frozen=True, eq=False)
class Measure:
    """One measure of memory over the lag: a curve, and the one number read off it.

    Attributes:
        name: gradient, counterfactual, recall or use.
        steps: the largest lag at which the curve is at or above the threshold, in steps; of "use" the smallest
            context, in steps, from which on the loss is within its limit.
        low: lower end of the interval of `steps`: percentile bootstrap over sequences (Efron 1979).
        high: its upper end.
        at_least: the data ended before the memory did: `steps` is only a lower bound.
        high_at_least: the same of `high`.
        lags: (n,) int64, increasing, those measured; of "use" steps of context.
        curve: (n,) float64: a share of lag 0 (gradient, counterfactual), the way from chance to perfect (recall),
            or the loss (use).
        band: (2, n) float64: the curve's own interval, lag by lag.
        threshold: what the curve is compared with (use: its limit is full + threshold * max(|full|, gain)).
        confidence: of the intervals, .95 is 95 %.
        sequences: how many were measured.
        definition: what is measured, in one sentence.
        notes: what is peculiar, in sentences; empty when nothing is.
    """

    name: str
    steps: int
    low: int
    high: int
    at_least: bool
    high_at_least: bool
    lags: NDArray[np.int64]
    curve: Array
    band: Array
    threshold: float
    confidence: float
    sequences: int
    definition: str
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """``412``, or ``at least 499`` where the data ended first."""
        return f"{'at least ' if self.at_least else ''}{self.steps:,}"

    @property
    def interval(self) -> str:
        """``380-450``, or ``380 or more`` where the upper end was not reached."""
        if self.high_at_least:
            return f"{self.low:,} or more"
        return f"{self.low:,}-{self.high:,}"

    def __str__(self) -> str:
        return f"{self.name}: {Steps(self.steps, self.at_least)} ({self.confidence * 100:g} % interval {self.interval})"


def fine_lags(longest: int) -> NDArray[np.int64]:
    """0 ... longest, every lag to 100 and then a hundredth apart: on them `steps` is found."""
    lags = [0.0]
    while lags[-1] < longest:
        lags.append(max(lags[-1] + 1.0, np.floor(lags[-1] * 1.01)))
    lags[-1] = longest
    return np.unique(np.array(lags, dtype=np.int64))


def spread_lags(lags: NDArray[np.int64], ratio: float = 2.0) -> list[int]:
    """Those of the fine lags that a search begins with: 0, 1, 2, 4, ... and the longest."""
    wanted = [0.0, 1.0]
    while wanted[-1] < lags[-1]:
        wanted.append(max(wanted[-1] + 1.0, wanted[-1] * ratio))
    found = np.searchsorted(lags, np.minimum(np.array(wanted), lags[-1]))
    return [int(lags[i]) for i in np.unique(found)]


def search(
    value_at: Callable[[list[int]], Sequence[float]],
    lags: NDArray[np.int64],
    threshold: float,
    at_once: int = 2,
    ratio: float = 2.0,
    also: Sequence[int] = (),
) -> dict[int, float]:
    """Measure at spread lags, then between the last that reaches the threshold and the next, until they are neighbours.

    Args:
        value_at: lags -> a value for each.
        lags: (n,) the fine lags.
        threshold: what the values are compared with.
        at_once: how many lags are measured in one call while the gap is narrowed.
        ratio: of neighbouring lags of the beginning.
        also: lags to begin with besides.
    """
    first = sorted({*spread_lags(lags, ratio), *also})
    found = dict(zip(first, value_at(first), strict=True))
    while True:
        last = max((lag for lag, value in found.items() if value >= threshold), default=-1)
        above = min((lag for lag in found if lag > last), default=None)
        if above is None or last < 0:
            return found
        between = lags[(lags > last) & (lags < above)]
        if not len(between):
            return found
        places = np.unique(
            np.linspace(0, len(between) - 1, min(at_once, len(between)) + 2).round()[1:-1].astype(int)
        )
        if len(between) <= at_once:
            places = np.arange(len(between))
        chosen = [int(between[i]) for i in places]
        found.update(zip(chosen, value_at(chosen), strict=True))


def crossing(lags: NDArray[np.int64], curves: Array, threshold: float) -> Array:
    """The largest lag at which each curve is at or above the threshold, between measured lags by interpolation.

    Curves are taken for straight between two lags in their logarithm; one that is nowhere at the threshold
    gives -1, one that still is at the last lag gives that lag.

    Args:
        lags: (n,) increasing.
        curves: (..., n), not negative.
        threshold: above 0.
    """
    reached = curves >= threshold
    last = curves.shape[-1] - 1 - np.argmax(reached[..., ::-1], axis=-1)
    inner = np.minimum(last, curves.shape[-1] - 2) if curves.shape[-1] > 1 else last
    here = np.take_along_axis(curves, inner[..., None], -1)[..., 0]
    next_ = np.take_along_axis(curves, np.minimum(inner + 1, curves.shape[-1] - 1)[..., None], -1)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        fall = np.log(np.maximum(here, 1e-300)) - np.log(np.maximum(next_, 1e-300))
        part = (np.log(np.maximum(here, 1e-300)) - np.log(threshold)) / fall
    gap = lags[np.minimum(inner + 1, len(lags) - 1)] - lags[inner]
    # the next lag is below the threshold, so its neighbour before it is the furthest that can be meant
    between = lags[inner] + np.minimum(
        np.floor(np.clip(np.nan_to_num(part), 0, 1) * gap + 1e-9), gap - 1
    ).clip(0)
    found = np.where(last == curves.shape[-1] - 1, lags[-1], between)
    return np.where(reached.any(-1), found, -1).astype(np.float64)


def weights(sequences: int, seed: int, resamples: int = RESAMPLES) -> Array:
    """How often each sequence is drawn in each resample, (resamples, sequences), rows that sum to `sequences`."""
    drawn = np.random.default_rng(seed).integers(0, sequences, (resamples, sequences))
    offsets = np.arange(resamples)[:, None] * sequences
    counts = np.bincount((drawn + offsets).ravel(), minlength=resamples * sequences)
    return counts.reshape(resamples, sequences).astype(np.float64)


def summarise(
    name: str,
    lags: NDArray[np.int64],
    curve: Array,
    resampled: Array,
    threshold: float,
    confidence: float,
    definition: str,
    notes: tuple[str, ...] = (),
    **more: Any,
) -> Measure:
    """The measure of a curve (n,) and of the same curve over resamples of the sequences (resamples, n)."""
    point = int(crossing(lags, curve, threshold))
    found = crossing(lags, resampled, threshold)
    low, high = interval(found, confidence)
    tail = (1.0 - confidence) / 2.0
    if point < 0:
        notes = (
            *notes,
            f"The curve is under its threshold of {threshold:g} even at lag 0; 0 stands for that.",
        )
    ends = lags[-1]
    # the interval is of the same data as the number, and holds it
    low, high = max(0, min(low, point)), max(high, point, 0)
    return Measure(
        name=name,
        steps=max(point, 0),
        low=low,
        high=high,
        at_least=bool(point == ends),
        high_at_least=bool(high == ends),
        lags=lags,
        curve=curve,
        band=np.quantile(resampled, [tail, 1.0 - tail], axis=0),
        threshold=threshold,
        confidence=confidence,
        definition=definition,
        notes=notes,
        **more,
    )


def interval(found: Array, confidence: float) -> tuple[int, int]:
    """The middle `confidence` of resampled numbers of steps, rounded outwards."""
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(found, [tail, 1.0 - tail])
    return int(np.floor(low)), int(np.ceil(high))
