"""The loss of each answer: the user's own, or that of torch.nn for classes and for numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from storyline.memory.measures.curve import Array
from storyline.memory.steps import MeasureError
from storyline.memory.subjects.subject import Subject

Loss = Callable[..., Any]


def losses_of(loss: Loss | None, subject: Subject, answers: Tensor, targets: Tensor) -> Array:
    """(questions,) the loss of each.

    A loss of the user's own is given what it is given in training: floating-point targets as they came, with the
    answers in their dtype; beside classes the answers in the dtype of the model's output. Targets of as many numbers
    as the answers have their shape, (n, size), so that no loss spreads (n,) over (n, 1).
    """
    if loss is None:
        return default_loss(answers, targets).numpy()
    if targets.is_floating_point():
        answers = answers.to(targets.dtype)
        targets = targets.reshape(answers.shape) if targets.numel() == answers.numel() else targets
    elif subject.dtype is not None and subject.dtype.is_floating_point:
        answers = answers.to(subject.dtype)
    given = (answers.numpy(), targets.numpy()) if subject.array else (answers, targets)
    try:
        found = torch.as_tensor(np.asarray(loss(*given)) if subject.array else loss(*given)).double()
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
