"""Heads: probabilities sum to one, losses are their logarithms, ties hold."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from storyline.layers import LSTM, AdaptiveHead, LinearHead, TiedHead, TokenEmbedding

INPUT, CLASSES = 8, 20


def heads() -> dict[str, nn.Module]:
    embedding = TokenEmbedding(CLASSES, 6, unknown_id=1)
    return {
        "linear": LinearHead(INPUT, CLASSES, dropout=0.5),
        "tied": TiedHead(embedding, input_size=INPUT, dropout=0.5),
        "adaptive": AdaptiveHead(INPUT, CLASSES, [5, 10], div_value=2.0, dropout=0.5),
    }


@pytest.mark.parametrize("kind", ["linear", "tied", "adaptive"])
def test_loss_is_the_mean_of_the_log_probabilities(kind: str) -> None:
    head = heads()[kind].eval()
    inputs, targets = torch.randn(3, 7, INPUT), torch.randint(CLASSES, (3, 7))
    scores = head.log_probabilities(inputs)
    assert scores.shape == (3, 7, CLASSES)
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(3, 7))
    expected = -scores.gather(-1, targets.unsqueeze(-1)).mean()
    torch.testing.assert_close(head.loss(inputs, targets), expected)
    assert not torch.equal(head.train().loss(inputs, targets), expected)


def test_label_smoothing() -> None:
    head = LinearHead(INPUT, CLASSES)
    inputs, targets = torch.randn(5, INPUT), torch.randint(CLASSES, (5,))
    scores = head.log_probabilities(inputs)
    wanted = torch.full((5, CLASSES), 0.1 / CLASSES)
    wanted[torch.arange(5), targets] += 0.9
    torch.testing.assert_close(
        head.loss(inputs, targets, label_smoothing=0.1), -(wanted * scores).sum(1).mean()
    )


class Model(nn.Module):
    """A language model with a tied head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(CLASSES, 6, unknown_id=1)
        self.core = LSTM(6, 6)
        self.head = TiedHead(self.embedding)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.core(self.embedding(ids))[0])


def test_ties_hold_through_copies_and_are_saved_once() -> None:
    model = Model()
    assert [name for name in model.state_dict() if name.startswith("head")] == ["head.bias"]
    twin = copy.deepcopy(model).double()
    with torch.no_grad():
        twin.embedding.weight.zero_()
    assert not twin(torch.tensor([[3]])).any()
    assert model(torch.tensor([[3]])).any()


def test_the_tied_weight_learns_from_both_ends() -> None:
    model = Model()
    gradients = []
    for detach in (False, True):
        model.zero_grad()
        states = model.core(model.embedding(torch.tensor([[2], [3]])))[0]
        model.head.loss(states.detach() if detach else states, torch.tensor([[3], [4]])).backward()
        gradients.append(model.embedding.embedding.weight.grad.clone())
    both, head_only = gradients
    assert head_only.any(1).all()
    assert (both - head_only).any(1).nonzero().flatten().tolist() == [2, 3]


@pytest.mark.parametrize("cutoffs", [[], [10, 5], [5, 5], [0, 5], [5, CLASSES]])
def test_cutoffs_must_increase(cutoffs: list[int]) -> None:
    with pytest.raises(ValueError, match="they must increase, from 1 to below classes=20"):
        AdaptiveHead(INPUT, CLASSES, cutoffs)


def test_ranges_that_would_have_no_width() -> None:
    with pytest.raises(ValueError, match=r"2 cutoffs with div_value=4\.0 shrink input_size=8 to nothing"):
        AdaptiveHead(INPUT, CLASSES, [5, 10])
