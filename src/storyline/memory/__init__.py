"""How far back a model remembers, by four measures; what its layers hold and forget; facts, and erasing them."""

from storyline.layers import MemoryProbe
from storyline.memory.curve import Measure
from storyline.memory.diagnose import diagnose
from storyline.memory.diagnosis import Diagnosis, Finding
from storyline.memory.event_figure import memory_event_figure
from storyline.memory.events import MemoryEvent, memory_events
from storyline.memory.example import Example
from storyline.memory.expectation import assert_remembers
from storyline.memory.fact_states import Fact
from storyline.memory.facts import FactProbe, probe_fact
from storyline.memory.forgetting import Forgetting, forget
from storyline.memory.gradient import GradientReach, gradient_reach
from storyline.memory.horizon import Horizon, horizon
from storyline.memory.layer_trace import LayerTrace, TracePiece, trace, trace_pieces
from storyline.memory.lyapunov import LyapunovExponents, gradient_decay, lyapunov_exponents
from storyline.memory.report import MemoryReport, measure
from storyline.memory.required_horizon import RequiredHorizon, required_horizon
from storyline.memory.steps import MeasureError, Steps
from storyline.memory.time_scales import TimeScales, time_scales
from storyline.memory.units import UnitFault, UnitFaults, unit_faults
from storyline.memory.use import ContextUse, context_use

__all__ = [
    "ContextUse",
    "Diagnosis",
    "Example",
    "Fact",
    "FactProbe",
    "Finding",
    "Forgetting",
    "GradientReach",
    "Horizon",
    "LayerTrace",
    "LyapunovExponents",
    "Measure",
    "MeasureError",
    "MemoryEvent",
    "MemoryProbe",
    "MemoryReport",
    "RequiredHorizon",
    "Steps",
    "TimeScales",
    "TracePiece",
    "UnitFault",
    "UnitFaults",
    "assert_remembers",
    "context_use",
    "diagnose",
    "forget",
    "gradient_decay",
    "gradient_reach",
    "horizon",
    "lyapunov_exponents",
    "measure",
    "memory_event_figure",
    "memory_events",
    "probe_fact",
    "required_horizon",
    "time_scales",
    "trace",
    "trace_pieces",
    "unit_faults",
]
