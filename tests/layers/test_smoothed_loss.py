"""The loss in blocks: torch's own in value and gradient, without its copies of all scores."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from storyline.layers import LinearHead, TiedHead, TokenEmbedding, smoothed_loss
from storyline.layers.smoothed_loss import _SCORES, pays

TOKENS, CLASSES, SIZE = 23, 50, 6


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four rows a block, the last one not full."""
    monkeypatch.setitem(_SCORES, "cpu", 4 * CLASSES)


def made(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    shapes = ((TOKENS, SIZE), (CLASSES, SIZE), (CLASSES,))
    inputs, weight, bias = (
        3 * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes
    )
    targets = torch.randint(CLASSES, (TOKENS,), generator=generator)
    targets[[3, 4, 5, 6, 7, 20]] = -100
    parts = (part.to(dtype).requires_grad_() for part in (inputs, weight, bias))
    return (*parts, targets)


def by_torch(
    inputs: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, smoothing: float
) -> Tensor:
    return functional.cross_entropy(
        functional.linear(inputs, weight, bias), targets, label_smoothing=smoothing
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("with_bias", [True, False])
def test_value_and_gradients_are_torchs(smoothing: float, with_bias: bool) -> None:
    inputs, weight, bias, targets = made()
    own = bias if with_bias else None
    parts = [inputs, weight, *([bias] if with_bias else [])]
    ours = smoothed_loss(inputs, weight, own, targets, label_smoothing=smoothing)
    wanted = by_torch(inputs, weight, own, targets, smoothing)
    torch.testing.assert_close(ours, wanted, rtol=1e-13, atol=0)
    # Of seven times the loss: what is kept from the forward pass is for the loss itself.
    for one, other in zip(
        torch.autograd.grad(7 * ours, parts), torch.autograd.grad(7 * wanted, parts), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)


def test_in_float32_it_is_as_exact_as_torchs() -> None:
    exact = made()
    small = made(torch.float32)
    results = []
    for parts, loss in ((exact, by_torch), (small, by_torch), (small, None)):
        *learned, targets = parts
        value = (
            loss(*learned, targets, 0.1) if loss else smoothed_loss(*learned, targets, label_smoothing=0.1)
        )
        results.append([value.detach(), *torch.autograd.grad(value, learned)])
    for truth, usual, ours in zip(*results, strict=True):
        assert (ours - truth).abs().max() <= 4 * (usual - truth).abs().max() + 1e-7


def test_gradcheck_and_only_once() -> None:
    inputs, weight, bias, targets = made()
    assert torch.autograd.gradcheck(
        lambda *parts: smoothed_loss(*parts, targets, label_smoothing=0.2), (inputs, weight, bias)
    )
    loss = smoothed_loss(inputs, weight, bias, targets)
    with pytest.raises(RuntimeError, match="smoothed_loss is differentiable once"):
        torch.autograd.grad(loss, inputs, create_graph=True)


def test_only_what_is_asked_for_has_a_gradient() -> None:
    inputs, weight, bias, targets = made()
    weight.requires_grad_(False)
    loss = smoothed_loss(inputs, weight, bias, targets)
    loss.backward()
    assert weight.grad is None
    assert inputs.grad is not None
    assert not inputs.grad[targets == -100].any()
    with torch.no_grad():
        assert torch.equal(smoothed_loss(inputs, weight, bias, targets), loss)
        assert smoothed_loss(inputs, weight, bias, torch.full_like(targets, -100)).isnan()
    for wrong in (-0.1, 1.0):
        with pytest.raises(ValueError, match="it must be at least 0 and below 1"):
            smoothed_loss(inputs, weight, bias, targets, label_smoothing=wrong)


def test_in_bfloat16() -> None:
    inputs, weight, bias, targets = made(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, wanted = (
            smoothed_loss(inputs, weight, bias, targets, label_smoothing=0.1),
            by_torch(inputs, weight, bias, targets, 0.1),
        )
    torch.testing.assert_close(ours, wanted, rtol=1e-2, atol=0, check_dtype=False)
    ours.backward()
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32


class _Largest(TorchDispatchMode):
    """The most numbers that any tensor held."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for part in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(part, Tensor):
                self.numbers = max(self.numbers, part.numel())
        return made


def test_never_all_scores_at_once() -> None:
    for loss, most in ((smoothed_loss, max(4 * CLASSES, CLASSES * SIZE)), (by_torch, TOKENS * CLASSES)):
        inputs, weight, bias, targets = made()
        with _Largest() as largest:
            given = (targets,) if loss is smoothed_loss else (targets, 0.0)
            loss(inputs, weight, bias, *given).backward()
        assert largest.numbers == most


@pytest.mark.parametrize("tied", [True, False])
def test_heads_use_it_for_many_classes(tied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    embedding = TokenEmbedding(1200, 4, unknown_id=1).double()
    head = (TiedHead(embedding, input_size=SIZE) if tied else LinearHead(SIZE, 1200)).double()
    learned = [embedding.weight if tied else head.linear.weight, *head.parameters()]
    inputs, targets = torch.randn(3, 5, SIZE, dtype=torch.float64), torch.randint(1200, (3, 5))
    targets[1, 2:] = -100
    found = []
    for size in (4 * 1200, 15 * 1200):
        monkeypatch.setitem(_SCORES, "cpu", size)
        assert pays(15, 1200, inputs.device) is (size < 15 * 1200)
        loss = head.loss(inputs, targets, label_smoothing=0.1)
        assert (loss.grad_fn.name() == "_SmoothedLossBackward") is (size < 15 * 1200)  # type: ignore[union-attr]
        found.append([loss, *torch.autograd.grad(loss, learned)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    assert not pays(10**6, 999, inputs.device)
