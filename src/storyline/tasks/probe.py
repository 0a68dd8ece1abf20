"""What the probes of all tasks have in common: the network from its embedded inputs on, and the sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from storyline.layers import MemoryProbe

# output of the stack (batch, time, size), what it read (batch, time, channels), lengths (batch,) -> log probabilities
Answer = Callable[[Any, Tensor, Tensor, Tensor], Tensor]
# A sample holds at most so many steps (but a few sequences always): every one of them is read a hundred times.
_STEPS, _FEWEST = 40_000, 16
# What a step is called, by the level of the encoder.
UNITS = {"word": "word", "char": "character", "subword": "subword"}


class FromEmbedding(nn.Module):
    """A network behind its embedding: (batch, time, channels), lengths (batch,) or None -> log probabilities."""

    def __init__(self, network: Any, answer: Answer) -> None:
        super().__init__()
        self.network, self._answer = network, answer

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The answers, (batch, time, classes) or (batch, classes)."""
        output, _ = self.network.layer(inputs, lengths=lengths)
        if lengths is None:
            lengths = torch.full((len(inputs),), inputs.shape[1])
        return self._answer(self.network, output, inputs, lengths)


def draw(lengths: np.ndarray, sample: int, seed: int) -> np.ndarray:
    """Places of at most `sample` sequences of the given lengths, drawn at random, in order.

    Fewer where they would hold more steps than can be read in a few seconds, but 16 always.
    """
    if not len(lengths):
        raise ValueError("X is empty; give at least one sequence to measure the memory on")
    places = np.random.default_rng(seed).permutation(len(lengths))[:sample]
    within = np.cumsum(lengths[places]) <= _STEPS
    within[:_FEWEST] = True
    return np.sort(places[within])


def stack_probe(
    network: Any, initial: Any, answer: Answer, embedded: Tensor, lengths: Tensor, **more: Any
) -> MemoryProbe:
    """The probe of a network with a recurrent stack, on embedded sequences (batch, time, channels).

    more: other fields of the probe.
    """
    return MemoryProbe(
        model=FromEmbedding(network, answer).eval(),
        inputs=[row[:steps] for row, steps in zip(embedded, lengths.tolist(), strict=True)],
        layer=network.layer,
        initial=FromEmbedding(initial, answer).eval(),
        initial_layer=initial.layer,
        **more,
    )
