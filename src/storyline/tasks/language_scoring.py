"""What given texts cost a language model, token by token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from storyline.data import TextEncoder
from storyline.tasks.next_token import Carry, NextToken

# Rows read side by side, steps read at once, and positions whose scores of all tokens stand in memory together.
_ROWS, _READING, _SCORED = 64, 512, 512


def score_tokens(
    network: NextToken, contexts: Sequence[np.ndarray], texts: Sequence[np.ndarray], *, alone: bool = False
) -> list[np.ndarray]:
    """Surprisal in nats of every token of each text after its context: -log p(token | context, tokens before it).

    contexts, texts  ids (n_i,), at least one each. Every row starts from the initial state, whatever stands beside it.
    alone            without the phrases that the network may keep

    Rows of about equal length are read together; padding stands behind the tokens, where no state comes from. Call it
    in evaluation mode and without gradients.
    """
    rows = [np.concatenate(pair) for pair in zip(contexts, texts, strict=True)]
    found = [np.empty(len(text)) for text in texts]
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    for first in range(0, len(order), _ROWS):
        chosen = order[first : first + _ROWS]
        longest = len(rows[chosen[-1]])
        ids = torch.zeros(len(chosen), longest, dtype=torch.int64)
        wanted = torch.zeros(len(chosen), longest - 1, dtype=torch.bool)
        for place, row in enumerate(chosen):
            ids[place, : len(rows[row])] = torch.from_numpy(rows[row])
            wanted[place, len(contexts[row]) - 1 : len(rows[row]) - 1] = True
        surprisal = _read(network, ids, wanted)
        for place, row in enumerate(chosen):
            found[row][:] = surprisal[place][wanted[place]].numpy()
    return found if network.phrases is None or alone else network.phrases.surprisal(rows, found)


def score_beginnings(
    network: NextToken, encoder: TextEncoder, texts: Sequence[np.ndarray], *, many: bool
) -> list[np.ndarray]:
    """As `score_tokens`, of texts before which nothing stands; `many`: the model learned several documents.

    After <end> then, which begins a document; else the first token costs what its frequency in training says,
    (count + 1/2) of all.
    """
    if many:
        return score_tokens(network, [np.array([encoder.end_id])] * len(texts), texts)
    rest = score_tokens(network, [row[:1] for row in texts], [row[1:] for row in texts])
    counts = encoder.counts + 0.5
    first = np.log(counts.sum()) - np.log(counts)
    return [np.append(first[row[0]], costs) for row, costs in zip(texts, rest, strict=True)]


def _read(network: NextToken, ids: Tensor, wanted: Tensor) -> Tensor:
    """Ids (rows, time), wanted (rows, time - 1): is the token after this one to be scored? -> surprisal like wanted."""
    surprisal = torch.zeros(wanted.shape, dtype=torch.float64)
    device = next(network.parameters()).device
    carry: Carry | None = None
    for start in range(0, wanted.shape[1], _READING):
        part = slice(start, min(start + _READING, wanted.shape[1]))
        output, carry = network(ids[:, part].to(device), carry)
        asked = wanted[:, part]
        # The head is by far the dearest part: it reads only what is asked for.
        read, targets = output[asked.to(device)], ids[:, 1:][:, part][asked].to(device)
        pieces = [
            network.head.log_probabilities(piece).gather(1, target[:, None]).squeeze(1)
            for piece, target in zip(torch.split(read, _SCORED), torch.split(targets, _SCORED), strict=True)
        ]
        surprisal[:, part][asked] = -torch.cat(pieces).double().cpu()
    return surprisal
