"""A trained language model as functions of tensors, for the instruments of memory."""

from __future__ import annotations

import numpy as np
import torch

from storyline.layers import MemoryProbe
from storyline.tasks.language_network import NextToken
from storyline.tasks.probe import last_state

# Of each sample, the share of windows on which the gradient is followed back.
_FOLLOWED = 0.25


def probe_language(
    network: NextToken, initial: NextToken, ids: np.ndarray, steps: int, sample: int, seed: int
) -> MemoryProbe:
    """Windows of a text, each before a token drawn at random.

    `longest` is four chunks of training, or what the text allows. The loss "with all the context" is that with
    the longest window, not with the whole text before it.
    """
    longest = min(4 * steps, (len(ids) - 1) // 2)
    if longest < 1:
        raise ValueError(f"the text has {len(ids)} tokens; at least 3 are needed to measure the memory on")
    places = np.random.default_rng(seed).integers(longest, len(ids), size=sample)
    windows = torch.from_numpy(ids[places[:, None] + np.arange(-longest, 0)])
    targets = torch.from_numpy(ids[places])

    def loss_at(k: int | None) -> float:
        with torch.no_grad():
            output, _ = network(windows[:, -(k or longest) :])
            return float(network.head.loss(output[:, -1], targets))

    with torch.no_grad():
        embedded = network.embedding(windows)
    return MemoryProbe(
        function=last_state(network.layer),
        inputs=embedded[: max(1, round(_FOLLOWED * sample))],
        layer=network.layer,
        layer_inputs=embedded,
        lengths=torch.full((sample,), longest),
        loss_at=loss_at,
        longest=longest,
        initial=last_state(initial.layer),
    )
