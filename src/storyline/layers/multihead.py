"""Attention in several heads side by side."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional


def heads(projected: Tensor, count: int) -> Tensor:
    """(batch, time, size) -> (batch, heads, time, size / heads), a view."""
    batch, time, size = projected.shape
    return projected.view(batch, time, count, size // count).transpose(1, 2)


def joined(mixed: Tensor) -> Tensor:
    """(batch, heads, time, size of a head) -> (batch, time, size)."""
    return mixed.transpose(1, 2).flatten(2)


def attend(
    query: Tensor, keys: Tensor, values: Tensor, padding: Tensor | None, *, count: int, need_weights: bool
) -> tuple[Tensor, Tensor | None]:
    """softmax(Q K' / sqrt(size of a head)) V in each of `count` heads (Vaswani et al. 2017, eq. 1).

    query (batch, time, size), keys and values (batch, source, size), padding (batch, source) bool; None: there is none.
    Returns what was mixed, as query, and the mean of the heads' weights (batch, time, source), exactly 0 on padding;
    None where they are not needed, which is cheaper.
    """
    query, keys, values = (heads(each, count) for each in (query, keys, values))
    hidden = None if padding is None else padding[:, None, None]
    if not need_weights:
        mask = None if hidden is None else ~hidden
        return joined(functional.scaled_dot_product_attention(query, keys, values, mask)), None
    scores = (query * query.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    if hidden is not None:
        scores = scores.masked_fill(hidden, -math.inf)
    weights = scores.softmax(-1)
    return joined(weights @ values), weights.mean(1)
