"""A trained chatbot as functions of tensors, for the instruments of memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from storyline.data import TextEncoder
from storyline.layers import MemoryProbe
from storyline.tasks.next_token import NextToken
from storyline.tasks.probe import UNITS, draw, stack_probe

# The need of the data is sought in so many contexts, each so long at most, as for language models.
_ASKED, _CONTEXT = 600, 64


def probe_chatbot(
    network: NextToken,
    initial: NextToken,
    encoder: TextEncoder,
    ids: Sequence[np.ndarray],
    sample: int,
    seed: int,
) -> MemoryProbe:
    """Beginnings of dialogues, each before a token of its second half, drawn at random, which is its target.

    ids  of each dialogue, as `encode_dialogues` gives them
    """
    # Of the second half, so that there is something before it; (dialogue, place) of each token.
    places = np.array(
        [(row, place) for row, own in enumerate(ids) for place in range(len(own) // 2, len(own))]
    )
    generator = np.random.default_rng(seed)
    places = places[generator.permutation(len(places))]
    chosen = places[draw(places[:, 1], sample, seed)]
    windows = [torch.from_numpy(ids[row][:place]) for row, place in chosen]
    with torch.no_grad():
        embedded = network.embedding(pad_sequence(windows, batch_first=True, padding_value=encoder.pad_id))
    asked = places[:_ASKED]
    names = encoder.names()
    return stack_probe(
        network,
        initial,
        _answer,
        embedded,
        torch.from_numpy(chosen[:, 1]),
        targets=_tokens(ids, chosen),
        symbols=[torch.from_numpy(ids[row][max(0, place - _CONTEXT) : place]) for row, place in asked],
        symbol_targets=_tokens(ids, asked),
        words=[[names[id_] for id_ in window.tolist()] for window in windows],
        unit=UNITS[encoder.level],
        total=len(places),
    )


def _tokens(ids: Sequence[np.ndarray], places: np.ndarray) -> Tensor:
    return torch.tensor([int(ids[row][place]) for row, place in places])


def _answer(network: NextToken, output: Tensor, embedded: Tensor, lengths: Tensor) -> Tensor:
    last = torch.arange(len(output)), lengths - 1
    return network.head.log_probabilities(network.for_head(output[last], embedded[last]))
