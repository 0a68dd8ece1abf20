"""One vector from the states of a whole sequence."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Pooling = Literal["last", "max", "mean"]


def pool(states: Tensor, lengths: Tensor, how: Pooling, *, bidirectional: bool = False) -> Tensor:
    """(batch, time, size) -> (batch, size), over the first lengths[b] steps of each row.

    last: the state at the last step. With `bidirectional`, where the second half of `size` was read
        backwards: the first half at the last step and the second at step 0, so that each has read all.
    max: the greatest of each channel over time. mean: the average over time.

    lengths (batch,): integers from 1 to time. What stands beyond them has no effect.
    Raises ValueError for another `how`.
    """
    if how not in get_args(Pooling):
        raise ValueError(f"how is {how!r}; it must be one of {', '.join(map(repr, get_args(Pooling)))}")
    batch, time, size = states.shape
    lengths = lengths.to(states.device)
    if how == "last":
        last = states[torch.arange(batch, device=states.device), lengths - 1]
        if not bidirectional:
            return last
        return torch.cat([last[:, : size // 2], states[:, 0, size // 2 :]], dim=1)
    inside = (torch.arange(time, device=states.device) < lengths.unsqueeze(1)).unsqueeze(-1)
    if how == "max":
        return torch.where(inside, states, -torch.inf).amax(1)
    return torch.where(inside, states, 0).sum(1) / lengths.unsqueeze(1).to(states.dtype)
