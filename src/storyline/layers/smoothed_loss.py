"""Cross-entropy with label smoothing through a linear map to many classes, a few rows of scores at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# What torch's losses leave out.
IGNORED = -100
# Scores that are held at once, at most. On a CPU 8 MB in float32, which stay in the cache between the product and its
# gradient; a GPU wants enough rows to fill it.
_SCORES = {"cpu": 1 << 21}
_SCORES_ELSEWHERE = 1 << 25
# With fewer classes, or with scores of one block only, torch's own loss takes no longer.
_MANY_CLASSES = 1000


def pays(tokens: int, classes: int, device: torch.device) -> bool:
    """Whether `smoothed_loss` is faster than torch's own loss over scores that are all held at once."""
    return classes >= _MANY_CLASSES and tokens * classes > _block_size(device)


def _block_size(device: torch.device) -> int:
    return _SCORES.get(device.type, _SCORES_ELSEWHERE)


def smoothed_loss(
    inputs: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Mean over the targets of the cross-entropy, in nats, with the wanted probabilities smoothed.

    inputs (tokens, size), weight (classes, size), bias (classes,) or None, targets (tokens,) int64, of which -100
    are left out, their inputs unread -> a scalar; nan where no target is left, as torch's is.
    With the scores s = W x + b of a token whose class is y, C classes and the smoothing e:

        loss = log sum_j exp(s_j) - (1 - e) s_y - e/C sum_j s_j

    Source: Szegedy et al. 2016, section 7 (label smoothing with the uniform distribution); the value and the
    gradients are those of functional.cross_entropy(inputs @ weight.T + bias, targets, label_smoothing=e), which
    keeps three copies of (tokens, classes). Here a block of rows is scored, and its gradients are taken, before the
    next (as Hsu et al. 2024, "Liger Kernel", do on GPUs), so that memory grows with size, not with classes.
    Differentiable once.
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing is {label_smoothing}; it must be at least 0 and below 1")
    kept = torch.nonzero(targets != IGNORED).squeeze(1)
    if len(kept) < len(targets):
        inputs, targets = inputs.index_select(0, kept), targets[kept]
    if torch.is_autocast_enabled(inputs.device.type):
        kind = torch.get_autocast_dtype(inputs.device.type)
        inputs, weight = inputs.to(kind), weight.to(kind)
    loss: Tensor = _SmoothedLoss.apply(inputs, weight, bias, targets, label_smoothing)  # type: ignore[no-untyped-call]
    return loss


class _SmoothedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, smoothing: float
    ) -> Tensor:
        tokens, classes = len(inputs), len(weight)
        wanted = ctx.needs_input_grad[:3]
        exact = torch.float64 if inputs.dtype == torch.float64 else torch.float32
        gradients = [
            torch.zeros(part.shape, dtype=exact, device=part.device) if part is not None and wants else None
            for part, wants in zip((inputs, weight, bias), wanted, strict=True)
        ]
        total = torch.zeros((), dtype=exact, device=inputs.device)
        with torch.autocast(inputs.device.type, enabled=False):
            rows = max(1, _block_size(inputs.device) // classes)
            for start in range(0, tokens, rows):
                block = slice(start, start + rows)
                total += _block(inputs, weight, bias, targets, smoothing, block, gradients)
        ctx.save_for_backward(*gradients)
        ctx.kinds = [None if part is None else part.dtype for part in (inputs, weight, bias)]
        return total / tokens

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "smoothed_loss is differentiable once; for gradients of its gradients (create_graph=True) use "
                "functional.cross_entropy, which keeps all scores"
            )
        parts = [
            None if part is None else (part * gradient).to(kind)
            for part, kind in zip(ctx.saved_tensors, ctx.kinds, strict=True)
        ]
        return (*parts, None, None)


def _block(
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    smoothing: float,
    block: slice,
    gradients: list[Tensor | None],
) -> Tensor:
    """The summed loss of the tokens in `block`; what they add to the gradients of the mean is added there."""
    own, wanted = inputs[block], targets[block].unsqueeze(1)
    scores = (own @ weight.t()).to(torch.float64 if inputs.dtype == torch.float64 else torch.float32)
    if bias is not None:
        scores += bias
    flat = smoothing / scores.shape[1]
    loss = (smoothing - 1) * scores.gather(1, wanted)
    if smoothing:
        loss -= flat * scores.sum(1, keepdim=True)
    largest = scores.amax(1, keepdim=True)
    # In place, and the exponentials once: they serve the loss and the gradient.
    weights = scores.sub_(largest).exp_()
    partition = weights.sum(1, keepdim=True)
    loss += largest + partition.log()
    if any(part is not None for part in gradients):
        # Probabilities less what was wanted, over the number of tokens.
        scores = weights.div_(partition * len(inputs))
        if smoothing:
            scores.sub_(flat / len(inputs))
        scores.scatter_add_(
            1, wanted, torch.full_like(wanted, (smoothing - 1) / len(inputs), dtype=scores.dtype)
        )
        of_inputs, of_weight, of_bias = gradients
        product = scores.to(inputs.dtype)
        if of_inputs is not None:
            of_inputs[block] = product @ weight
        if of_weight is not None:
            of_weight += product.t() @ own
        if of_bias is not None:
            of_bias += scores.sum(0)
    return loss.sum()
