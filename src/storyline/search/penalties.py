"""What makes long and short outputs comparable, and outputs that leave out parts of the source worse."""

from __future__ import annotations

import torch
from torch import Tensor


def length_penalty(lengths: Tensor, alpha: float) -> Tensor:
    """lp(Y) = (5 + |Y|)^alpha / (5 + 1)^alpha (Wu et al. 2016, eq. 14); |Y| counts the end."""
    return ((5 + lengths.double()) / 6) ** alpha


def coverage_penalty(coverage: Tensor, lengths: Tensor, beta: float) -> Tensor:
    """cp(X; Y) = beta * sum_i log(min(sum_j p_ij, 1.0)) (Wu et al. 2016, eq. 14).

    coverage  (..., source): sum_j p_ij, the attention that each source token was given by all of Y, its end included
    lengths   (...): tokens of the source; what lies behind them does not count
    A token that was given none at all (less than float32 can hold) counts as given the least that it can hold.
    """
    given = coverage.clamp(torch.finfo(torch.float32).tiny, 1).log().double()
    positions = torch.arange(coverage.shape[-1], device=coverage.device)
    return beta * given.masked_fill(positions >= lengths.unsqueeze(-1), 0).sum(-1)
