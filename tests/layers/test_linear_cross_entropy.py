"""The loss of a linear head by pieces, against torch's in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from storyline.layers import linear_cross_entropy as module
from storyline.layers.head import LinearHead
from storyline.layers.linear_cross_entropy import linear_cross_entropy, plain_linear_cross_entropy

ROWS, CLASSES, SIZE = 7, 5, 3

smoothings = pytest.mark.parametrize("smoothing", [0.0, 0.1])


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIECE", 2 * CLASSES)


def draw() -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(2)
    shapes = ((ROWS, SIZE), (CLASSES, SIZE), (CLASSES,))
    values = [3 * torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return values, torch.randint(0, CLASSES, (ROWS,), generator=generator)


def run(function: Callable[..., Tensor], dtype: torch.dtype, smoothing: float) -> list[Tensor]:
    """The loss, times 3, and its gradients."""
    values, targets = draw()
    given = [each.to(dtype).requires_grad_() for each in values]
    loss = 3 * function(*given, targets, label_smoothing=smoothing)
    return [loss.detach(), *torch.autograd.grad(loss, given)]


@smoothings
def test_pieces_are_as_exact_as_the_whole(smoothing: float) -> None:
    true = run(plain_linear_cross_entropy, torch.float64, smoothing)
    torch.testing.assert_close(
        run(linear_cross_entropy, torch.float64, smoothing), true, rtol=1e-12, atol=1e-14
    )
    pairs = zip(
        run(linear_cross_entropy, torch.float32, smoothing),
        run(plain_linear_cross_entropy, torch.float32, smoothing),
        true,
        strict=True,
    )
    for fast, plain, exact in pairs:
        assert float((fast - exact).abs().max()) <= 4 * float((plain - exact).abs().max()) + 1e-7


@smoothings
def test_second_derivatives_and_retained_graphs(smoothing: float) -> None:
    values, targets = draw()
    given = [each.requires_grad_() for each in values]

    def loss(*parts: Tensor) -> Tensor:
        return linear_cross_entropy(*parts, targets, label_smoothing=smoothing)

    assert torch.autograd.gradgradcheck(loss, given, fast_mode=True)
    once = loss(*given)
    first = torch.autograd.grad(once, given, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(once, given), first, rtol=0, atol=0)


def test_frozen_parts_get_no_gradient() -> None:
    (inputs, weight, bias), targets = draw()
    linear_cross_entropy(inputs.requires_grad_(), weight, bias, targets).backward()
    assert inputs.grad is not None
    assert weight.grad is None
    assert not linear_cross_entropy(inputs.detach(), weight, bias, targets).requires_grad


def test_a_target_that_is_no_class_is_an_error() -> None:
    head = LinearHead(SIZE, CLASSES)
    with pytest.raises(IndexError, match="out of bounds"):
        head.loss(torch.zeros(ROWS, SIZE), torch.full((ROWS,), CLASSES))


def test_extreme_scores_stay_finite() -> None:
    (inputs, weight, bias), targets = draw()
    loss = linear_cross_entropy(
        (1e4 * inputs).float().requires_grad_(), weight.float(), bias.float(), targets
    )
    loss.backward()
    assert loss.isfinite()
