"""Sentences to vectors, one each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from storyline.layers.recurrent import Recurrent


class SentenceEncoder(nn.Module):
    """A vector a sentence: its words weighted by their places, and the last state of a recurrent layer that read them.

    s = sum_j l_j * x_j + h_n, l_j a learned vector for each place, 1 at first (Henaff et al. 2017, eq. 1). The sum
    shows from the first step on which words two sentences share, which is what attention between sentences lives on;
    the recurrent state adds what their order says.

    layer   a recurrent layer, batch first and of one direction, whose output has the size of its input
    places  words that have a weight of their own; those behind share the last one's
    """

    def __init__(self, layer: Recurrent, *, places: int = 32) -> None:
        super().__init__()
        size = layer.hidden_size if not layer.proj_size else layer.proj_size
        if layer.bidirectional or not layer.batch_first or size != layer.input_size:
            raise ValueError(
                f"layer is {layer}; it must be batch first, of one direction, and put out as many channels as it reads"
            )
        if places < 1:
            raise ValueError(f"places is {places}; at least one word needs a weight")
        self.layer = layer
        self.weight = nn.Parameter(torch.ones(places, size))

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Sentences (batch, words, size) of lengths (batch,), at least 1 each, to vectors (batch, size)."""
        output, _ = self.layer(embedded, lengths=lengths)
        steps = torch.arange(embedded.shape[1], device=embedded.device)
        weights = self.weight[steps.clamp_max(len(self.weight) - 1)]
        inside = (steps < lengths.unsqueeze(1)).unsqueeze(-1)
        bag = torch.where(inside, embedded * weights, 0.0).sum(1)
        last: Tensor = output[torch.arange(len(output), device=output.device), lengths - 1]
        return bag + last
