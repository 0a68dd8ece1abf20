"""What the data asks: at which step of which sequence, after which context, for which target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from storyline.memory.steps import MeasureError
from storyline.memory.subjects.sequences import Sequences, read_sequences

# A part to fit on, and two to choose and to score on: with fewer sequences each holds too little to tell.
FEWEST = 16
# So many answers are asked for, spread over the sequences, and of long contexts so many steps in all: the cost of a
# probe goes with them.
_REAL, _CLASS, _STEPS = 8000, 3000, 1 << 22
# Sequences are looked at up to so many steps in all, with the longest context in front of each: they lie in memory.
_HELD = 1 << 21
# Classes that are told apart; rarer ones count as one.
_CLASSES = 64


@dataclass(frozen=True, eq=False)
class NeedQuestions:
    """The sequences and what is asked of them.

    rows      (time, channels) float64 or (time,) int64 tokens, one a sequence
    row       (questions,) which sequence
    step      (questions,) the last step that may be seen; a context of k steps ends there
    targets   (questions, size) float64, or (questions,) int64 classes from 0
    classes   how many, 0 where targets are real
    longest   the longest context that is looked at, in steps
    whole     True where that is all that lies before a question
    notes     what was left out, in sentences
    """

    rows: tuple[NDArray[Any], ...]
    row: NDArray[np.int64]
    step: NDArray[np.int64]
    targets: NDArray[Any]
    classes: int
    longest: int
    whole: bool
    notes: tuple[str, ...]


def need_questions(
    sequences: Any, targets: Any, lengths: Any, longest: int | None, seed: int
) -> NeedQuestions:
    """Read sequences and targets.

    Raises:
        MeasureError: too few or too short sequences, targets of a wrong length, one class only, NaN.
    """
    given = read_sequences(sequences, lengths, 1)
    rows = tuple(_array(row) for row in given.rows)
    if len(rows) < FEWEST:
        raise MeasureError(
            f"sequences are {len(rows)}; at least {FEWEST} are needed, to fit on some and to score on others: give "
            "more, or cut long ones into pieces"
        )
    wanted, per_step = _following(given) if targets is None else _targets(targets, given)
    notes: list[str] = []
    rows, wanted = _within_memory(rows, wanted, longest, seed, notes)
    if per_step:
        row, step, longest, whole = _spread(rows, wanted, longest, seed, notes)
        flat = np.stack([wanted[r][t] for r, t in zip(row, step, strict=True)])
    else:
        row, step = np.arange(len(rows)), np.array([len(each) - 1 for each in rows])
        most = int(step.max()) + 1
        longest = most if longest is None else min(longest, most)
        whole, flat = longest == most, np.stack(wanted)
    values, classes = _classes(flat, notes) if np.issubdtype(flat.dtype, np.integer) else (_reals(flat), 0)
    return NeedQuestions(rows, row, step, values, classes, longest, whole, tuple(notes))


def _array(row: Tensor) -> NDArray[Any]:
    if not row.is_floating_point():
        return row.cpu().numpy()
    return row.double().cpu().numpy().reshape(len(row), -1)


def _within_memory(
    rows: tuple[NDArray[Any], ...],
    wanted: list[NDArray[Any]],
    longest: int | None,
    seed: int,
    notes: list[str],
) -> tuple[tuple[NDArray[Any], ...], list[NDArray[Any]]]:
    """Some of the sequences, drawn at random, where all of them are too many steps."""
    time = max(len(row) for row in rows)
    kept = max(4 * FEWEST, _HELD // (time + min(longest or time, time)))
    if kept >= len(rows):
        return rows, wanted
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:kept])
    notes.append(
        f"Measured on {kept} of {len(rows)} sequences, drawn at random: all are too many steps to hold."
    )
    return tuple(rows[i] for i in chosen), [wanted[i] for i in chosen]


def _following(given: Sequences) -> tuple[list[NDArray[Any]], bool]:
    """The next token, or the next value, as the target of each step but the last."""
    return [_array(row)[1:] for row in given.rows], True


def _targets(targets: Any, given: Sequences) -> tuple[list[NDArray[Any]], bool]:
    steps = given.lengths
    try:
        iter(targets)
    except TypeError:
        raise MeasureError(
            f"targets are {targets!r}; one target for each sequence, or one for each step, was wanted"
        ) from None
    if isinstance(targets, Tensor | np.ndarray):
        whole = targets.detach().cpu().numpy() if isinstance(targets, Tensor) else targets
        per_step = whole.ndim >= 2 and whole.shape[1] == given.steps and given.steps > 1
        values = list(whole)
    else:
        values = [
            each.detach().cpu().numpy() if isinstance(each, Tensor) else np.asarray(each) for each in targets
        ]
        per_step = (
            bool(values)
            and values[0].ndim > 0
            and all(len(value) == n for value, n in zip(values, steps, strict=False))
        )
    if len(values) != len(steps):
        raise MeasureError(
            f"targets are {len(values)}, sequences {len(steps)}; one target for each sequence, or one for each step, "
            "was wanted"
        )
    values = [np.asarray(value) for value in values]
    if len({value.shape[1 if per_step else 0 :] for value in values}) > 1:
        i = next(i for i, value in enumerate(values) if value.shape != values[0].shape)
        raise MeasureError(
            f"targets[{i}] has shape {values[i].shape}, targets[0] {values[0].shape}, for sequences of {steps[i]} and "
            f"{steps[0]} steps; give one target for each sequence, all of one shape, or one for each step"
        )
    return [value.astype(np.int64) if value.dtype == bool else value for value in values], per_step


def _spread(
    rows: tuple[NDArray[Any], ...],
    wanted: list[NDArray[Any]],
    longest: int | None,
    seed: int,
    notes: list[str],
) -> tuple[NDArray[np.int64], NDArray[np.int64], int, bool]:
    """Questions at steps that all have the longest context before them, as many of each sequence."""
    ends = np.array([min(len(row), len(target)) for row, target in zip(rows, wanted, strict=True)])
    if longest is None:
        longest = max(1, int(np.median(ends)) // 2)
    long = np.flatnonzero(ends >= longest)
    if len(long) < FEWEST:
        raise MeasureError(
            f"{len(long)} sequences have {longest} steps or more before a target; at least {FEWEST} are needed: give "
            "longer sequences, or a smaller longest="
        )
    if len(long) < len(rows):
        notes.append(
            f"Measured on the {len(long)} of {len(rows)} sequences with {longest} steps before a target."
        )
    most = _CLASS if np.issubdtype(wanted[0].dtype, np.integer) else _REAL
    each = max(1, min(most, _STEPS // longest) // len(long))
    generator = np.random.default_rng(seed)
    row, step = [], []
    for i in long:
        places = np.arange(longest - 1, ends[i])
        places = places[_is_target(wanted[i][places])]
        places = np.sort(generator.permutation(places)[:each])
        row.append(np.full(len(places), i))
        step.append(places)
    if sum(len(places) > 0 for places in step) < FEWEST:
        raise MeasureError(
            f"fewer than {FEWEST} sequences have a target after {longest} steps (those below 0 or NaN are none); give "
            "more, or a smaller longest="
        )
    return np.concatenate(row), np.concatenate(step), longest, False


def _is_target(target: NDArray[Any]) -> NDArray[np.bool_]:
    flat = target.reshape(len(target), -1)
    given: NDArray[np.bool_] = (
        flat >= 0 if np.issubdtype(flat.dtype, np.integer) else np.logical_not(np.isnan(flat))
    )
    found: NDArray[np.bool_] = np.asarray(given.all(1))
    return found


def _reals(flat: NDArray[Any]) -> NDArray[np.float64]:
    try:
        values = flat.astype(np.float64).reshape(len(flat), -1)
    except (TypeError, ValueError):
        raise MeasureError(
            f"targets are {flat.dtype}; numbers, or classes as integers, were wanted: encode them first"
        ) from None
    if not np.isfinite(values).all():
        place = int(np.flatnonzero(~np.isfinite(values).all(1))[0])
        raise MeasureError(f"target {place} is NaN or infinite; replace it, or drop its sequence")
    if not (values.std(0) > 1e-12 * np.abs(values).max(0)).any():
        raise MeasureError(
            f"all targets are {values[0].tolist()[:4]}; targets that differ were wanted: a constant needs no memory"
        )
    return values[:, values.std(0) > 1e-12 * np.abs(values).max(0)]


def _classes(flat: NDArray[Any], notes: list[str]) -> tuple[NDArray[np.int64], int]:
    if flat.ndim > 1:
        raise MeasureError(
            f"integer targets have shape {flat.shape[1:]} each; one class each was wanted: make numbers floating point"
        )
    names, place, counts = np.unique(flat, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise MeasureError(
            f"all targets are class {names[0]}; at least two classes were wanted: give sequences of another class too"
        )
    if len(names) > _CLASSES:
        kept = np.sort(np.argsort(-counts, kind="stable")[: _CLASSES - 1])
        to = np.full(len(names), _CLASSES - 1)
        to[kept] = np.arange(_CLASSES - 1)
        notes.append(
            f"Of {len(names)} classes the {_CLASSES - 1} most frequent are told apart, "
            f"{counts[kept].sum() / len(flat):.0%} of the targets; the others count as one."
        )
        return to[place].astype(np.int64), _CLASSES
    return place.astype(np.int64), len(names)
