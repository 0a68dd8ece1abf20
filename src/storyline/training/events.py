"""What a training tells whoever watches: plain data, never needed for the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StepEvent:
    """Progress, at most ten times a second. `epoch` counts from 1; `loss` is this step's."""

    step: int
    total_steps: int
    epoch: int
    loss: float
    items_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class ValidationEvent:
    """After each validation: its metrics, and whether the monitored one is the best so far."""

    step: int
    epoch: int
    metrics: dict[str, float]
    is_best: bool


@dataclass(frozen=True)
class CheckpointEvent:
    """A checkpoint is on the disk."""

    step: int
    path: Path
    seconds: float


@dataclass(frozen=True)
class ResumeEvent:
    """A run goes on from `step` (0: from its beginning), or is found `finished`."""

    step: int
    finished: bool


@dataclass(frozen=True)
class WarningEvent:
    """Something the user should know, in one sentence."""

    message: str


Event = StepEvent | ValidationEvent | CheckpointEvent | ResumeEvent | WarningEvent
Listener = Callable[[Event], None]
