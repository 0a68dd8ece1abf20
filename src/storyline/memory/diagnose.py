"""What is wrong with a model's memory, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from storyline.memory.context import use
from storyline.memory.counterfactual import check_answers, counterfactual
from storyline.memory.curve import Measure
from storyline.memory.diagnosis import Diagnosis, Finding, used_steps
from storyline.memory.drift import drifting
from storyline.memory.evidence import (
    AtWork,
    Evidence,
    Settings,
    layers_at_work,
    model_loss,
    questions_of,
    shortfall_of,
    stepwise_targets,
)
from storyline.memory.faults import clipped, reset_often, truncated
from storyline.memory.jacobian import gradient
from storyline.memory.required_horizon import RequiredHorizon, required_horizon
from storyline.memory.sequences import Sequences, read_sequences
from storyline.memory.soundness import FEWEST, examine, time_axis
from storyline.memory.state_faults import dead, exploding, ignored, saturated, vanishing
from storyline.memory.steps import MeasureError, Steps, is_whole
from storyline.memory.subject import Subject

_TESTS: dict[str, Callable[[Evidence], Finding | None]] = {
    "truncated too short": truncated,
    "reset too often": reset_often,
    "exploding": exploding,
    "dead units": dead,
    "input ignored": ignored,
    "saturated": saturated,
    "clipped too hard": clipped,
    "vanishing": vanishing,
    "state drifts": drifting,
}
# What shows the same figures as a cause that was found, and goes with it: of dead units the state stands still too; of
# a gradient that explodes or a state at its ends the norm is no measure for a clip.
_FOLLOWS = {
    "input ignored": ("exploding", "dead units"),
    "saturated": ("exploding",),
    "clipped too hard": ("exploding", "dead units", "input ignored", "saturated"),
    "vanishing": ("reset too often", "exploding", "dead units", "input ignored", "saturated"),
}


def diagnose(
    model: Callable[..., Any],
    inputs: Any,
    targets: Any = None,
    *,
    lengths: Any = None,
    loss: Callable[..., Any] | None = None,
    clip: float | None = None,
    gradient_norms: Sequence[float] | None = None,
    chunk: int | None = None,
    reset_every: int | None = None,
    trained_steps: int | None = None,
    need: int | RequiredHorizon | None = None,
    time_dim: int | None = None,
    seed: int = 0,
) -> Diagnosis:
    """Say what keeps a model from remembering as far as its data needs, and what to do.

    The need of the data comes from `required_horizon`, how far the model reaches from the measures of `horizon`, what
    its units do from `unit_faults` and `lyapunov_exponents`. Where the targets are known, the model's loss on them is
    compared with that of the probes, and what harms learning only counts as a fault of a model that leaves more than a
    tenth of the achievable gain. Each fault's test and threshold stand in the docstring of its function in
    `faults`, `state_faults` and `drift`:

        truncated too short   training went back fewer steps (`chunk`) than the data needs
        reset too often       the state is reset within fewer steps (`reset_every`) than the data needs
        exploding             a disturbance of the state grows a hundredfold over a sequence
        dead units            half of a layer's units hardly move
        input ignored         a layer's state hardly moves with what is read
        saturated             half of a layer's gates stand at an end of their range
        clipped too hard      gradients are typically ten times as large as `clip`
        vanishing             gradient and answers reach less far back than the data needs
        state drifts          run 16 times longer than `trained_steps`, the model loses a tenth of what it gains

    Remedies, the keys of `Finding.change`: remember, the argument of our layers, in steps; cell, ``"lstm"``;
    nonlinearity; chunk, steps of training that gradients go back; carry_state, whether the state goes on from chunk to
    chunk; reset_every (None: never inside a sequence); reset_at_most_every; clip, a norm; input_scale, a factor for
    inputs with their mean taken off; initialise ``"default"``, start from fresh weights.

    Args:
        model, inputs, targets, lengths, loss, time_dim: as for `horizon`. Without targets, tokens are asked for the
            next one; of other inputs the need is then not known.
        clip: the norm that gradients were clipped to in training.
        gradient_norms: those seen in training, before clipping; None: measured on the data, with the default loss.
        chunk: steps that gradients went back in training (truncated back-propagation).
        reset_every: steps after which the state is reset, in training or in use.
        trained_steps: the longest sequences that the model was trained on.
        need: how far back the data needs, in steps, or a measurement of it; None: measured here.
        seed: of all that is drawn. The global generators are not touched.

    Raises:
        MeasureError: as for `horizon` and `required_horizon`, but that a model whose answers are NaN is a finding,
            and one whose answers are all the same is one where the fault behind it is found.
    """
    settings = _settings(clip, gradient_norms, chunk, reset_every, trained_steps)
    axis = time_axis(model, time_dim)
    sequences = read_sequences(inputs, lengths, axis)
    if (broken := _diverged(model, sequences, axis)) is not None:
        return Diagnosis((broken,), None, None, None, (), MappingProxyType({}))
    evidence = _gather(model, sequences, targets, axis, loss, settings, need, seed)
    findings: list[Finding] = []
    reasons: dict[str, str] = {}
    for name, test in _TESTS.items():
        try:
            found = test(evidence)
        except MeasureError as error:
            reasons[name] = f"not looked for: {error}"
            continue
        if found is None:
            continue
        causes = [each.name for each in findings if each.name in _FOLLOWS.get(name, ())]
        if causes:
            reasons[name] = f"{found.figure}, as follows from what comes first ({', '.join(causes)})"
        else:
            findings.append(found)
    if not findings:
        # what makes every answer the same was not found: no fault found would be wrong
        check_answers(evidence.subject.last(_rows(sequences)[0]))
    return Diagnosis(
        tuple(findings),
        Steps(evidence.need[1]) if evidence.need else None,
        used_steps(evidence.measures.get("use"), evidence.measures.get("counterfactual")),
        evidence.required,
        _figures(evidence, not findings),
        MappingProxyType(reasons),
    )


def _gather(
    model: Callable[..., Any],
    sequences: Sequences,
    targets: Any,
    axis: int,
    loss: Callable[..., Any] | None,
    settings: Settings,
    need: int | RequiredHorizon | None,
    seed: int,
) -> Evidence:
    subject = examine(model, sequences, axis)
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
    measures: dict[str, Any] = {}
    rows, most = _rows(sequences)
    settled: dict[str, Any] = {"threshold": 0.01, "confidence": 0.95, "seed": seed}
    takes: dict[str, Callable[[], Any]] = {
        "gradient": lambda: gradient(subject, rows, most, **settled),
        "counterfactual": lambda: _remembered(subject, rows, most, **settled),
    }
    if questions is not None:
        takes["use"] = lambda: use(subject, questions, loss, **settled)
    for name, take in takes.items():
        try:
            measures[name] = take()
        except MeasureError as error:
            reasons[name] = str(error)
    layers: tuple[AtWork, ...] = ()
    try:
        layers = layers_at_work(subject, sequences)
    except MeasureError as error:
        reasons["layers"] = str(error)
    return Evidence(
        subject, sequences, questions, per_step, loss, settings, required, needs, shortfall, measures, reasons,
        layers, seed,
    )  # fmt: skip


def _remembered(subject: Subject, rows: tuple[Tensor, ...], most: int, **settled: Any) -> Measure:
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


def _rows(sequences: Sequences) -> tuple[tuple[Tensor, ...], int]:
    """Those that are measured, and the longest lag: as long as a quarter of them (but 8) allows."""
    ordered = sorted(sequences.lengths, reverse=True)
    most = max(1, ordered[max(FEWEST, len(ordered) // 4) - 1] - 1)
    return tuple(sequences.rows[i] for i in sequences.at_least(most + 1)), most


def _diverged(model: Callable[..., Any], sequences: Sequences, axis: int) -> Finding | None:
    """A model whose answers are NaN or infinite."""
    shown = Subject(model, sequences.array and not isinstance(model, torch.nn.Module), axis, "grouped")
    row = max(sequences.rows, key=len)
    try:
        with torch.no_grad():
            answers = shown.returned(torch.stack([row, row]))
    except MeasureError:
        # whatever it is, examine says it better
        return None
    if bool(torch.isfinite(answers).all()):
        return None
    return Finding(
        "exploding",
        f"the answers to a sequence of {len(row)} steps hold NaN or infinity",
        "start from fresh weights with remember=, whose recurrent weights do not grow, and clip gradients to 1",
        {"initialise": "default", "remember": max(3, len(row)), "clip": 1.0},
        {"steps": len(row)},
    )


def _figures(evidence: Evidence, sound: bool) -> tuple[str, ...]:
    """What was measured, a sentence each."""
    found = []
    if evidence.required is not None:
        found.append(str(evidence.required))
    found.extend(str(measure) for measure in evidence.measures.values())
    if evidence.shortfall is not None:
        got = 1.0 - evidence.shortfall
        share = f"{got:.0%}" if got > 0.005 else "nothing"
        found.append(f"the model gets {share} of the gain that the probes achieve")
        if evidence.falls_short and sound:
            found.append(
                "what keeps it from the rest is none of the faults that were looked for: train it for longer"
            )
    return tuple(found)


def _settings(
    clip: float | None,
    gradient_norms: Sequence[float] | None,
    chunk: int | None,
    reset_every: int | None,
    trained_steps: int | None,
) -> Settings:
    for name, steps in (("chunk", chunk), ("reset_every", reset_every), ("trained_steps", trained_steps)):
        if steps is not None and (not is_whole(steps) or steps < 1):
            raise MeasureError(f"{name} is {steps!r}; a whole number of steps, 1 or more, was wanted")
    if clip is not None and not clip > 0:
        raise MeasureError(f"clip is {clip}; a norm above 0, or None for none, was wanted")
    norms = tuple(float(norm) for norm in (() if gradient_norms is None else gradient_norms))
    if any(not norm >= 0 for norm in norms):
        raise MeasureError(
            "gradient_norms hold NaN or a negative number; norms as seen in training were wanted"
        )
    return Settings(clip, norms, chunk, reset_every, trained_steps)
