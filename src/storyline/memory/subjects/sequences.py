"""The sequences that a model is measured on: padded, ragged or a list, batch first or time first, numbers or tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from storyline.memory.steps import MeasureError

# Sequences (time, ...), one each; or (sequences, time, ...) where all are as long and lie in one tensor.
Rows = Sequence[Tensor] | Tensor


@dataclass(frozen=True, eq=False)
class Sequences:
    """Rows of (time, ...), one a sequence, whatever they came as.

    Attributes:
        rows: one tensor a sequence: (time, channels) or (time,) of floating point, (time,) int64 for tokens; one
            tensor of all where they came as one and all are as long.
        array: True where NumPy arrays were given: a callable that is no module is then handed NumPy arrays.
        ragged: True where the lengths differ.
        steps: of the padded tensor that they came in, as targets one a step have them; of a list, of the longest.
        dtype: as they came; tokens are int64 here, and int32 for a session that wants those.
    """

    rows: tuple[Tensor, ...] | Tensor
    array: bool
    ragged: bool
    steps: int
    dtype: torch.dtype

    @property
    def lengths(self) -> tuple[int, ...]:
        """Steps of each sequence."""
        return lengths_of(self.rows)

    @property
    def tokens(self) -> bool:
        """True where the steps are integers."""
        return not self.rows[0].is_floating_point()

    def at_least(self, steps: int) -> tuple[int, ...]:
        """The indices of those sequences that have so many steps."""
        return tuple(i for i, row in enumerate(self.rows) if len(row) >= steps)


def lengths_of(rows: Rows) -> tuple[int, ...]:
    """Steps of each."""
    return (rows.shape[1],) * len(rows) if isinstance(rows, Tensor) else tuple([len(row) for row in rows])


def picked(rows: Rows, places: Iterable[int]) -> Rows:
    """Those at these places, in this order; a copy where all lie in one tensor."""
    if isinstance(rows, Tensor):
        return rows[torch.tensor(list(places), device=rows.device)]
    return [rows[int(i)] for i in places]


def stacked(rows: Rows) -> Tensor:
    """(rows, time, ...) of rows that are all as long."""
    return rows if isinstance(rows, Tensor) else torch.stack(list(rows))


def endings(rows: Rows, steps: int) -> Rows:
    """The last so many steps of each, of a shorter one all."""
    return rows[:, -steps:] if isinstance(rows, Tensor) else [row[-steps:] for row in rows]


def read_sequences(inputs: Any, lengths: Any, time_dim: int) -> Sequences:
    """Bring what a user gave into rows.

    Args:
        inputs: a tensor or array, (batch, time, channels), (batch, time) floats or (batch, time) integers,
            the first two axes the other way round where `time_dim` is 0; a PackedSequence; or a list of
            sequences (time, ...).
        lengths: steps of each sequence of a padded tensor, None: all are full. Not for a list or a PackedSequence.
        time_dim: which axis of a padded tensor is time, 0 or 1.

    Raises:
        MeasureError: the inputs do not fit, or hold NaN or infinity.
    """
    if isinstance(inputs, PackedSequence):
        if lengths is not None:
            raise MeasureError("inputs are a PackedSequence, which has its own lengths; leave lengths out")
        batch, lengths = pad_packed_sequence(inputs, batch_first=True)
        inputs = batch if time_dim == 1 else batch.transpose(0, 1)
    if isinstance(inputs, Tensor | np.ndarray):
        padded = _tensor(inputs, "inputs")
        if padded.ndim < 2:
            raise MeasureError(
                f"inputs have shape {tuple(padded.shape)}; (batch, time, channels) or (batch, time) was wanted"
            )
        rows: Any = padded if time_dim == 1 else padded.transpose(0, 1)
        if lengths is not None:
            rows = _cut(list(rows.unbind(0)), lengths)
        array, steps = isinstance(inputs, np.ndarray), padded.shape[time_dim]
    elif isinstance(inputs, Sequence) and not isinstance(inputs, str | bytes):
        if lengths is not None:
            raise MeasureError(
                "lengths were given with a list of sequences, which has its own; leave lengths out"
            )
        rows = [_tensor(row, f"inputs[{i}]") for i, row in enumerate(inputs)]
        array = len(inputs) > 0 and not isinstance(inputs[0], Tensor)
        steps = max((len(row) for row in rows if row.ndim), default=0)
    else:
        raise MeasureError(
            f"inputs are a {type(inputs).__name__}; a tensor, a NumPy array or a list of sequences was wanted"
        )
    _check(rows)
    first = inputs if isinstance(inputs, Tensor | np.ndarray) else inputs[0]
    dtype = first.dtype if isinstance(first, Tensor) else torch.as_tensor(np.asarray(first)).dtype
    rows = rows if isinstance(rows, Tensor) else tuple(rows)
    return Sequences(rows, array, len(set(lengths_of(rows))) > 1, steps, dtype)


def _tensor(values: Any, name: str) -> Tensor:
    try:
        given = values.detach() if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    except (TypeError, ValueError) as error:
        raise MeasureError(f"{name} cannot be read as an array of numbers ({error})") from None
    if given.is_complex() or given.dtype == torch.bool:
        raise MeasureError(f"{name} are {given.dtype}; floating point, or integers for tokens, was wanted")
    if not given.is_floating_point():
        given = given.long()
    return given


def _cut(rows: list[Tensor], lengths: Any) -> list[Tensor]:
    given = _tensor(lengths, "lengths")
    if given.is_floating_point():
        raise MeasureError(f"lengths are {given.dtype}; whole numbers of steps were wanted")
    steps = given.reshape(-1).tolist()
    if len(steps) != len(rows):
        raise MeasureError(
            f"lengths hold {len(steps)} numbers, inputs {len(rows)} sequences; give one for each"
        )
    for i, (row, n) in enumerate(zip(rows, steps, strict=True)):
        if not 1 <= n <= len(row):
            raise MeasureError(f"lengths[{i}] is {n}; 1 to {len(row)}, the steps of inputs, was wanted")
    return [row[:n] for row, n in zip(rows, steps, strict=True)]


def _check(rows: list[Tensor] | Tensor) -> None:
    if not len(rows):
        raise MeasureError("inputs hold no sequence; give at least 8")
    if single := [i for i, row in enumerate(rows) if row.ndim == 0]:
        raise MeasureError(
            f"inputs[{single[0]}] is a single number; a sequence was wanted: give a list of sequences (time, ...)"
        )
    shape, dtype = rows[0].shape[1:], rows[0].dtype
    # a finite sum has no NaN or infinity in it; only for another the rows are looked at one by one
    clear = isinstance(rows, Tensor) and rows.shape[1] and dtype.is_floating_point and rows.sum().isfinite()
    for i, row in enumerate([] if clear else rows):
        if row.shape[1:] != shape or row.dtype != dtype:
            raise MeasureError(
                f"inputs[{i}] has steps of shape {tuple(row.shape[1:])} and {row.dtype}, inputs[0] of "
                f"{tuple(shape)} and {dtype}; all sequences must be alike but for their length"
            )
        if not len(row):
            raise MeasureError(f"inputs[{i}] has no step; drop that sequence")
        if row.is_floating_point() and not bool(torch.isfinite(row).all()):
            step = int((~torch.isfinite(row)).reshape(len(row), -1).any(1).nonzero()[0, 0])
            raise MeasureError(
                f"inputs[{i}] holds NaN or infinity at step {step}; replace it or drop that sequence"
            )
    if not rows[0].is_floating_point() and len(shape):
        raise MeasureError(
            f"inputs are integers with steps of shape {tuple(shape)}; tokens are (batch, time): make several "
            "numbers a step floating point"
        )
    if len(rows) > 1 and all(torch.equal(row, rows[0]) for row in rows[1:]):
        raise MeasureError(
            f"all {len(rows)} sequences are the same; nothing can be swapped: give different ones"
        )
