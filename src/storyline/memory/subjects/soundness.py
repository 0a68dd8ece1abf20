"""What makes a measurement worthless, found and named before it is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from storyline.memory.steps import MeasureError
from storyline.memory.subjects.manner import ragged_manner, wants_lengths
from storyline.memory.subjects.outputs import Layout, find_layout, layout_at_once
from storyline.memory.subjects.sequences import Sequences
from storyline.memory.subjects.subject import Subject

# An interval over fewer sequences says nothing.
FEWEST = 8
# Two answers that ought to be equal may differ by rounding: by this share of what sequences differ by.
_ROUNDING = 1e-3
# On so many sequences the model is tried.
_TRIED = 4


def time_axis(model: Any, time_dim: int | None) -> int:
    """Which axis is time: as said, else by the module's `batch_first`, else the second.

    Raises:
        MeasureError: `time_dim` is neither 0 nor 1.
    """
    if time_dim is None:
        return 0 if getattr(model, "batch_first", True) is False else 1
    if time_dim not in (0, 1):
        raise MeasureError(f"time_dim is {time_dim!r}; 0 (time first), 1 (batch first) or None was wanted")
    return time_dim


def examine(
    model: Callable[..., Any], sequences: Sequences, time_dim: int, rows_at_once: int | None = None
) -> Subject:
    """Try a model on a few sequences, and return how it is to be called.

    Raises:
        MeasureError: too few or too short sequences; dropout or batch normalisation left in training mode; two
            identical calls that differ; rows that are mixed; an output that is not finite or whose axes cannot
            be told apart.
    """
    if isinstance(model, type):
        raise MeasureError(f"model is the class {model.__name__} itself; one of its instances was wanted")
    if not callable(model):
        run = (
            " (of an ONNX session, give lambda x: session.run(None, {name: x})[0])"
            if hasattr(model, "run")
            else ""
        )
        raise MeasureError(f"model is a {type(model).__name__}; a module or a callable was wanted{run}")
    if len(sequences.rows) < FEWEST:
        raise MeasureError(
            f"inputs hold {len(sequences.rows)} sequences; at least {FEWEST} are needed for an interval over sequences"
        )
    if isinstance(model, nn.Module):
        _check_mode(model)
    array = sequences.array and not isinstance(model, nn.Module)
    subject = Subject(
        model,
        array,
        time_dim,
        ragged_manner(model),
        rows_at_once=rows_at_once,
        always_lengths=wants_lengths(model),
        given=sequences.dtype,
    )
    rows = sequences.rows
    tried = list(rows[-_TRIED:] if isinstance(rows, Tensor) else sorted(rows, key=len)[-_TRIED:])
    steps = len(tried[0])
    if steps < 2:
        raise MeasureError(
            "all but a few sequences have a single step; at least 2 steps are needed for a lag: give longer sequences"
        )
    # by size, the largest where it is exchanged for the smallest: a model that scales by the batch is found out
    tried = sorted((row[-steps:] for row in tried), key=lambda row: float(row.abs().max()))
    small, *some, large = tried
    batch = torch.stack([some[0], large, some[1]])
    with torch.no_grad():
        if rows_at_once == 1:
            return _examined_alone(subject, batch)
        return _examined(subject, batch, small)


def _examined(subject: Subject, batch: Tensor, other: Tensor) -> Subject:
    few = batch[: subject.rows_at_once]
    full = subject.returned(few)
    _check_finite(full)
    # neither another row between them nor their places may change the first and the last
    mixed = torch.stack([batch[2], other, batch[0]])
    moved = subject.returned(mixed) if len(few) == len(batch) else None
    # what is the same elsewhere is the same here: the same call is made again only where that tells something
    elsewhere = moved is not None and _follows(full, moved)
    if not elsewhere:
        _check_repeat(subject, full.double(), subject.returned(few).double())
    layout = _layout(subject, full, few)
    subject = replace(subject, layout=layout, dtype=full.dtype)
    if not layout.aligned:
        subject = replace(subject, ragged="grouped")
    if moved is None:
        answers, others = subject.answer(batch, None), subject.answer(mixed, None)
    else:
        answers, others = subject.arranged(full, batch), subject.arranged(moved, mixed)
    answers = answers.double()
    _check_rows(subject, answers, others.double())
    causal = answers_causally(subject, batch, answers)
    if elsewhere and not causal:
        # no other call has shown all rows once more
        _check_repeat(subject, full.double(), subject.returned(few).double())
    return replace(subject, causal=causal)


def _layout(subject: Subject, full: Tensor, few: Tensor) -> Layout:
    """Which axis of the output is which: from one call more where its sizes tell, else an axis a call."""
    less = _shorter(subject, few[:-1])
    if less is not None and (found := layout_at_once(full, less, *few.shape[:2])) is not None:
        return found
    shorter = _shorter(subject, few) if less is not None else None
    layout = find_layout(full, subject.returned(few[:-1]), shorter, few.shape[1])
    return _by_size(layout, full, few) if shorter is None else layout


def _examined_alone(subject: Subject, batch: Tensor) -> Subject:
    one = batch[:1]
    full, shorter = subject.returned(one), _shorter(subject, one)
    time = None
    if shorter is not None:
        changed = [axis for axis in range(full.ndim) if full.shape[axis] != shorter.shape[axis]]
        time = changed[0] if changed else None
    ones = [axis for axis in range(full.ndim) if axis != time and full.shape[axis] == 1]
    if not ones:
        raise MeasureError(
            f"the output for one sequence is {tuple(full.shape)}; an axis of one sequence was wanted"
        )
    layout = Layout(ones[0], time, time is None or full.shape[time] == one.shape[1])
    layout = _by_size(layout, full, one) if shorter is None else layout
    subject = replace(subject, layout=layout, dtype=full.dtype)
    answers = subject.answer(one, None).double()
    _check_finite(answers)
    _check_repeat(subject, answers, subject.answer(one, None).double())
    return replace(subject, causal=answers_causally(subject, one, answers))


def _shorter(subject: Subject, batch: Tensor) -> Tensor | None:
    """The output for one step fewer; None where the model takes one length only."""
    try:
        return subject.returned(batch[:, 1:])
    except MeasureError:
        return None


def _by_size(layout: Layout, full: Tensor, batch: Tensor) -> Layout:
    steps = [axis for axis in range(full.ndim) if axis != layout.batch and full.shape[axis] == batch.shape[1]]
    return Layout(layout.batch, steps[0]) if full.ndim > 2 and len(steps) == 1 else layout


def quantised(model: Any) -> str | None:
    """The first quantised layer of a torch module, as a person would call it; None: there is none."""
    for name, module in model.named_modules() if isinstance(model, nn.Module) else ():
        if type(module).__module__.startswith("torch.ao.nn.quantized"):
            return f"{type(module).__name__} {name!r}" if name else type(module).__name__
    return None


def _check_mode(model: nn.Module) -> None:
    """Refuse layers in training mode whose answers are random or mix rows, before a call changes their statistics."""
    for name, module in model.named_modules():
        if not module.training:
            continue
        called = f"{type(module).__name__} {name!r}" if name else type(module).__name__
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise MeasureError(
                f"{called} is in training mode and mixes the rows of a batch; call model.eval() first"
            )
        dropout = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
        between = isinstance(module, nn.RNNBase) and module.dropout > 0 and module.num_layers > 1
        if dropout or between:
            raise MeasureError(f"{called} is in training mode, with its dropout on; call model.eval() first")


def _follows(full: Tensor, moved: Tensor) -> bool:
    """Whether along some axis the first and the last answer have changed places, and are otherwise the same."""
    if full.shape != moved.shape:
        return False
    for axis in range(full.ndim):
        if full.shape[axis] == 3:
            here, there = (each.double().movedim(axis, 0) for each in (full, moved))
            if float((here[[0, 2]] - there[[2, 0]]).abs().max()) <= _ROUNDING * _scale(here):
                return True
    return False


def _check_finite(answers: Tensor) -> None:
    if not torch.isfinite(answers).all():
        raise MeasureError(
            "the model's output holds NaN or infinity; it has diverged or overflows on these inputs: train it again "
            "with clipping, or scale the inputs"
        )


def _check_repeat(subject: Subject, answers: Tensor, again: Tensor) -> None:
    difference = float((answers - again).abs().max())
    if difference > _ROUNDING * _scale(answers):
        mode = " and call model.eval()" if isinstance(subject.model, nn.Module) else ""
        raise MeasureError(
            f"two identical calls differ by {difference:.2g}: the model is random or keeps a state between calls; "
            f"turn dropout and noise off{mode}, and start every call from the same state"
        )


def _check_rows(subject: Subject, answers: Tensor, mixed: Tensor) -> None:
    difference = float((answers[[0, 2]] - mixed[[2, 0]]).abs().max())
    if difference <= _ROUNDING * _scale(answers):
        return
    if name := quantised(subject.model):
        raise MeasureError(
            f"{name} is quantised, and scales by the largest number of a whole batch, so that the answer for one "
            f"sequence changes by {difference:.2g} with the others; measure with rows_at_once=1"
        )
    advice = "is time taken for batch? Give time_dim=0 where the model reads (time, batch, ...)"
    if isinstance(subject.model, nn.Module) and subject.time_dim == 1:
        first = [n for n, m in subject.model.named_modules() if getattr(m, "batch_first", True) is False]
        if first:
            named = repr(first[0]) if first[0] else type(subject.model).__name__
            advice = f"its {named} has batch_first=False: give time_dim=0 and inputs (time, batch, ...)"
    elif subject.time_dim == 0:
        advice = "is batch taken for time? Give time_dim=1 where the model reads (batch, time, ...)"
    raise MeasureError(
        f"rows of a batch are mixed: the answer for one sequence changes by {difference:.2g} with the other sequences, "
        f"or with its place among them; {advice}; otherwise make rows independent, or measure with rows_at_once=1"
    )


def _scale(answers: Tensor) -> float:
    """How far answers lie apart; where they don't, how large they are."""
    spread = float((answers - answers.mean(0, keepdim=True)).abs().max())
    return spread or float(answers.abs().max())


def answers_causally(subject: Subject, batch: Tensor, answers: Tensor) -> bool:
    """Whether the answers in the first half stay when the second half is changed."""
    if answers.ndim != 3:
        return False
    half = batch.shape[1] // 2
    changed = torch.cat(
        [batch[:, :half], batch[:, half:].flip(1) if len(batch) == 1 else batch.roll(1, 0)[:, half:]], 1
    )
    difference = (subject.answer(changed, None).double() - answers)[:, :half].abs().max()
    return float(difference) <= _ROUNDING * _scale(answers)
