"""Seconds a call, all implementations taking turns, so that whatever else the machine does meets each alike."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.speed.problem import Implementation

# Another library's idle threads spin for some milliseconds before they sleep; nobody is to be timed beside them.
_REST_SECONDS = 0.01
_WARM_UP_CALLS = 3


@dataclass(frozen=True)
class Timing:
    """Seconds a call, one sample a round; cores: the processor's seconds by the wall's, over all rounds."""

    samples: tuple[float, ...]
    cores: float

    @property
    def minimum(self) -> float:
        return min(self.samples)

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """The first quartile, the median, the third."""
        first, median, third = statistics.quantiles(self.samples, n=4, method="inclusive")
        return first, median, third

    @property
    def median(self) -> float:
        return self.quartiles[1]


def interleave(
    implementations: Mapping[str, Implementation], *, rounds: int = 9, seconds: float = 1.0
) -> dict[str, Timing]:
    """Time each in turn, `rounds` times, at least 2; a turn repeats its call, so that all rounds take `seconds`."""
    repeats = {name: _warm_up(each, seconds / rounds) for name, each in implementations.items()}
    samples: dict[str, list[float]] = {name: [] for name in implementations}
    wall, processor = dict.fromkeys(implementations, 0.0), dict.fromkeys(implementations, 0.0)
    names = list(implementations)
    for _ in range(rounds):
        gc.collect()
        for name in names:
            took, used = _turn(implementations[name], repeats[name])
            samples[name].append(took / repeats[name])
            wall[name] += took
            processor[name] += used
        names.append(names.pop(0))  # nobody always comes after the same one
    return {name: Timing(tuple(samples[name]), processor[name] / wall[name]) for name in implementations}


def _warm_up(implementation: Implementation, seconds: float) -> int:
    """Compile, fill caches, start threads; returns how many calls make a turn of `seconds`."""
    took = math.inf
    with implementation.around():
        for _ in range(_WARM_UP_CALLS):
            began = time.perf_counter()
            implementation.run()
            took = min(took, time.perf_counter() - began)
    return max(1, math.ceil(seconds / took))


def _turn(implementation: Implementation, repeats: int) -> tuple[float, float]:
    """Seconds of the wall and of the processor for `repeats` calls."""
    run = implementation.run
    time.sleep(_REST_SECONDS)
    with implementation.around():
        if repeats > 1:
            run()  # a short call would find the caches as the one before it left them
        gc.disable()
        try:
            processor, began = time.process_time(), time.perf_counter()
            for _ in range(repeats):
                run()
            return time.perf_counter() - began, time.process_time() - processor
        finally:
            gc.enable()
