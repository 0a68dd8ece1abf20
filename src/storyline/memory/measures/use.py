"""How much context a model uses: its loss when it is shown only the last k steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storyline.memory.steps import MeasureError, Steps

# So many points are looked for where the loss would reach its limit, before the gap is halved.
_GUESSES = 3
_NEVER = 1 << 40


@dataclass(frozen=True, eq=False)
class ContextUse:
    """Loss over the number of steps of context.

    Attributes:
        lags: (n,) int64, increasing: the k that were measured, in steps.
        losses: (n,) float64: L(k), the loss with only the last k steps of context.
        full: L, the loss with all of the context.
        tolerance: the share of the full loss that counts as none: .01 is 1 %.
        steps: how much context the model uses, the smallest measured k from which on the loss stays within
            the tolerance,

                steps = min { k : L(j) <= limit for every measured j >= k },   limit = L + tolerance * |L|

            only a lower bound (``at_least``) where not even the longest measured context suffices. The
            band is one-sided: a loss below the full one is no want of context.
        notes: what is peculiar, in sentences; empty when nothing is.
        gain: what the context is worth, L(1) - L, where the tolerance is taken of that too:
            limit = L + tolerance * max(|L|, gain). Of a loss near 0 a share is nothing but rounding.
    """

    lags: NDArray[np.int64]
    losses: NDArray[np.float64]
    full: float
    tolerance: float
    steps: Steps
    notes: tuple[str, ...] = ()
    gain: float = 0.0

    @property
    def limit(self) -> float:
        """The largest loss that counts as reached: full + tolerance * max(|full|, gain)."""
        return limit_of(self.full, self.tolerance, self.gain)


def context_use(
    loss_at: Callable[[int | None], float],
    longest: int,
    *,
    tolerance: float = 0.01,
    ratio: float = 1.5,
    of_gain: bool = False,
) -> ContextUse:
    """Measure how much context a model uses; definition in ContextUse.steps.

    The loss is measured at k = 1, 2, 3, 4, 6, ... (growing by ``ratio``) and ``longest``; then the gap
    between the last k that falls short and the next one is narrowed until it is one step wide, so that
    ``steps`` is exact wherever the loss crosses the band once between two points of the grid: at first
    where the loss would reach the limit if it went on falling as it fell, exponentially, later in the
    middle. That is at most about log(longest) / log(ratio) + log2(longest) + 3 calls.

    Args:
        loss_at: k -> mean loss with only the last k steps of context; None -> with all of it. Must give
            the same loss for the same k (evaluation mode, fixed data).
        longest: the largest k to measure, in steps, at least 1: the longest context in the data.
        tolerance: share of the full loss, above 0.
        ratio: of neighbouring points of the first grid, above 1.
        of_gain: take the tolerance of the gain L(1) - L where that is larger than |L|.

    Raises:
        MeasureError: an argument does not fit, or a loss is not a finite number.
    """
    if longest < 1:
        raise MeasureError(f"longest is {longest}; at least 1 step of context is needed")
    if not tolerance > 0.0 or not ratio > 1.0:
        raise MeasureError(f"tolerance is {tolerance}, ratio {ratio}; above 0 and above 1 were wanted")
    full = _finite(loss_at, None)
    losses = {k: _finite(loss_at, k) for k in _grid(longest, ratio)}
    gain = losses[1] - full if of_gain else 0.0
    limit = limit_of(full, tolerance, gain)

    def last_short() -> int:
        return max((k for k, loss in losses.items() if loss > limit), default=0)

    short, guesses = last_short(), _GUESSES
    while short < longest:
        enough = min(k for k in losses if k > short)
        if enough == short + 1:
            break
        if guesses:
            excess = [(k, losses[k] - full) for k in sorted(losses) if k <= short]
            next_ = min(max(_reached(excess[-2:], limit - full), short + 1), enough - 1)
            guesses -= 1
        else:
            next_ = (short + enough) // 2
        losses[next_] = _finite(loss_at, next_)
        short = last_short()
    steps = Steps(longest, at_least=True) if short == longest else Steps(short + 1)
    lags = np.array(sorted(losses), dtype=np.int64)
    curve = np.array([losses[k] for k in sorted(losses)], dtype=np.float64)
    return ContextUse(lags, curve, full, tolerance, steps, _notes(lags, curve, full, tolerance), gain)


def _reached(excess: list[tuple[int, float]], allowed: float) -> int:
    """Where an excess over the full loss, told at up to two k, falls to `allowed` if it goes on exponentially."""
    (before, much), (last, less) = excess[0], excess[-1]
    if before == last or less >= much or not allowed > 0.0:
        return _NEVER
    further = (math.log(less) - math.log(allowed)) / math.log(much / less)
    return min(_NEVER, last + math.ceil((last - before) * further))


def limit_of(full: float, tolerance: float, gain: float = 0.0) -> float:
    """The largest loss that counts as reached."""
    return full + tolerance * max(abs(full), gain)


def _grid(longest: int, ratio: float) -> list[int]:
    points = {longest}
    k = 1
    while k < longest:
        points.add(k)
        k = max(k + 1, math.ceil(k * ratio) if k > 3 else k + 1)
    return sorted(points)


def _finite(loss_at: Callable[[int | None], float], k: int | None) -> float:
    loss = float(loss_at(k))
    if not math.isfinite(loss):
        context = "all of the context" if k is None else f"{k} steps of context"
        raise MeasureError(
            f"the loss with {context} is {loss}; a finite number is needed: is the model trained?"
        )
    return loss


def _notes(
    lags: NDArray[np.int64], losses: NDArray[np.float64], full: float, tolerance: float
) -> tuple[str, ...]:
    best = int(losses.argmin())
    if losses[best] < full - tolerance * abs(full):
        share = f", {(1 - losses[best] / full) * 100:.0f} % below the full loss" if full > 0 else ""
        return (
            f"The loss is lowest with the last {Steps(int(lags[best]))} of context alone "
            f"({losses[best]:.4g}{share}): what lies further back does harm.",
        )
    return ()
