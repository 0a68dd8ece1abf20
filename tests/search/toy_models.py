"""Models that are small enough to look through everything that they may say."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from storyline.layers.decoding import DecodingState


def rows_by(matrix: Tensor, rows: Tensor) -> Tensor:
    """The product rows @ matrix.T, rounded alike whatever the number of rows, as a product of matrices may not be."""
    return (matrix * rows.unsqueeze(1)).sum(2)


class Recurrence:
    """h' = tanh(U h + E[token] + c[sentence]); scores = V h'; attention = softmax over the source of A h'.

    Weights are drawn; `sharpness` multiplies the scores. float64, so that ranks do not depend on rounding.
    """

    def __init__(self, seed: int, vocabulary: int, source: int = 4, hidden: int = 6, sharpness: float = 2.0):
        draw = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draw, dtype=torch.float64)

        self.U, self.E = 0.5 * normal(hidden, hidden), normal(vocabulary, hidden)
        self.V, self.A = sharpness * normal(vocabulary, hidden), 2 * normal(source, hidden)
        self.vocabulary, self.source, self.hidden = vocabulary, source, hidden

    def begin(self, contexts: Tensor, lengths: Tensor | None = None) -> DecodingState:
        if lengths is None:
            lengths = torch.full((len(contexts),), self.source)
        shared = {"context": contexts, "lengths": lengths}
        return DecodingState(shared, {"h": torch.zeros(len(contexts), self.hidden, dtype=torch.float64)})

    def step(self, tokens: Tensor, state: DecodingState) -> tuple[Tensor, Tensor, DecodingState]:
        width = len(tokens) // len(state.shared["context"])
        context = state.shared["context"].repeat_interleave(width, 0)
        lengths = state.shared["lengths"].repeat_interleave(width, 0)
        h = torch.tanh(rows_by(self.U, state.rows["h"]) + self.E[tokens] + context)
        scores, looked = rows_by(self.V, h), rows_by(self.A, h)
        looked = looked.masked_fill(torch.arange(self.source) >= lengths.unsqueeze(1), -torch.inf).softmax(1)
        return scores, looked, DecodingState(state.shared, {"h": h})

    def contexts(self, seed: int, count: int) -> Tensor:
        draw = torch.Generator().manual_seed(seed)
        return torch.randn(count, self.hidden, generator=draw, dtype=torch.float64)


def every_output(
    model: Recurrence, context: Tensor, length: int, end: int, maximum: int, *, minimum: int = 0, begin: int = 0,
    forbidden: tuple[int, ...] = (),
) -> list[tuple[tuple[int, ...], float, np.ndarray]]:  # fmt: skip
    """All outputs of one sentence in plain NumPy: tokens, log probability with the end, attention (steps, source)."""
    U, E, V, A = (each.numpy() for each in (model.U, model.E, model.V, model.A))
    found = []
    letters = [token for token in range(model.vocabulary) if token != end and token not in forbidden]
    for size in range(minimum, maximum + 1):
        for tokens in itertools.product(letters, repeat=size):
            h, total, looked = np.zeros(model.hidden), 0.0, []
            for read, following in zip((begin, *tokens), (*tokens, end), strict=True):
                h = np.tanh(U @ h + E[read] + context.numpy())
                scores, given = V @ h, np.exp(A[:length] @ h)
                total += scores[following] - np.log(np.exp(scores).sum())
                looked.append(np.pad(given / given.sum(), (0, model.source - length)))
            found.append((tokens, total, np.array(looked)))
    return found
