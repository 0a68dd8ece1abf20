"""A trained language model as functions of tensors, for the instruments of memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from storyline.data import TextEncoder
from storyline.layers import MemoryProbe
from storyline.tasks.next_token import NextToken
from storyline.tasks.probe import UNITS, draw, stack_probe

# A window of so many chunks of training shows what lies beyond what was trained on.
_CHUNKS = 4
# The need of a text is sought in so many windows of its own, each so long at most: that takes many different answers
# more than it takes long contexts, in which simple probes find nothing.
_ASKED, _CONTEXT = 600, 64


def probe_language(
    network: NextToken,
    initial: NextToken,
    encoder: TextEncoder,
    ids: np.ndarray,
    steps: int,
    sample: int,
    seed: int,
) -> MemoryProbe:
    """Windows of a text, each before a token drawn at random, which is its target.

    A window is four chunks of training, or what the text allows. "All of the context" is the whole window, not the
    whole text before it.
    """
    longest = min(_CHUNKS * steps, (len(ids) - 1) // 2)
    if longest < 1:
        raise ValueError(f"the text has {len(ids)} tokens; at least 3 are needed to measure the memory on")
    generator = np.random.default_rng(seed)
    places = _places(generator, longest, len(ids), sample)
    places = places[draw(np.full(len(places), longest), sample, seed)]
    windows = torch.from_numpy(ids[places[:, None] + np.arange(-longest, 0)])
    with torch.no_grad():
        embedded = network.embedding(windows)
    context = min(_CONTEXT, longest)
    asked = _places(generator, context, len(ids), _ASKED)
    names = encoder.names()
    return stack_probe(
        network,
        initial,
        _answer,
        embedded,
        torch.full((len(places),), longest),
        targets=torch.from_numpy(ids[places]),
        symbols=list(torch.from_numpy(ids[asked[:, None] + np.arange(-context, 0)])),
        symbol_targets=torch.from_numpy(ids[asked]),
        words=[[names[id_] for id_ in row] for row in windows.tolist()],
        unit=UNITS[encoder.level],
    )


def _places(generator: np.random.Generator, first: int, end: int, count: int) -> np.ndarray:
    """Places from `first` on, none of them twice: the same window again would pass for another sequence."""
    return first + generator.permutation(end - first)[:count]


def _answer(network: NextToken, output: Tensor, embedded: Tensor, lengths: Tensor) -> Tensor:
    # of every step it would be (batch, time, vocabulary)
    last = torch.arange(len(output)), lengths - 1
    return network.head.log_probabilities(network.for_head(output[last], embedded[last]))
