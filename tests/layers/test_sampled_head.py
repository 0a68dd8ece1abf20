"""The sampled softmax: exact where all classes are drawn, right on average where few are."""

from __future__ import annotations

import pytest
import torch

from storyline.layers import SampledHead, TiedHead, TokenEmbedding

CLASSES, SIZE = 40, 6


def make(candidates: int) -> tuple[SampledHead, TiedHead, TokenEmbedding]:
    torch.manual_seed(0)
    embedding = TokenEmbedding(CLASSES, SIZE, unknown_id=1).double()
    counts = torch.randint(1, 200, (CLASSES,))
    sampled = SampledHead(embedding, counts=counts, candidates=candidates, input_size=9).double()
    full = TiedHead(embedding, input_size=9).double()
    torch.nn.init.normal_(sampled.bias)
    full.load_state_dict(sampled.state_dict())
    return sampled, full, embedding


def examples() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(5, 7, 9, dtype=torch.float64, generator=generator, requires_grad=True)
    return inputs, torch.randint(2, CLASSES, (5, 7), generator=generator)


def test_with_all_classes_drawn_it_is_the_full_softmax_with_its_gradients() -> None:
    sampled, full, embedding = make(CLASSES)
    found = []
    for head in (sampled, full):
        inputs, targets = examples()
        loss = head.loss(inputs, targets)
        gradients = torch.autograd.grad(loss, [inputs, embedding.weight, *head.parameters()])
        found.append((loss.detach(), *gradients))
    for ours, wanted in zip(*found, strict=True):
        torch.testing.assert_close(ours, wanted)


def test_in_evaluation_it_is_the_full_softmax() -> None:
    sampled, full, _ = make(5)
    inputs, targets = examples()
    torch.testing.assert_close(sampled.eval().loss(inputs, targets), full.eval().loss(inputs, targets))
    torch.testing.assert_close(sampled.log_probabilities(inputs), full.log_probabilities(inputs))


def test_the_normaliser_is_right_on_average() -> None:
    """exp(loss) is Z / exp(s_y) for one target, so its mean over samples is that of the full softmax."""
    sampled, full, _ = make(10)
    inputs, targets = (part[:1, :1] for part in examples())
    torch.manual_seed(2)
    with torch.no_grad():
        estimates = torch.stack([sampled.loss(inputs, targets).exp() for _ in range(4000)])
        wanted = full.loss(inputs, targets).exp()
    error = estimates.std() / len(estimates) ** 0.5
    assert error < 0.05 * wanted
    assert (estimates.mean() - wanted).abs() < 4 * error


def test_as_many_are_drawn_as_was_asked() -> None:
    sampled, _, _ = make(12)
    assert sampled.log_inclusion.exp().sum().item() == pytest.approx(12, abs=1e-3)
    assert sampled.log_inclusion.max() <= 0


def test_refusals() -> None:
    embedding = TokenEmbedding(CLASSES, SIZE, unknown_id=1)
    with pytest.raises(ValueError, match="candidates is 0"):
        SampledHead(embedding, counts=torch.ones(CLASSES), candidates=0)
    with pytest.raises(ValueError, match=r"counts have shape \(3,\)"):
        SampledHead(embedding, counts=torch.ones(3))
    with pytest.raises(ValueError, match="label smoothing"):
        make(5)[0].loss(*examples(), label_smoothing=0.1)
