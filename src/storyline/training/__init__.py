"""Training: the loop, its settings and events, checkpoints that resume bit for bit."""

from storyline.training.checkpoint import FoundRun, find_run, remove_checkpoints
from storyline.training.curriculum import Curriculum
from storyline.training.errors import DivergedError, Interrupted, TrainingError
from storyline.training.events import (
    CheckpointEvent,
    Event,
    Listener,
    ResumeEvent,
    StepEvent,
    ValidationEvent,
    WarningEvent,
)
from storyline.training.identity import Identity
from storyline.training.loop import train
from storyline.training.program import Carry, Program
from storyline.training.result import TrainingResult
from storyline.training.settings import SettingsError, TrainingSettings

__all__ = [
    "Carry",
    "CheckpointEvent",
    "Curriculum",
    "DivergedError",
    "Event",
    "FoundRun",
    "Identity",
    "Interrupted",
    "Listener",
    "Program",
    "ResumeEvent",
    "SettingsError",
    "StepEvent",
    "TrainingError",
    "TrainingResult",
    "TrainingSettings",
    "ValidationEvent",
    "WarningEvent",
    "find_run",
    "remove_checkpoints",
    "train",
]
