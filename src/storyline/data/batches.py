"""Batch: ragged sequences as padded tensors; chunks of one long text for truncated back-propagation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storyline.data.source import DataError


@dataclass(frozen=True)
class Batch:
    """Sequences of a batch, padded at the end.

    inputs: (batch, time) int64 ids, or (batch, time, channels) float32.
    lengths: (batch,) int64, the steps of each sequence.
    targets: (batch,) or (batch, time), or None; (batch, time) is padded with -100, which torch's losses ignore.
    rows: (batch,) int64, the row of the data that each sequence is.
    """

    inputs: Tensor
    lengths: Tensor
    targets: Tensor | None
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        targets = None if self.targets is None else self.targets.to(device)
        return Batch(self.inputs.to(device), self.lengths.to(device), targets, self.rows.to(device))


def collate(
    sequences: Sequence[NDArray[Any]],
    rows: Sequence[int] | NDArray[Any],
    targets: Sequence[Any] | NDArray[Any] | None = None,
    pad: float = 0,
    *,
    target_pad: float = -100,
) -> Batch:
    """The batch of `sequences[row]` for each of `rows`.

    sequences: of the whole data set, each (time,) ids or (time, channels) numbers.
    targets: of the whole data set: a class or number a sequence, or an array (time,) a sequence.
    """
    chosen = np.asarray(rows, dtype=np.int64)
    if not len(chosen):
        raise DataError("a batch needs at least one row")
    inputs, lengths = _padded([sequences[row] for row in chosen], chosen, pad)
    answer = (
        None if targets is None else _targets([targets[row] for row in chosen], chosen, lengths, target_pad)
    )
    return Batch(torch.from_numpy(inputs), torch.from_numpy(lengths), answer, torch.from_numpy(chosen))


def stream_chunks(
    ids: NDArray[np.int64], streams: int, steps: int, *, offset: int = 0
) -> list[tuple[Tensor, Tensor]]:
    """One long text as parallel streams, cut into chunks of `steps`; `targets` are `inputs` one step later.

    Each chunk is (inputs, targets), both (streams, steps) int64, the last one perhaps shorter. Row i of a chunk
    goes on where row i of the chunk before it stopped, so the state is carried from chunk to chunk. The ids that
    do not fill all streams, fewer than `streams`, are left out at the end; with one stream none are.

    offset: how many ids to leave out at the start, so that chunks can be cut elsewhere at each epoch.
    """
    for name, value, least in (("streams", streams, 1), ("steps", steps, 1), ("offset", offset, 0)):
        if value < least:
            raise DataError(f"{name} is {value}; it must be at least {least}")
    length = (len(ids) - offset - 1) // streams
    if length < 1:
        raise DataError(
            f"{len(ids)} tokens are too few for {streams} streams; give more text, or use fewer streams"
        )
    text = torch.from_numpy(np.ascontiguousarray(ids[offset : offset + streams * length + 1], dtype=np.int64))
    inputs, targets = text[:-1].view(streams, length), text[1:].view(streams, length)
    return [
        (inputs[:, start : start + steps], targets[:, start : start + steps])
        for start in range(0, length, steps)
    ]


def _padded(
    sequences: list[NDArray[Any]], rows: NDArray[np.int64], pad: float
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    if lengths.min() < 1:
        raise DataError(f"row {rows[lengths.argmin()]} has 0 steps; every sequence needs at least one step")
    shape = sequences[0].shape[1:]
    for row, sequence in zip(rows, sequences, strict=True):
        if sequence.shape[1:] != shape:
            raise DataError(
                f"row {row} has steps of shape {sequence.shape[1:]}, row {rows[0]} of {shape}; "
                "every sequence needs the same channels"
            )
    kind = np.int64 if np.issubdtype(sequences[0].dtype, np.integer) else np.float32
    padded = np.full((len(sequences), lengths.max(), *shape), pad, dtype=kind)
    # One copy for the whole batch: ten times faster than a loop over its rows.
    padded[np.arange(lengths.max()) < lengths[:, None]] = np.concatenate(sequences)
    return padded, lengths


def _targets(chosen: list[Any], rows: NDArray[np.int64], lengths: NDArray[np.int64], pad: float) -> Tensor:
    if np.ndim(chosen[0]) == 0:
        answer = np.asarray(chosen)
        kind = np.int64 if np.issubdtype(answer.dtype, np.integer) else np.float32
        return torch.from_numpy(answer.astype(kind))
    padded, found = _padded([np.asarray(target) for target in chosen], rows, pad)
    wrong = np.flatnonzero(found != lengths)
    if len(wrong):
        first = wrong[0]
        raise DataError(
            f"row {rows[first]} has {found[first]} targets for {lengths[first]} steps; give each step one target"
        )
    return torch.from_numpy(padded)
