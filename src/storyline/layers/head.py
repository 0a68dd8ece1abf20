"""Heads: from states to scores over classes or words."""

from __future__ import annotations

from torch import Tensor, nn


class LinearHead(nn.Module):
    """Dropout, then one linear map: inputs (..., input_size) -> scores (..., classes)."""

    def __init__(self, input_size: int, classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(input_size, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores before the softmax."""
        scores: Tensor = self.linear(self.dropout(inputs))
        return scores
