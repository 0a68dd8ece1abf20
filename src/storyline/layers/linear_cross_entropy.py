"""The loss of a linear head over a large vocabulary, without the scores of all tokens at once.

Of 128 sentences of 15 tokens and 6,000 words the scores are 46 MB; torch.nn.functional.cross_entropy writes them
five times over on the way there and back.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from storyline.kernels.transforms import why_no_kernel

# Scores that are in work at a time, 8 MB in float32: they stay in the cache.
_PIECE = 2**21


def linear_cross_entropy(
    inputs: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Mean over all rows of -ln softmax(W x + b)[target], in nats.

    inputs x (rows, input_size), weight W (classes, input_size), bias b (classes,), targets (rows,) int64 -> scalar.
    label_smoothing: this share of each target is spread over all classes alike (Szegedy et al. 2016, section 7).
    On the CPU, and for what is large, piece by piece, with the gradients made on the way there.
    """
    if not _served(inputs, weight, bias, targets):
        return plain_linear_cross_entropy(inputs, weight, bias, targets, label_smoothing=label_smoothing)
    wanted = torch.is_grad_enabled() and any(each.requires_grad for each in (inputs, weight, bias))
    loss: Tensor = _Loss.apply(inputs, weight, bias, targets, label_smoothing, wanted)  # type: ignore[no-untyped-call]
    return loss


def plain_linear_cross_entropy(
    inputs: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """The same in torch's operators."""
    scores = functional.linear(inputs, weight, bias)
    return functional.cross_entropy(scores, targets, label_smoothing=label_smoothing)


def _served(inputs: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> bool:
    if (
        not inputs.is_cpu
        or inputs.dtype not in (torch.float32, torch.float64)
        or inputs.dtype != weight.dtype
    ):
        return False
    if why_no_kernel() is not None or torch.is_autocast_enabled("cpu"):
        return False
    # torch reports a target that is no class, and skips -100; small losses gain nothing.
    large = inputs.shape[0] * weight.shape[0] > _PIECE
    return large and bool(((targets >= 0) & (targets < len(bias))).all())


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        smoothing: float,
        wanted: bool,
    ) -> Tensor:
        found = (
            (torch.empty_like(inputs), torch.zeros_like(weight), torch.zeros_like(bias)) if wanted else None
        )
        rows, classes = len(inputs), len(weight)
        piece = max(1, _PIECE // classes)
        room = inputs.new_empty(min(piece, rows), classes)
        losses = []
        for start in range(0, rows, piece):
            x, y = inputs[start : start + piece], targets[start : start + piece].unsqueeze(1)
            scores = torch.addmm(bias, x, weight.t(), out=room[: len(x)])
            losses.append(_loss_of(scores, y, smoothing))
            if found is not None:
                _to_gradient(scores, y, smoothing, rows)
                torch.mm(scores, weight, out=found[0][start : start + piece])
                found[1].addmm_(scores.t(), x)
                found[2].add_(scores.sum(0))
        ctx.save_for_backward(inputs, weight, bias, targets)
        ctx.found, ctx.smoothing = found, smoothing
        return torch.stack(losses).sum() / rows

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        if torch.is_grad_enabled():
            inputs, weight, bias, targets = ctx.saved_tensors
            found = _differentiable((inputs, weight, bias), targets, ctx.smoothing, upstream)
            return *found, None, None, None
        # Not in place: a retained graph may come here twice.
        return *(each * upstream for each in ctx.found), None, None, None


def _loss_of(scores: Tensor, y: Tensor, smoothing: float) -> Tensor:
    """The summed loss of scores (rows, classes) with targets y (rows, 1); leaves the probabilities in their place."""
    scores.sub_(scores.amax(1, keepdim=True))
    wanted = scores.gather(1, y)
    if smoothing:
        wanted = (1 - smoothing) * wanted + smoothing * scores.mean(1, keepdim=True)
    total = scores.exp_().sum(1, keepdim=True)
    scores.div_(total)
    return (total.log() - wanted).sum()


def _to_gradient(probabilities: Tensor, y: Tensor, smoothing: float, rows: int) -> None:
    """Make probabilities the gradient of the mean loss by the scores: (softmax - what is wanted) / rows."""
    if smoothing:
        probabilities.sub_(smoothing / probabilities.shape[1])
    probabilities.scatter_add_(1, y, probabilities.new_full((), smoothing - 1).expand(y.shape))
    probabilities.div_(rows)


def _differentiable(
    parts: tuple[Tensor, Tensor, Tensor], targets: Tensor, smoothing: float, upstream: Tensor
) -> tuple[Tensor | None, ...]:
    """The gradients, themselves differentiable."""
    with torch.enable_grad():
        # Aliases: what is wanted is the derivative by each alone, whatever the others were made of.
        given = inputs, weight, bias = tuple(each.view_as(each) for each in parts)
        wanted = [each for each in given if each.requires_grad]
        loss = plain_linear_cross_entropy(inputs, weight, bias, targets, label_smoothing=smoothing)
        found = iter(torch.autograd.grad(loss, wanted, upstream, create_graph=True))
    return tuple(next(found) if each.requires_grad else None for each in given)
