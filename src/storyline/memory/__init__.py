"""How far back a model remembers: its horizon by four measures, the gradient over lag, context, half-lives of units."""

from storyline.layers import MemoryProbe
from storyline.memory.curve import Measure
from storyline.memory.diagnose import diagnose
from storyline.memory.diagnosis import Diagnosis, Finding
from storyline.memory.expectation import assert_remembers
from storyline.memory.gates import HalfLives, half_lives
from storyline.memory.gradient import GradientReach, gradient_reach
from storyline.memory.horizon import Horizon, horizon
from storyline.memory.report import MemoryReport, measure
from storyline.memory.required_horizon import RequiredHorizon, required_horizon
from storyline.memory.steps import MeasureError, Steps
from storyline.memory.use import ContextUse, context_use

__all__ = [
    "ContextUse",
    "Diagnosis",
    "Finding",
    "GradientReach",
    "HalfLives",
    "Horizon",
    "Measure",
    "MeasureError",
    "MemoryProbe",
    "MemoryReport",
    "RequiredHorizon",
    "Steps",
    "assert_remembers",
    "context_use",
    "diagnose",
    "gradient_reach",
    "half_lives",
    "horizon",
    "measure",
    "required_horizon",
]
