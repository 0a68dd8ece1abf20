"""The tokens of a ragged batch behind one another, so that no layer computes padding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where the tokens of a batch stand.

    batch, time  of the padded batch
    places       (tokens,) int64: place of each token in the padded batch, rows behind one another; None: no padding
    """

    batch: int
    time: int
    places: Tensor | None = None

    @staticmethod
    def of(lengths: Tensor | None, batch: int, time: int) -> Packing:
        """For rows of `lengths` (batch,) tokens, the padding behind; None: all rows are full."""
        if lengths is None:
            return Packing(batch, time)
        real = torch.arange(time, device=lengths.device) < lengths.unsqueeze(1)
        return Packing(batch, time, real.flatten().nonzero().squeeze(1))

    def pack(self, padded: Tensor) -> Tensor:
        """(batch, time, size) -> (tokens, size); what stands in the padding is not read."""
        flat = padded.reshape(self.batch * self.time, -1)
        return flat if self.places is None else flat.index_select(0, self.places)

    def spread(self, packed: Tensor) -> Tensor:
        """(tokens, size) -> (batch, time, size), 0 in the padding."""
        size = packed.shape[-1]
        if self.places is not None:
            packed = packed.new_zeros(self.batch * self.time, size).index_copy(0, self.places, packed)
        return packed.view(self.batch, self.time, size)

    def pack_steps(self, steps: Tensor) -> Tensor:
        """What every row has alike, (time, size), or each its own, (batch, time, size) -> (tokens, size)."""
        if steps.dim() == 3:
            return self.pack(steps)
        if self.places is not None:
            return steps.index_select(0, self.places % self.time)
        return steps.expand(self.batch, -1, -1).reshape(self.batch * self.time, -1)
