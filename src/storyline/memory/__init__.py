"""How far back a model remembers: its horizon by four measures, the gradient over lag, context, half-lives of units."""

from storyline.layers import MemoryProbe
from storyline.memory.curve import Measure
from storyline.memory.expectation import assert_remembers
from storyline.memory.gates import HalfLives, half_lives
from storyline.memory.gradient import GradientReach, gradient_reach
from storyline.memory.horizon import Horizon, horizon
from storyline.memory.report import MemoryReport, measure
from storyline.memory.steps import MeasureError, Steps
from storyline.memory.use import ContextUse, context_use

__all__ = [
    "ContextUse",
    "GradientReach",
    "HalfLives",
    "Horizon",
    "Measure",
    "MeasureError",
    "MemoryProbe",
    "MemoryReport",
    "Steps",
    "assert_remembers",
    "context_use",
    "gradient_reach",
    "half_lives",
    "horizon",
    "measure",
]
