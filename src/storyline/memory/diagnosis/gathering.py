"""What a diagnosis rests on, gathered: the need of the data is measured, then the reach, the loss and the layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from storyline.memory.diagnosis.evidence import (
    AtWork,
    Evidence,
    Settings,
    layers_at_work,
    model_loss,
    questions_of,
    shortfall_of,
    stepwise_targets,
)
from storyline.memory.measures.context import use
from storyline.memory.measures.counterfactual import check_answers, counterfactual
from storyline.memory.measures.curve import Measure
from storyline.memory.measures.jacobian import gradient
from storyline.memory.measures.questions import Questions
from storyline.memory.need.required_horizon import RequiredHorizon, required_horizon
from storyline.memory.steps import MeasureError
from storyline.memory.subjects.sequences import Sequences
from storyline.memory.subjects.soundness import FEWEST
from storyline.memory.subjects.subject import Subject


def gather(
    subject: Subject,
    sequences: Sequences,
    targets: Any,
    axis: int,
    loss: Callable[..., Any] | None,
    settings: Settings,
    need: int | RequiredHorizon | None,
    seed: int,
) -> Evidence:
    """All that the tests of faults look at; what could not be measured has its reason.

    Args:
        subject: the model, examined.
        axis: of time, in what the user gave.
        targets, loss, need, seed: as for `diagnose`.

    Raises:
        MeasureError: targets or need do not fit.
    """
    reasons: dict[str, str] = {}
    if targets is None and sequences.tokens and subject.causal:
        # the next token; the last step of a sequence has none, which a negative class says
        targets = [torch.cat([row[1:], row.new_full((1,), -100)]) for row in sequences.rows]
    questions = questions_of(subject, sequences, targets, axis)
    per_step = None if targets is None else stepwise_targets(sequences, targets, subject, axis)
    required, needs = _need(sequences, targets if per_step is None else per_step, need, reasons, seed)
    shortfall = None
    if questions is not None and required is not None and loss is None:
        try:
            shortfall = shortfall_of(*model_loss(subject, questions), required)
        except MeasureError as error:
            reasons["shortfall"] = str(error)
    measures = _measures(subject, sequences, questions, loss, reasons, seed)
    layers: tuple[AtWork, ...] = ()
    try:
        layers = layers_at_work(subject, sequences)
    except MeasureError as error:
        reasons["layers"] = str(error)
    return Evidence(
        subject, sequences, questions, per_step, loss, settings, required, needs, shortfall, measures, reasons,
        layers, seed,
    )  # fmt: skip


def _measures(
    subject: Subject,
    sequences: Sequences,
    questions: Questions | None,
    loss: Callable[..., Any] | None,
    reasons: dict[str, str],
    seed: int,
) -> dict[str, Measure]:
    """Those of `horizon` that can be taken; of the others the reason."""
    measures: dict[str, Measure] = {}
    rows, most = measured_rows(sequences)
    settled: dict[str, Any] = {"threshold": 0.01, "confidence": 0.95, "seed": seed}
    takes: dict[str, Callable[[], Measure]] = {
        "gradient": lambda: gradient(subject, rows, most, **settled),
        "counterfactual": lambda: _swapping(subject, rows, most, **settled),
    }
    if questions is not None:
        takes["use"] = lambda: use(subject, questions, loss, **settled)
    for name, take in takes.items():
        try:
            measures[name] = take()
        except MeasureError as error:
            reasons[name] = str(error)
    return measures


def _swapping(subject: Subject, rows: tuple[Tensor, ...], most: int, **settled: Any) -> Measure:
    answers = subject.last(rows)
    check_answers(answers)
    return counterfactual(subject, rows, answers, most, **settled)


def _need(
    sequences: Sequences, targets: Any, need: int | RequiredHorizon | None, reasons: dict[str, str], seed: int
) -> tuple[RequiredHorizon | None, tuple[int, int] | None]:
    """(its measurement, (low, steps)); None and a reason where it is not known."""
    if isinstance(need, int | np.integer) and not isinstance(need, bool):
        need = int(need)
        if need < 1:
            raise MeasureError(f"need is {need}; 1 step or more, or None to measure it, was wanted")
        return None, (need, need)
    if need is None:
        if targets is None:
            reasons["need"] = "no targets were given, and inputs are no tokens; give targets= or need="
            return None, None
        try:
            need = required_horizon(list(sequences.rows), targets, seed=seed)
        except MeasureError as error:
            reasons["need"] = str(error)
            return None, None
    elif not isinstance(need, RequiredHorizon):
        raise MeasureError(
            f"need is a {type(need).__name__}; steps, or what required_horizon returns, was wanted"
        )
    if need.nothing_to_gain:
        reasons["need"] = f"the need of the data could not be found: {need}"
        return need, None
    return need, (need.low, need.steps)


def measured_rows(sequences: Sequences) -> tuple[tuple[Tensor, ...], int]:
    """Those that are measured, and the longest lag: as long as a quarter of them (but 8) allows."""
    ordered = sorted(sequences.lengths, reverse=True)
    most = max(1, ordered[max(FEWEST, len(ordered) // 4) - 1] - 1)
    return tuple(sequences.rows[i] for i in sequences.at_least(most + 1)), most
