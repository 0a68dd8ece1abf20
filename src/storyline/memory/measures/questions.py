"""What a model is asked: the context of each answer, and its target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from storyline.memory.steps import MeasureError
from storyline.memory.subjects.sequences import Sequences
from storyline.memory.subjects.subject import Subject

# Answers that are scored: up to so many, and up to so many of one sequence.
_SCORED, _SCORED_A_ROW = 256, 8


@dataclass(frozen=True, eq=False)
class Questions:
    """What is to be answered: the context of each answer, its target, and the sequence that it is of.

    contexts  one tensor (time, ...) a question: the sequence up to the step that is asked for; or all in one
    targets   (questions, ...)
    source    (questions,) which sequence
    """

    contexts: tuple[Tensor, ...] | Tensor
    targets: Tensor
    source: np.ndarray


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
