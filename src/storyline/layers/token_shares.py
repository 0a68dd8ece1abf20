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
    """W (scale e) of tokens with the vectors e as they are when this is made: they are copied.

    The share of a token has the same bits at all times.

    embedding   of the tokens, in evaluation
    projection  W, (any, embedding_size)

    Threads may ask at once: what two of them compute of one token is the same, and is named known when it is written.
    """

    def __init__(self, embedding: TokenEmbedding, scale: float, projection: Projection) -> None:
        self.embedding, self.scale = embedding, scale
        self._projection = projection
        # A tensor made in inference mode could not be written to outside of it, and these live on after the call.
        with torch.inference_mode(False), torch.no_grad():
            self._vectors = embedding.weight.detach().clone()
            size = len(self._vectors)
            self._table: Tensor | None = None
            if size * projection.columns * self._vectors.element_size() <= _LARGEST_TABLE_BYTES:
                self._table = self._vectors.new_empty(size, projection.columns)
            self._known = torch.zeros(size, dtype=torch.bool, device=self._vectors.device)

    def of(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """A table, and the row of it that each of tokens (n,) has.

        Raises IndexError, as torch's embedding does, where a token is none of the vocabulary.
        """
        try:
            # Not by brackets, which take -1 for the last token.
            known = self._known.index_select(0, tokens)
        except IndexError:
            raise IndexError(
                f"tokens reach from {int(tokens.min())} to {int(tokens.max())}; those of the embedding are 0 to "
                f"{len(self._known) - 1}"
            ) from None
        if self._table is None:
            distinct, rows = torch.unique(tokens, return_inverse=True)
            return self._projected(distinct), rows
        new = tokens[~known]
        if len(new):
            new = torch.unique(new)
            self._table[new] = self._projected(new)
            self._known[new] = True
        return self._table, tokens

    def _projected(self, tokens: Tensor) -> Tensor:
        return self._projection(self.scale * self._vectors[tokens])
