"""What a layer makes of each token of a vocabulary, computed when the token is first read."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from storyline.kernels import Projection
from storyline.layers.embedding import TokenEmbedding

# Above it what was computed is not kept: a table of 8,000 tokens for an LSTM of 1,024 units has half as much.
_LARGEST_TABLE_BYTES = 256 * 2**20


@final
class TokenShares:
    """W (scale e) of tokens with the vectors e, as they are now; the share of a token has the same bits at all times.

    embedding   of the tokens, in evaluation
    projection  W, (any, embedding_size)

    Threads may ask at once: what two of them compute of one token is the same, and is named known when it is written.
    """

    def __init__(self, embedding: TokenEmbedding, scale: float, projection: Projection) -> None:
        self.embedding, self.scale = embedding, scale
        self._vectors, self._projection = embedding.weight.detach(), projection
        size = len(self._vectors)
        self._table: Tensor | None = None
        if size * projection.columns * self._vectors.element_size() <= _LARGEST_TABLE_BYTES:
            self._table = self._vectors.new_empty(size, projection.columns)
        self._known = torch.zeros(size, dtype=torch.bool)

    def of(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """A table, and the row of it that each of tokens (n,) has."""
        if self._table is None:
            distinct, rows = torch.unique(tokens, return_inverse=True)
            return self._projected(distinct), rows
        new = tokens[~self._known[tokens]]
        if len(new):
            new = torch.unique(new)
            self._table[new] = self._projected(new)
            self._known[new] = True
        return self._table, tokens

    def _projected(self, tokens: Tensor) -> Tensor:
        return self._projection(self.scale * self._vectors[tokens])
