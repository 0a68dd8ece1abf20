"""What a question is as one vector, and what it says about each token of the text it asks about."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AlignedQuestion(nn.Module):
    """For each token of a text the words of the question that are like it, as one vector.

    Chen et al. 2017, section 3.2: f(x_i) = sum_j a_ij q_j, a_ij = softmax_j(r(x_i) . r(q_j)), r(v) = relu(W v + b).
    It softens the feature "this word stands in the question": like words count, too.

    input_size: of the vectors of both.
    """

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(input_size, input_size)

    def forward(self, text: Tensor, question: Tensor, lengths: Tensor) -> Tensor:
        """Align text (batch, time, size) with question (batch, words, size) of lengths (batch,): shape of `text`."""
        read, asked = torch.relu(self.linear(text)), torch.relu(self.linear(question))
        scores = read @ asked.transpose(1, 2)
        words = torch.arange(question.shape[1], device=lengths.device)
        padding = words >= lengths.unsqueeze(1)
        weights = scores.masked_fill(padding.unsqueeze(1), -torch.inf).softmax(-1)
        aligned: Tensor = weights @ question.masked_fill(padding.unsqueeze(-1), 0.0)
        return aligned


class WeightedPooling(nn.Module):
    """A sequence as the mean of its states, each weighted by what it is.

    Chen et al. 2017, section 3.2: q = sum_j b_j q_j, b_j = softmax_j(w . q_j).

    input_size: of the states.
    """

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(input_size, 1, bias=False)

    def forward(self, output: Tensor, lengths: Tensor) -> Tensor:
        """Pool output (batch, time, size) of lengths (batch,), at least 1 each: (batch, size)."""
        steps = torch.arange(output.shape[1], device=lengths.device)
        padding = steps >= lengths.unsqueeze(1)
        scores = self.linear(output).squeeze(-1).masked_fill(padding, -torch.inf)
        weights = scores.softmax(-1).unsqueeze(1)
        pooled: Tensor = (weights @ output.masked_fill(padding.unsqueeze(-1), 0.0)).squeeze(1)
        return pooled
