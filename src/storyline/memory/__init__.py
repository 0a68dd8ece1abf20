"""How far back a model remembers, by four measures; what its layers hold and forget; facts, and erasing them."""

from storyline.layers import MemoryProbe
from storyline.memory.diagnosis.diagnose import diagnose
from storyline.memory.diagnosis.diagnosis import Diagnosis, Finding
from storyline.memory.inside.events import MemoryEvent, memory_events
from storyline.memory.inside.fact_states import Fact
from storyline.memory.inside.facts import FactProbe, probe_fact
from storyline.memory.inside.forgetting import Forgetting, forget
from storyline.memory.inside.layer_trace import LayerTrace, TracePiece, trace, trace_pieces
from storyline.memory.inside.lyapunov import LyapunovExponents, gradient_decay, lyapunov_exponents
from storyline.memory.inside.time_scales import TimeScales, time_scales
from storyline.memory.inside.units import UnitFault, UnitFaults, unit_faults
from storyline.memory.measures.curve import Measure
from storyline.memory.measures.expectation import assert_remembers
from storyline.memory.measures.gradient import GradientReach, gradient_reach
from storyline.memory.measures.horizon import Horizon, horizon
from storyline.memory.measures.use import ContextUse, context_use
from storyline.memory.need.required_horizon import RequiredHorizon, required_horizon
from storyline.memory.report.event_figure import memory_event_figure
from storyline.memory.report.example import Example
from storyline.memory.report.measurement import measure
from storyline.memory.report.report import MemoryReport
from storyline.memory.steps import MeasureError, Steps

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
