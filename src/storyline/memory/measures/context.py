"""Use of context by a model and its targets: the loss of each sequence when only its last k steps are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from storyline.memory.measures.counterfactual import check_answers
from storyline.memory.measures.curve import Array, Measure, interval, weights
from storyline.memory.measures.use import ContextUse, context_use, limit_of
from storyline.memory.steps import MeasureError
from storyline.memory.subjects.sequences import Sequences
from storyline.memory.subjects.subject import Subject

Loss = Callable[..., Any]
_DEFINITION = (
    "the smallest context, in steps, from which on the loss stays within {share} of the loss with all of it, or of "
    "what the context gains where that is more"
)
# Answers that are scored: up to so many, and up to so many of one sequence.
_SCORED, _SCORED_A_ROW = 256, 8


@dataclass(frozen=True, eq=False)
class Questions:
    """What is to be answered: the context of each answer, its target, and the sequence that it is of.

    contexts  one tensor (time, ...) a question: the sequence up to the step that is asked for
    targets   (questions, ...)
    source    (questions,) which sequence
    """

    contexts: tuple[Tensor, ...]
    targets: Tensor
    source: np.ndarray


def use(
    subject: Subject,
    questions: Questions,
    loss: Loss | None,
    *,
    threshold: float,
    confidence: float,
    seed: int,
) -> Measure:
    """How much context a model uses: its loss with only the last k steps, against the loss with all of them.

        L(k) = mean over questions of loss(answer to the last k steps, target)
        steps = min { k : L(j) <= L + threshold * max(|L|, L(1) - L) for every measured j >= k }

    A context of k steps holds the lags 0 ... k - 1.

    Args:
        subject: the model; it must take sequences shorter than those given.
        questions: see `ask`.
        loss: (answers (n, size), targets (n, ...)) -> a number, or one for each; None: cross-entropy of logits
            for integer targets, squared error for others.
        threshold: share of the loss or gain.
        confidence: of the interval, over sequences.
        seed: of the resamples.

    Raises:
        MeasureError: a loss is not finite, or the answers are the same for all sequences.
    """
    taken: dict[int | None, Array] = {}

    def loss_at(k: int | None) -> float:
        contexts = [row if k is None else row[-k:] for row in questions.contexts]
        answers = subject.last(contexts)
        if k is None:
            check_answers(answers)
        taken[k] = _losses(loss, answers, questions.targets, subject.array)
        return float(taken[k].mean())

    longest = max(len(row) for row in questions.contexts)
    found = context_use(loss_at, longest, tolerance=threshold, ratio=2.0, of_gain=True)
    full, per_question = taken[None], np.stack([taken[int(k)] for k in found.lags], axis=1)
    sequences, place = np.unique(questions.source, return_inverse=True)
    drawn = weights(len(sequences), seed)[:, place]
    drawn /= drawn.sum(1, keepdims=True)
    curves, fulls = drawn @ per_question, drawn @ full
    steps = np.array(
        [_steps(found.lags, curve, one, threshold) for curve, one in zip(curves, fulls, strict=True)]
    )
    low, high = interval(steps, confidence)
    return _measure(found, curves, low, high, threshold, confidence, len(sequences))


def _measure(
    found: ContextUse, curves: Array, low: int, high: int, threshold: float, confidence: float, sequences: int
) -> Measure:
    tail = (1.0 - confidence) / 2.0
    longest = int(found.lags[-1])
    return Measure(
        name="use",
        steps=found.steps.value,
        low=max(1, min(low, found.steps.value)),
        high=max(high, found.steps.value),
        at_least=found.steps.at_least,
        high_at_least=found.steps.at_least or high > longest,
        lags=found.lags,
        curve=found.losses,
        band=np.quantile(curves, [tail, 1.0 - tail], axis=0),
        threshold=threshold,
        confidence=confidence,
        sequences=sequences,
        definition=_DEFINITION.format(share=f"{threshold * 100:g} %"),
        notes=found.notes,
    )


def _steps(lags: np.ndarray, curve: Array, full: float, threshold: float) -> float:
    """Where one resampled curve comes within its limit for good; one more than the longest where it does not.

    Between two measured contexts what the loss lies above the full one is taken to fall exponentially.
    """
    allowed = limit_of(full, threshold, float(curve[0]) - full) - full
    short = np.flatnonzero(curve - full > allowed)
    if not len(short):
        return float(lags[0])
    last = int(short[-1])
    if last + 1 == len(lags):
        return float(lags[-1] + 1)
    above, below = float(curve[last]) - full, max(float(curve[last + 1]) - full, 1e-12 * allowed)
    part = np.log(above / allowed) / np.log(above / below) if allowed > 0 else 1.0
    return float(np.ceil(lags[last] + part * (lags[last + 1] - lags[last])))


def ask(subject: Subject, sequences: Sequences, targets: Any, time_dim: int) -> Questions:
    """Read targets: one a sequence, or one a step where the model answers at every step.

    One a step is (batch, time, ...), in the order of the inputs' axes, or a list of sequences; of each sequence up
    to 8 steps of its second half are asked, evenly spread, the last one always; targets below 0 (integers, as
    torch.nn.CrossEntropyLoss ignores -100) or NaN are no question.

    Raises:
        MeasureError: their number does not fit the sequences, or no target is left.
    """
    rows = sequences.rows
    per_step = subject.layout is not None and subject.layout.time is not None
    listed = isinstance(targets, list | tuple) and len(targets) > 0 and np.ndim(targets[0]) > 0
    if listed:
        wanted = [target_of(target, f"targets[{i}]") for i, target in enumerate(targets)]
    else:
        given = target_of(targets, "targets")
        stepwise = per_step and given.ndim >= 2 and given.shape[time_dim] == sequences.steps
        if stepwise and time_dim == 0:
            given = given.transpose(0, 1)
        wanted = list(given) if given.ndim else []
        listed = stepwise
    if len(wanted) != len(rows):
        raise MeasureError(
            f"targets are for {len(wanted)} sequences, inputs hold {len(rows)}; give a target for each"
        )
    if not listed:
        return Questions(rows, torch.stack(wanted), np.arange(len(rows)))
    each = max(1, min(_SCORED_A_ROW, _SCORED // len(rows)))
    asked: list[tuple[int, int]] = []
    for i, (row, target) in enumerate(zip(rows, wanted, strict=True)):
        if len(target) < len(row):
            raise MeasureError(
                f"targets[{i}] has {len(target)} steps, inputs[{i}] {len(row)}; give one for each step"
            )
        valid = torch.nonzero(_is_target(target[: len(row)])).flatten().tolist()
        late = [t for t in valid if t >= len(row) // 2] or valid
        places: Any = np.unique(np.linspace(len(late) - 1, 0, each).round().astype(int)) if late else []
        asked.extend((i, late[place]) for place in places)
    if not asked:
        raise MeasureError("targets hold no answer (all are below 0 or NaN); give at least one a sequence")
    contexts = tuple(rows[i][: t + 1] for i, t in asked)
    return Questions(contexts, torch.stack([wanted[i][t] for i, t in asked]), np.array([i for i, _ in asked]))


def target_of(values: Any, name: str) -> Tensor:
    """Targets as a tensor on the CPU; whole numbers as int64, which torch's losses want.

    Raises:
        MeasureError: they are no numbers.
    """
    try:
        if isinstance(values, list | tuple):
            values = [each.detach().cpu() if isinstance(each, Tensor) else each for each in values]
        given = values.detach().cpu() if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    except (TypeError, ValueError) as error:
        raise MeasureError(
            f"{name} cannot be read as numbers ({error}); numbers, or classes as integers, were wanted: encode them "
            "first"
        ) from None
    if given.is_complex():
        raise MeasureError(f"{name} are {given.dtype}; real numbers, or classes as integers, were wanted")
    return given if given.is_floating_point() else given.long()


def _is_target(target: Tensor) -> Tensor:
    flat = target.reshape(len(target), -1)
    return ~torch.isnan(flat).any(1) if target.is_floating_point() else (flat >= 0).all(1)


def _losses(loss: Loss | None, answers: Tensor, targets: Tensor, array: bool) -> Array:
    """(questions,) the loss of each."""
    if loss is None:
        return default_loss(answers, targets).numpy()
    targets = targets.to(answers.dtype) if targets.is_floating_point() else targets
    given = (answers.numpy(), targets.numpy()) if array else (answers, targets)
    try:
        found = torch.as_tensor(np.asarray(loss(*given)) if array else loss(*given)).double()
        if found.numel() != len(answers):
            # a mean over all: the interval needs each
            found = torch.stack(
                [torch.as_tensor(loss(a[None], t[None])).double().mean() for a, t in zip(*given, strict=True)]
            )
    except Exception as error:
        came = " and ".join(
            f"{name} {tuple(each.shape)} of {each.dtype}"
            for name, each in (("answers", answers), ("targets", targets))
        )
        raise MeasureError(
            f"loss= raised {type(error).__name__} for {came}; give one that takes them: {str(error)[:300]}"
        ) from error
    return found.reshape(-1).numpy()


def default_loss(answers: Tensor, targets: Tensor) -> Tensor:
    """(n,) squared error of floating point, else cross-entropy; of answers of one number, the logit of class 1.

    Raises:
        MeasureError: targets and answers do not fit, or a target is NaN or infinite.
    """
    if targets.is_floating_point():
        wanted = targets.reshape(len(targets), -1).double()
        if wanted.shape != answers.shape:
            raise MeasureError(
                f"answers have {answers.shape[1]} numbers, targets {wanted.shape[1]}; they must agree: give loss="
            )
        if not bool(wanted.isfinite().all()):
            place = int((~wanted.isfinite()).any(1).nonzero()[0, 0])
            raise MeasureError(
                f"target {place} of {len(wanted)} is NaN or infinite; replace it, or drop its sequence"
            )
        return (answers - wanted).square().mean(1)
    if targets.ndim != 1:
        raise MeasureError(
            f"integer targets have shape {tuple(targets.shape)}; one class each was wanted: give loss="
        )
    low, high, classes = int(targets.min()), int(targets.max()), max(2, answers.shape[1])
    if low < 0 or high >= classes:
        raise MeasureError(
            f"a target is class {low if low < 0 else high}, the model answers with {answers.shape[1]} numbers; classes "
            f"from 0 to {classes - 1} were wanted: encode them so, or give loss="
        )
    if answers.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(answers[:, 0], targets.double(), reduction="none")
    return functional.cross_entropy(answers, targets.long(), reduction="none")
