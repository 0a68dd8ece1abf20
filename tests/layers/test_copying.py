"""The pointer-generator and coverage against See, Liu and Manning 2017, in NumPy, token by token."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from storyline.layers.copying import CopyingHead, coverage, coverage_loss
from storyline.layers.head import LinearHead

CLASSES, INPUT, EMBEDDING = 5, 4, 3
# Words 5 and 6 are of their sources alone; the first source says 5 twice, and ends in padding.
SOURCES = torch.tensor([[5, 2, 5, 0], [6, 1, 1, 5]])
TARGETS = torch.tensor([[5, 3, 2], [6, 1, 5]])


def build() -> CopyingHead:
    torch.manual_seed(1)
    return CopyingHead(LinearHead(INPUT, CLASSES), CLASSES, INPUT, EMBEDDING).double()


def draw() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(2, 3, INPUT, generator=generator, dtype=torch.float64)
    embedded = torch.randn(2, 3, EMBEDDING, generator=generator, dtype=torch.float64)
    scores = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    scores[0, :, 3] = -torch.inf
    return {"inputs": inputs, "embedded": embedded, "attention": scores.softmax(-1)}


def transcribed(head: CopyingHead, given: dict[str, Tensor]) -> np.ndarray:
    """P (batch, time, CLASSES + 2), eq. 8-9."""
    weight, bias = (each.detach().numpy() for each in head.head.linear.parameters())
    gate, gate_bias = (each.detach().numpy() for each in head.gate.parameters())
    arrays = {name: each.detach().numpy() for name, each in given.items()}
    P = np.zeros((2, 3, CLASSES + 2))
    for b, t in np.ndindex(2, 3):
        o, x, a = (arrays[name][b, t] for name in ("inputs", "embedded", "attention"))
        p_gen = 1 / (1 + np.exp(-(gate[0] @ np.concatenate([o, x]) + gate_bias[0])))
        powers = np.exp(weight @ o + bias)
        P[b, t, :CLASSES] = p_gen * powers / powers.sum()
        for i, word in enumerate(SOURCES[b].tolist()):
            P[b, t, word] += (1 - p_gen) * a[i]
    return P


def test_probabilities_are_the_papers_and_sum_to_one() -> None:
    head, given = build(), draw()
    log_probabilities = head.log_probabilities(**given, source_ids=SOURCES.unsqueeze(1))
    probabilities = log_probabilities.detach().exp().numpy()
    np.testing.assert_allclose(probabilities, transcribed(head, given), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-12)
    assert (log_probabilities[0, :, 6] == -torch.inf).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_is_the_mean_of_the_papers(smoothing: float) -> None:
    head, given = build(), draw()
    loss = head.loss(targets=TARGETS, **given, source_ids=SOURCES.unsqueeze(1), label_smoothing=smoothing)
    P = np.take_along_axis(transcribed(head, given), TARGETS.numpy()[..., None], axis=-1)
    vocabulary = head.head.log_probabilities(given["inputs"]).detach().numpy()
    wanted = (1 - smoothing) * -np.log(P).mean() - smoothing * vocabulary.mean()
    np.testing.assert_allclose(loss.detach(), wanted, rtol=1e-12)


def test_loss_of_some_tokens_is_that_of_those_alone() -> None:
    head, given = build(), draw()
    rows, times = torch.tensor([0, 1, 1]), torch.tensor([2, 0, 2])
    some = {name: each[rows, times] for name, each in given.items()}
    log_probabilities = head.log_probabilities(**given, source_ids=SOURCES.unsqueeze(1))[rows, times]
    wanted = -log_probabilities.gather(1, TARGETS[rows, times].unsqueeze(1)).mean()
    torch.testing.assert_close(
        head.loss(targets=TARGETS[rows, times], **some, source_ids=SOURCES[rows]), wanted
    )


@pytest.mark.parametrize("verb", ["loss", "log_probabilities"])
def test_gradients(verb: str) -> None:
    """By numerical differences; the gate's come through its inputs."""
    head, given = build(), draw()
    by = torch.randn(2, 3, CLASSES + 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def run(inputs: Tensor, embedded: Tensor, attention: Tensor) -> Tensor:
        # Its padding stays 0, and is no point of which there is a difference to either side.
        padded = torch.nn.functional.pad(attention, (0, 1))
        more = {"embedded": embedded, "attention": padded, "source_ids": SOURCES.unsqueeze(1)}
        if verb == "loss":
            return head.loss(inputs, TARGETS, **more)
        found = head.log_probabilities(inputs, **more)
        return (found * by)[found.isfinite()].sum()

    values = given["inputs"], given["embedded"], given["attention"][..., :3]
    assert torch.autograd.gradcheck(run, [each.clone().requires_grad_() for each in values])


def test_a_word_without_attention_has_a_finite_loss_and_gradient() -> None:
    head, given = build(), draw()
    given["attention"] = torch.tensor([0.0, 1.0, 0.0, 0.0]).double().expand(2, 3, 4).clone().requires_grad_()
    loss = head.loss(targets=TARGETS, **given, source_ids=SOURCES.unsqueeze(1))
    loss.backward()
    assert loss.isfinite()
    assert given["attention"].grad.isfinite().all()
    assert all(each.grad.isfinite().all() for each in head.parameters())


def test_extreme_gates_stay_finite() -> None:
    """Where p_gen rounds to 0 or 1 in float32, its logarithm does not."""
    head, given = build().float(), {name: each.float() for name, each in draw().items()}
    for bias in (-200.0, 200.0):
        with torch.no_grad():
            head.gate.bias.fill_(bias)
        loss = head.loss(targets=TARGETS, **given, source_ids=SOURCES.unsqueeze(1))
        assert loss.isfinite()
        assert loss > 20


def test_coverage_and_its_loss() -> None:
    attention = draw()["attention"]
    a = attention.numpy()
    total, covered = 0.0, np.zeros_like(a)
    for b, t in np.ndindex(2, 3):
        covered[b, t] = sum(a[b, s] for s in range(t))
        total += np.minimum(a[b, t], covered[b, t]).sum() if t < (2, 3)[b] else 0.0
    np.testing.assert_allclose(coverage(attention), covered, rtol=1e-12)
    np.testing.assert_allclose(coverage_loss(attention, torch.tensor([2, 3])), total / 5, rtol=1e-12)


def test_errors_name_the_argument() -> None:
    head, given = build(), draw()
    with pytest.raises(
        ValueError, match="targets hold the id 6, which is neither in the vocabulary of 5 nor in its"
    ):
        head.loss(targets=torch.full((2, 3), 6), **given, source_ids=SOURCES.unsqueeze(1))
    with pytest.raises(ValueError, match=r"source_ids have shape \(2, 4\), .* \(2, 3, 4\)"):
        head.loss(targets=TARGETS, **given, source_ids=SOURCES)
    with pytest.raises(ValueError, match=r"size is 6, but the ids .* need 7"):
        head.log_probabilities(**given, source_ids=SOURCES.unsqueeze(1), size=6)
