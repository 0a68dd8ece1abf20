"""All that a probe of a model allows to be measured, for a report."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import MappingProxyType
from typing import TypeVar

import torch
from torch.nn.utils.rnn import pad_sequence

from storyline.layers import MemoryProbe
from storyline.memory.diagnosis.diagnose import diagnose
from storyline.memory.inside.time_scales import TimeScales, time_scales
from storyline.memory.measures.curve import Measure
from storyline.memory.measures.horizon import horizon
from storyline.memory.need.required_horizon import RequiredHorizon, required_horizon
from storyline.memory.report.example import Example, choose_example
from storyline.memory.report.report import MemoryReport
from storyline.memory.steps import MeasureError

_T = TypeVar("_T")
# The longest lag is that of this many of the longest sequences, but of no more than a quarter of them.
_LONGEST, _FEWEST = 32, 8


def measure(probe: MemoryProbe, *, trained_steps: float | None = None, seed: int = 0) -> MemoryReport:
    """Measure all that the probe allows.

    Args:
        probe: the model and the sample.
        trained_steps: the longest sequences that the model was trained on, in the place of what the probe says of
            them: whether its state drifts when it runs for longer is looked for only with it. Without answers that is
            told by the size of the state alone, which of a sound LSTM grows too when it reads on where it was always
            begun anew: so it is then only looked for where `trained_steps` is given here.
        seed: of all that is drawn.

    Raises:
        MeasureError: as for `horizon`: too few or too short sequences, a constant output, NaN.
    """
    inputs = list(probe.inputs)
    longest = _longest([len(row) for row in inputs])
    found = horizon(probe.model, inputs, probe.targets, max_lag=longest, seed=seed)
    reasons: dict[str, str] = {}

    def attempt(name: str, take: Callable[[], _T]) -> _T | None:
        try:
            return take()
        except MeasureError as error:
            reasons[name] = str(error).rstrip(".")
            return None

    before = attempt("gradient before training", lambda: _before(probe, longest, seed))
    need = attempt("need of the data", lambda: _need(probe, seed))
    # where the need is not known, what needs no answers is diagnosed, without measuring it once more
    targets = None if need is None else probe.targets
    diagnosis = attempt(
        "diagnosis",
        lambda: diagnose(
            probe.model,
            inputs,
            targets,
            need=need,
            clip=probe.clip,
            gradient_norms=probe.gradient_norms,
            chunk=probe.chunk,
            reset_every=probe.reset_every,
            trained_steps=_trained(probe, targets) if trained_steps is None else trained_steps,
            seed=seed,
        ),
    )
    return MemoryReport(
        found,
        before,
        need,
        diagnosis,
        attempt("time scales", lambda: _time_scales(probe, "layer", seed)),
        attempt("time scales before training", lambda: _time_scales(probe, "initial_layer", seed)),
        attempt("example", lambda: _example(probe)),
        probe.unit,
        (len(inputs), probe.total),
        MappingProxyType(reasons),
        probe.settings,
    )


def _trained(probe: MemoryProbe, targets: object) -> float | None:
    """What the probe says of the longest sequences of the training, where a drift can be told by its harm."""
    return probe.trained_steps if targets is not None or probe.trained_steps == math.inf else None


def _longest(lengths: list[int]) -> int | None:
    rank = min(max(_FEWEST, len(lengths) // 4), _LONGEST, len(lengths))
    return sorted(lengths, reverse=True)[rank - 1] - 1 or None


def _before(probe: MemoryProbe, longest: int | None, seed: int) -> Measure:
    if probe.initial is None:
        raise MeasureError("the initial weights are not known")
    found = horizon(probe.initial, list(probe.inputs), max_lag=longest, measures=("gradient",), seed=seed)
    if found.gradient is None:
        raise MeasureError(found.reasons["gradient"])
    return found.gradient


def _need(probe: MemoryProbe, seed: int) -> RequiredHorizon:
    targets = probe.targets if probe.symbol_targets is None else probe.symbol_targets
    if targets is None:
        raise MeasureError("the data has no answers; give data with the targets")
    symbols = list(probe.inputs if probe.symbols is None else probe.symbols)
    return required_horizon(symbols, targets, seed=seed)


def _time_scales(probe: MemoryProbe, name: str, seed: int) -> TimeScales:
    layer = getattr(probe, name)
    if layer is None:
        known = name == "initial_layer" and probe.layer is not None
        raise MeasureError(
            "the initial weights are not known"
            if known
            else "no recurrent layer of the model reads these steps"
        )
    padded = pad_sequence(list(probe.inputs), batch_first=bool(layer.batch_first))
    return time_scales(layer, padded, torch.tensor([len(row) for row in probe.inputs]), seed=seed)


def _example(probe: MemoryProbe) -> Example:
    if probe.layer is None or probe.words is None:
        raise MeasureError(
            "no recurrent layer of the model reads these steps"
            if probe.layer is None
            else "its steps have no words"
        )
    return choose_example(probe.layer, probe.inputs, probe.words, probe.unit)
