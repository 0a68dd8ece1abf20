"""Tokens to vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TokenEmbedding(nn.Module):
    """A vector a token: ids (...) int64 -> (..., embedding_size).

    In training each token of count n is replaced by `unknown_id` with probability
    word_dropout / (word_dropout + n), so that rare words teach the model what to make of unknown ones
    (Iyyer et al. 2015; Kiperwasser and Goldberg 2016, section 3.1, whose constant is .25).

    size: number of ids. counts (size,): how often each occurs in the training part; needed for word_dropout.
    pad_id: the id of padding; its vector is 0, is not trained, and is never replaced.
    vectors (size, embedding_size): where to start, in the place of N(0, 1) * embedding_size ** -0.5.
    """

    def __init__(
        self,
        size: int,
        embedding_size: int,
        *,
        unknown_id: int,
        counts: Tensor | None = None,
        word_dropout: float = 0.0,
        pad_id: int = 0,
        vectors: Tensor | None = None,
    ) -> None:
        super().__init__()
        if word_dropout < 0:
            raise ValueError(f"word_dropout is {word_dropout}; it must be 0 or more")
        if word_dropout > 0 and counts is None:
            raise ValueError(f"word_dropout={word_dropout} needs counts, how often each token occurs")
        self.unknown_id, self.pad_id, self.word_dropout = unknown_id, pad_id, word_dropout
        self.embedding = nn.Embedding(size, embedding_size, padding_idx=pad_id)
        with torch.no_grad():
            if vectors is None:
                self.embedding.weight.mul_(embedding_size**-0.5)
            elif vectors.shape != (size, embedding_size):
                raise ValueError(
                    f"vectors have shape {tuple(vectors.shape)}; they must be {(size, embedding_size)}"
                )
            else:
                self.embedding.weight.copy_(vectors)
                self.embedding.weight[pad_id] = 0
        if counts is not None and counts.shape != (size,):
            raise ValueError(f"counts have shape {tuple(counts.shape)}; they must be ({size},)")
        # Not saved: what a model does after training does not depend on it.
        rate = torch.zeros(size) if counts is None else word_dropout / (word_dropout + counts.float())
        rate[pad_id] = 0
        self.register_buffer("replacement", rate, persistent=False)

    replacement: Tensor

    def forward(self, ids: Tensor) -> Tensor:
        """Look up: ids (...) -> (..., embedding_size)."""
        if self.training and self.word_dropout > 0:
            drawn = torch.rand(ids.shape, device=ids.device) < self.replacement[ids]
            ids = ids.masked_fill(drawn, self.unknown_id)
        vectors: Tensor = self.embedding(ids)
        return vectors
