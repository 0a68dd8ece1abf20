"""What is wrong with a model's memory, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from storyline.memory.diagnosis.diagnosis import NOT_SOUGHT, Diagnosis, Finding, gained, used_steps
from storyline.memory.diagnosis.drift import drifting
from storyline.memory.diagnosis.evidence import Evidence, Settings
from storyline.memory.diagnosis.faults import clipped, reset_often, truncated
from storyline.memory.diagnosis.gathering import gather, measured_rows
from storyline.memory.diagnosis.state_faults import dead, exploding, ignored, saturated, vanishing
from storyline.memory.measures.counterfactual import check_answers
from storyline.memory.need.required_horizon import RequiredHorizon
from storyline.memory.steps import MeasureError, Steps, check_sizes, is_whole
from storyline.memory.subjects.sequences import Sequences, read_sequences
from storyline.memory.subjects.soundness import examine, time_axis
from storyline.memory.subjects.subject import Subject

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
    chunk: float | None = None,
    reset_every: float | None = None,
    trained_steps: float | None = None,
    need: int | RequiredHorizon | None = None,
    time_dim: int | None = None,
    seed: int = 0,
    rows_at_once: int | None = None,
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
        clip: the norm that gradients were clipped to in training; math.inf: they were not.
        gradient_norms: those seen in training, before clipping; None: measured on the data, with the default loss, by
            the parameters of `model`: comparable with `clip` only where training had that loss and no others.
        chunk: steps that gradients went back in training (truncated back-propagation); math.inf: whole sequences.
        reset_every: steps after which the state is reset, in training or in use; math.inf: never inside a sequence.
        trained_steps: the longest sequences that the model was trained on; math.inf: the state was carried on from
            chunk to chunk, so that there was no longest.
        need: how far back the data needs, in steps, or a measurement of it; None: measured here.
        seed: of all that is drawn. The global generators are not touched.
        rows_at_once: as for `horizon`.

    Raises:
        MeasureError: as for `horizon` and `required_horizon`, but that a model whose answers are NaN is a finding,
            and one whose answers are all the same is one where the fault behind it is found.
    """
    settings = _settings(clip, gradient_norms, chunk, reset_every, trained_steps)
    if rows_at_once is not None:
        check_sizes(rows_at_once=rows_at_once)
    axis = time_axis(model, time_dim)
    sequences = read_sequences(inputs, lengths, axis)
    try:
        subject = examine(model, sequences, axis, rows_at_once)
    except MeasureError:
        if (broken := _diverged(model, sequences, axis)) is None:
            raise
        return Diagnosis((broken,), None, None, None, (), MappingProxyType({}))
    evidence = gather(subject, sequences, targets, axis, loss, settings, need, seed)
    findings, reasons = _told_apart(evidence)
    if not findings:
        # what makes every answer the same was not found: no fault found would be wrong
        check_answers(subject.last(measured_rows(sequences)[0]))
    return Diagnosis(
        tuple(findings),
        Steps(evidence.need[1]) if evidence.need else None,
        used_steps(evidence.measures.get("use"), evidence.measures.get("counterfactual")),
        evidence.required,
        _figures(evidence, not findings),
        MappingProxyType(reasons),
        evidence.shortfall,
    )


def _told_apart(evidence: Evidence) -> tuple[list[Finding], dict[str, str]]:
    """Findings, and of the other faults those that were not looked for or follow from a finding, with the reason."""
    findings: list[Finding] = []
    reasons: dict[str, str] = {}
    for name, test in _TESTS.items():
        try:
            found = test(evidence)
        except MeasureError as error:
            reasons[name] = f"{NOT_SOUGHT}: {error}"
            continue
        if found is None:
            continue
        causes = [each.name for each in findings if each.name in _FOLLOWS.get(name, ())]
        if causes:
            reasons[name] = f"{found.figure}, as follows from what comes first ({', '.join(causes)})"
        else:
            findings.append(found)
    return findings, reasons


def _diverged(model: Callable[..., Any], sequences: Sequences, axis: int) -> Finding | None:
    """A model whose answers are NaN or infinite."""
    if not callable(model):
        return None
    if isinstance(model, nn.Module):
        # a call in training mode would change what a batch normalisation has learned
        changing = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
        if any(isinstance(module, changing) and module.training for module in model.modules()):
            return None
    array = sequences.array and not isinstance(model, nn.Module)
    shown = Subject(model, array, axis, "grouped", given=sequences.dtype)
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
        found.append(gained(evidence.shortfall))
        if evidence.falls_short and sound:
            found.append(
                "what keeps it from the rest is none of the faults that were looked for: train it for longer"
            )
    return tuple(found)


def _settings(
    clip: float | None,
    gradient_norms: Sequence[float] | None,
    chunk: float | None,
    reset_every: float | None,
    trained_steps: float | None,
) -> Settings:
    for name, steps in (("chunk", chunk), ("reset_every", reset_every), ("trained_steps", trained_steps)):
        if steps is not None and steps != math.inf and (not is_whole(steps) or steps < 1):
            raise MeasureError(
                f"{name} is {steps!r}; a whole number of steps, 1 or more, or math.inf was wanted"
            )
    if clip is not None and not clip > 0:
        raise MeasureError(f"clip is {clip}; a norm above 0, or None for none, was wanted")
    norms = tuple(float(norm) for norm in (() if gradient_norms is None else gradient_norms))
    if any(not norm >= 0 for norm in norms):
        raise MeasureError(
            "gradient_norms hold NaN or a negative number; norms as seen in training were wanted"
        )
    return Settings(clip, norms, chunk, reset_every, trained_steps)
