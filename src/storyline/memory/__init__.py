"""How far back a model remembers: its gradient over lag, the context it uses, the half-lives of its units."""

from storyline.layers import MemoryProbe
from storyline.memory.gates import HalfLives, half_lives
from storyline.memory.gradient import GradientReach, gradient_reach
from storyline.memory.report import MemoryReport, measure
from storyline.memory.steps import MeasureError, Steps
from storyline.memory.use import ContextUse, context_use

__all__ = [
    "ContextUse",
    "GradientReach",
    "HalfLives",
    "MeasureError",
    "MemoryProbe",
    "MemoryReport",
    "Steps",
    "context_use",
    "gradient_reach",
    "half_lives",
    "measure",
]
