"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["cosine", "one_cycle", "constant"]

# Where the peak is when the settings do not say, as a share of all steps.
USUAL_WARMUP: dict[Schedule, float] = {"cosine": 0.05, "one_cycle": 0.3, "constant": 0.0}
# Smith & Topin 2018 ("Super-convergence"), with the two divisors that torch's OneCycleLR takes by default.
ONE_CYCLE_START, ONE_CYCLE_END = 25.0, 1e4


def learning_rate_factor(
    step: int, total_steps: int, *, schedule: Schedule, warmup: float | None = None
) -> float:
    """The share of the peak learning rate that step number `step` (0 ... total_steps - 1) takes.

    cosine     linear from near 0 to 1 over the first `warmup` share of the steps, then half a cosine to 0
    one_cycle  half a cosine from 1/25 to 1, then half a cosine to 1/250000; the peak at `warmup`
    constant   1, after the same linear warmup
    """
    warmup = USUAL_WARMUP[schedule] if warmup is None else warmup
    if schedule == "one_cycle":
        return _one_cycle(step, total_steps, warmup)
    rising = round(warmup * total_steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    if schedule == "constant":
        return 1.0
    return _half_cosine(1.0, 0.0, (step - rising) / max(1, total_steps - rising))


def _one_cycle(step: int, total_steps: int, warmup: float) -> float:
    peak = warmup * total_steps - 1
    start = 1 / ONE_CYCLE_START
    if step <= peak:
        return _half_cosine(start, 1.0, step / peak if peak > 0 else 1.0)
    return _half_cosine(1.0, start / ONE_CYCLE_END, (step - peak) / max(1.0, total_steps - 1 - peak))


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * min(1.0, progress)))
