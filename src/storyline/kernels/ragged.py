"""Rows that end at different steps, and rows cut into segments: the index arithmetic of both.

Everything here takes time first, (time, batch, ...), and reads rows through one flat index t * batch + b,
since `index_select` on the flattened tensor has a gradient five times cheaper than advanced indexing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from storyline.cells import State


@dataclass(frozen=True)
class Ragged:
    """Where each row of a batch ends; built once a forward pass and used by every layer and direction.

    lengths (batch,) int64, on the device of the input, each from 1 to `time`.
    """

    lengths: Tensor
    time: int
    # What was made once is kept here: torch.compile cannot trace the lock of functools.cached_property.
    _made: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def inside(self) -> Tensor:
        """(time, batch, 1) bool, True where the row has a step."""
        return self._once("inside", lambda: (self._steps(self.time) < self.lengths).unsqueeze(-1))

    @property
    def _rows(self) -> Tensor:
        return self._once("rows", lambda: torch.arange(self.lengths.shape[0], device=self.lengths.device))

    @property
    def _flipped(self) -> Tensor:
        return self._once("flipped", self._flip_index)

    def _flip_index(self) -> Tensor:
        t = self._steps(self.time)
        return torch.where(t < self.lengths, self.lengths - 1 - t, t) * self.lengths.shape[0] + self._rows

    def _steps(self, time: int) -> Tensor:
        return torch.arange(time, device=self.lengths.device).unsqueeze(1)

    def _once(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def clear(self, values: Tensor) -> Tensor:
        """`values` (time, batch, size), with 0 in the padding whatever stood there (NaN too)."""
        return torch.where(self.inside, values, 0)

    def flip(self, values: Tensor) -> Tensor:
        """`values` (time, batch, size), each row turned round within its own length; padding stays."""
        return _take(values, self._flipped)

    def flip_states(self, states: Tensor) -> Tensor:
        """As `flip`, for states (time + 1, batch, size) with the initial one in slot 0.

        That one comes to stand in slot lengths[b], and in all beyond it.
        """
        t = self._steps(self.time + 1)
        return _take(states, (self.lengths - t).clamp_min(0) * self.lengths.shape[0] + self._rows)

    def last(self, values: Tensor) -> Tensor:
        """(batch, size): of `values` (time, batch, size), each row's last step."""
        return _take(values, (self.lengths - 1) * self.lengths.shape[0] + self._rows)


def reverse_resets(resets: Tensor, lengths: Tensor) -> Tensor:
    """The resets of rows that are read backwards, as `Ragged.flip` turns them.

    A reset before step t cuts a row between t - 1 and t. Read backwards, step t - 1 comes after step t, at
    position length - t, and the cut lies before it. resets (time, batch) bool, lengths (batch,). A cut before
    step 0 or beyond the length parts nothing and is gone.
    """
    time, batch = resets.shape
    position = torch.arange(time, device=resets.device).unsqueeze(1)
    source = lengths - position
    cut = resets.gather(0, source.clamp(0, time - 1).expand(time, batch))
    return cut & (position > 0) & (source > 0)


@dataclass(frozen=True)
class Segments:
    """The rows of a batch, cut at its resets; every segment is a row of a longer batch of shorter rows.

    gather (steps, segments): flat index of each segment's steps; in the padding it points anywhere.
    scatter (time, batch): flat index into (steps, segments); in the padding it points anywhere.
    lengths, row (segments,): the length of each segment and the row it was cut from.
    continues (segments,) bool: True where the segment goes on from the state that the row was given.
    last (batch,): the last segment of each row.
    """

    gather: Tensor
    scatter: Tensor
    lengths: Tensor
    row: Tensor
    continues: Tensor
    last: Tensor

    @classmethod
    def cut(cls, resets: Tensor, lengths: Tensor) -> Segments:
        """Cut at resets (time, batch) bool, within lengths (batch,); both on one device."""
        time, batch = resets.shape
        steps = torch.arange(time, device=resets.device)
        starts = resets.clone()
        starts[0] = True
        starts &= steps.unsqueeze(1) < lengths
        row, start = starts.T.nonzero(as_tuple=True)
        count = starts.sum(0)
        last = count.cumsum(0) - 1
        end = torch.cat([start[1:], start.new_zeros(1)])
        end[last] = lengths
        segment_lengths = end - start
        # segment of every (t, b): how many segments of the batch have started before it, less one
        segment = (starts.cumsum(0) + (last - count + 1) - 1).clamp_max(len(row) - 1)
        position = (steps.unsqueeze(1) - start[segment]).clamp_min(0)
        longest = int(segment_lengths.max())
        inner = torch.arange(longest, device=resets.device).unsqueeze(1)
        gather = (start + inner).clamp_max(time - 1) * batch + row
        scatter = position.clamp_max(longest - 1) * len(row) + segment
        continues = (start == 0) & ~resets[0, row]
        return cls(gather, scatter, segment_lengths, row, continues, last)

    def split(self, values: Tensor) -> Tensor:
        """(time, batch, size) -> (steps, segments, size)."""
        return _take(values, self.gather)

    def join(self, values: Tensor) -> Tensor:
        """(steps, segments, size) -> (time, batch, size); what comes to stand in the padding is arbitrary."""
        return _take(values, self.scatter)

    def initial(self, state: State, fresh: State) -> State:
        """The state that each segment starts from: its row's own, or the fresh one."""
        where = self.continues.unsqueeze(-1)
        return tuple(
            torch.where(where, given[self.row], new[self.row])
            for given, new in zip(state, fresh, strict=True)
        )


def _take(values: Tensor, index: Tensor) -> Tensor:
    """Rows of `values` (time, batch, size) by flat index (...,) -> (..., size)."""
    return values.flatten(0, 1).index_select(0, index.flatten()).view(*index.shape, -1)
