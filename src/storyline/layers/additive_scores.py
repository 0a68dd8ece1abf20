"""The scores of additive attention, without a tensor of (batch, queries, source, size).

That tensor would be the largest of a model's training step: of 128 pairs of 15 tokens 30 MB at size 256, kept for the
way back, and of 32 pairs of a text of 300 tokens and a summary of 20 nearly 200 MB.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from storyline.kernels.transforms import why_no_kernel


def additive_scores(query: Tensor, keys: Tensor, vector: Tensor) -> Tensor:
    """Scores v' tanh(q + k) for each query q and key k of a sentence (Bahdanau et al. 2015, appendix A.1.2).

    query (batch, queries, size), keys (batch, source, size), vector v (size,) -> (batch, queries, source).
    On the CPU query by query, each computed once more on the way back: a (batch, source, size) stays in the cache.
    """
    served = keys.is_cpu and keys.dtype in (torch.float32, torch.float64)
    if not served or why_no_kernel() is not None or torch.is_autocast_enabled("cpu"):
        return plain_scores(query, keys, vector)
    scores: Tensor = _Scores.apply(query, keys, vector)  # type: ignore[no-untyped-call]
    return scores


def plain_scores(query: Tensor, keys: Tensor, vector: Tensor) -> Tensor:
    """The same in plain operators."""
    return torch.tanh(query.unsqueeze(2) + keys.unsqueeze(1)) @ vector


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, keys: Tensor, vector: Tensor) -> Tensor:
        ctx.save_for_backward(query, keys, vector)
        batch, source, size = keys.shape
        scores = keys.new_empty(query.shape[1], batch, source)
        room = keys.new_empty(keys.shape)
        for index, asked in enumerate(query.unbind(1)):
            _tanh_of_sum(asked, keys, room)
            torch.mv(room.view(-1, size), vector, out=scores[index].view(-1))
        return scores.transpose(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        query, keys, vector = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _differentiable_backward(query, keys, vector, gradient)
        to_query, to_keys, to_vector = (
            torch.empty_like(query),
            torch.zeros_like(keys),
            torch.zeros_like(vector),
        )
        room, one = keys.new_empty(keys.shape), keys.new_ones(())
        for index, (asked, share) in enumerate(zip(query.unbind(1), gradient.unbind(1), strict=True)):
            share = share.contiguous()
            _tanh_of_sum(asked, keys, room)
            to_vector.addmv_(room.view(-1, keys.shape[2]).t(), share.view(-1))
            torch.addcmul(one, room, room, value=-1, out=room)  # tanh' = 1 - tanh^2
            to_query[:, index] = torch.bmm(share.unsqueeze(1), room).squeeze(1)
            to_keys.addcmul_(room, share.unsqueeze(2))
        # v multiplies every channel alike, so once is enough.
        return to_query.mul_(vector), to_keys.mul_(vector), to_vector


def _tanh_of_sum(asked: Tensor, keys: Tensor, room: Tensor) -> None:
    """Write tanh(asked + keys) to `room`, as 2 sigma(2 x) - 1: torch's sigmoid takes a quarter of tanh's time."""
    torch.add(keys, asked.unsqueeze(1), out=room)
    room.mul_(2).sigmoid_().mul_(2).sub_(1)


def _differentiable_backward(query: Tensor, keys: Tensor, vector: Tensor, gradient: Tensor) -> Any:
    """The gradients, themselves differentiable."""
    with torch.enable_grad():
        # Aliases: what is wanted is the derivative by each alone, whatever the others were made of.
        given = [each.view_as(each) for each in (query, keys, vector)]
        wanted = [each for each in given if each.requires_grad]
        found = iter(torch.autograd.grad(plain_scores(*given), wanted, gradient, create_graph=True))
    return tuple(next(found) if each.requires_grad else None for each in given)
