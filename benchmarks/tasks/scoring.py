"""Timing a fit, and counting what was fitted."""

from __future__ import annotations

import time
from typing import Any, TypeVar

Estimator = TypeVar("Estimator")


def fitted(estimator: Estimator, *arguments: Any, **keywords: Any) -> tuple[Estimator, float, int]:
    """The estimator after `fit`, the seconds that took (wall clock, all inside), and its number of parameters."""
    began = time.perf_counter()
    estimator.fit(*arguments, **keywords)  # type: ignore[attr-defined]
    seconds = time.perf_counter() - began
    network = estimator.network_  # type: ignore[attr-defined]
    return estimator, seconds, sum(parameter.numel() for parameter in network.parameters())
