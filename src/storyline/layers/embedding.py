"""Tokens to vectors: by what they are, and by how they are spelled."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from storyline.layers.rnn import LSTM


class TokenEmbedding(nn.Module):
    """A vector a token: ids (...) int64 -> (..., embedding_size).

    In training each token that occurs n times is replaced by `unknown_id` with probability
    word_dropout / (word_dropout + n), so that rare words teach the model what to make of unknown ones
    (Kiperwasser and Goldberg 2016, section 3.1, whose constant is .25).

    size: number of ids. counts (size,): how often each occurs in the training part; needed for word_dropout.
    pad_id: the id of padding; its vector is 0, is not trained, and is never replaced.
    vectors (size, embedding_size): where to start, in the place of N(0, 1 / embedding_size).
    frozen (size,) bool: the tokens whose vectors training leaves as they are; saved with the weights. None: none.
    dropout: of the vectors, element by element, in training.
    """

    replacement: Tensor
    frozen: Tensor | None

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
        frozen: Tensor | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for name, id_ in (("unknown_id", unknown_id), ("pad_id", pad_id)):
            if not 0 <= id_ < size:
                raise ValueError(f"{name} is {id_}; the ids run from 0 to {size - 1}")
        if vectors is not None and vectors.shape != (size, embedding_size):
            raise ValueError(f"vectors are {tuple(vectors.shape)}; they must be {(size, embedding_size)}")
        if frozen is not None and (frozen.shape != (size,) or frozen.dtype != torch.bool):
            raise ValueError(
                f"frozen is {tuple(frozen.shape)} {frozen.dtype}; it must be ({size},) torch.bool"
            )
        self.unknown_id, self.pad_id, self.word_dropout = unknown_id, pad_id, word_dropout
        self.embedding = nn.Embedding(size, embedding_size, padding_idx=pad_id)
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            if vectors is None:
                self.embedding.weight.mul_(embedding_size**-0.5)
            else:
                self.embedding.weight.copy_(vectors)
                self.embedding.weight[pad_id] = 0
        rates = _replacement_rates(size, counts, word_dropout)
        rates[pad_id] = 0
        # Not saved: it matters to training alone, and whoever trains on has the counts.
        self.register_buffer("replacement", rates, persistent=False)
        self.register_buffer("frozen", frozen)

    @property
    def weight(self) -> Tensor:
        """The vectors, (size, embedding_size); no gradient reaches those that are frozen."""
        weight = self.embedding.weight
        if self.frozen is None:
            return weight
        return torch.where(self.frozen.unsqueeze(1), weight.detach(), weight)

    def forward(self, ids: Tensor) -> Tensor:
        """Look up: ids (...) -> (..., embedding_size)."""
        if self.training and self.word_dropout > 0:
            drawn = torch.rand(ids.shape, device=ids.device) < self.replacement[ids]
            ids = ids.masked_fill(drawn, self.unknown_id)
        vectors: Tensor = self.embedding(ids)
        if self.frozen is not None:
            vectors = torch.where(self.frozen[ids].unsqueeze(-1), vectors.detach(), vectors)
        dropped: Tensor = self.dropout(vectors)
        return dropped


class CharacterEmbedding(nn.Module):
    """A vector a word from its characters: the last states of a bidirectional LSTM that spells it.

    Ling et al. 2015; Lample et al. 2016, section 4.1. Each distinct word of a batch is spelled once.

    size: number of characters' ids. embedding_size: of the word's vector, half for either direction.
    character_size: of the characters' vectors. dropout: of the characters' vectors, element by element.
    """

    def __init__(
        self,
        size: int,
        embedding_size: int,
        *,
        character_size: int = 32,
        pad_id: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if embedding_size < 2 or embedding_size % 2:
            raise ValueError(
                f"embedding_size is {embedding_size}; it must be even, half for either direction"
            )
        self.embedding = nn.Embedding(size, character_size, padding_idx=pad_id)
        self.dropout = nn.Dropout(dropout)
        self.lstm = LSTM(character_size, embedding_size // 2, batch_first=True, bidirectional=True)
        self.embedding_size = embedding_size

    def forward(self, characters: Tensor, lengths: Tensor) -> Tensor:
        """Spell every word.

        characters (batch, time, characters) int64; lengths (batch, time): the characters of each word, 0 for
        padding, whose vector is 0. Returns (batch, time, embedding_size).
        """
        flat, flat_lengths = characters.flatten(0, 1), lengths.flatten()
        inside = torch.arange(flat.shape[1], device=flat.device) < flat_lengths.unsqueeze(1)
        # The length leads, so that words that differ in padding alone are one, and words of length 0 first.
        keys = torch.cat([flat_lengths.unsqueeze(1), torch.where(inside, flat, 0)], dim=1)
        distinct, index = torch.unique(keys, dim=0, return_inverse=True)
        spelled = distinct[:, 0] > 0
        vectors = self.embedding.weight.new_zeros(len(distinct), self.embedding_size)
        if bool(spelled.any()):
            words = distinct[spelled]
            longest = int(words[:, 0].max())
            states = self.dropout(self.embedding(words[:, 1 : 1 + longest]))
            _, (h_n, _) = self.lstm(states, lengths=words[:, 0])
            padding = vectors[: len(distinct) - len(words)]
            vectors = torch.cat([padding, torch.cat([h_n[0], h_n[1]], dim=-1)])
        return vectors.index_select(0, index).view(*lengths.shape, -1)


def _replacement_rates(size: int, counts: Tensor | None, word_dropout: float) -> Tensor:
    """(size,): the probability that each token is replaced, a / (a + count)."""
    if word_dropout < 0:
        raise ValueError(f"word_dropout is {word_dropout}; it must be 0 or more")
    if word_dropout == 0:
        return torch.zeros(size)
    if counts is None:
        raise ValueError(f"word_dropout={word_dropout} needs counts, how often each token occurs")
    if counts.shape != (size,):
        raise ValueError(f"counts are {tuple(counts.shape)}; they must be ({size},), one a token")
    return word_dropout / (word_dropout + counts.float())
