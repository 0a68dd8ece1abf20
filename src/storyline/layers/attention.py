"""Attention: what a decoder takes from the tokens of a source, and how much of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from storyline.layers.additive_scores import additive_scores
from storyline.layers.decoding import Encoded
from storyline.layers.multihead import attend

# A source as attention reads it: what was computed of it once, a tensor a name, a row a sentence.
Source = Mapping[str, Tensor]


class Attention(nn.Module, ABC):
    """Queries of a decoder and an encoded source to a context: the mean of the source's tokens, weighted.

        source = attention.prepare(encoded)  # once
        context, weights = attention(query, source)

    query_size: of what the decoder asks with. source_size: of a token of the encoded source, and of the context.
    A query is the state at one target token; in search, of one hypothesis: sources are never repeated for them.
    """

    def __init__(self, query_size: int, source_size: int) -> None:
        super().__init__()
        self.query_size, self.source_size = query_size, source_size

    def prepare(self, encoded: Encoded) -> dict[str, Tensor]:
        """All that depends on the source alone, each with a row a sentence: padding, keys, values.

        Raises ValueError where the source is not of source_size.
        """
        size = encoded.output.shape[-1]
        if size != self.source_size:
            raise ValueError(
                f"the encoded source has {size} channels; this attention reads source_size={self.source_size}"
            )
        padding = encoded.padding().to(encoded.output.device)
        # A weight of 0 would not keep a NaN of the padding out of the context.
        values = encoded.output.masked_fill(padding.unsqueeze(-1), 0)
        return {"padding": padding, **self._prepare(values, encoded.lengths)}

    def forward(
        self, query: Tensor, source: Source, *, need_weights: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Look at the source.

        query (batch, queries, query_size); source: as `prepare` gave it. need_weights: as in torch.nn; where they cost
        more than the context, and are not needed, they are None.
        Returns the context (batch, queries, source_size), and the weights (batch, queries, source), exactly 0 in
        the padding. Raises ValueError where the query is of another size or of other sentences.
        """
        sentences = source["padding"].shape[0]
        if query.dim() != 3 or query.shape[0] != sentences or query.shape[2] != self.query_size:
            raise ValueError(
                f"query has shape {tuple(query.shape)}; it must be (batch, queries, query_size) = "
                f"({sentences}, queries, {self.query_size})"
            )
        return self._attend(query, source, need_weights)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.query_size}, {self.source_size}"

    @abstractmethod
    def _prepare(self, values: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Of values (batch, source, source_size), 0 in the padding."""

    @abstractmethod
    def _attend(self, query: Tensor, source: Source, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        """As `forward`, of arguments that fit."""


class ScoredAttention(Attention):
    """Attention whose weights are the softmax of one score a query and token, and whose context is their mean."""

    def _prepare(self, values: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        return {"values": values, **self._keys(values, lengths)}

    def _attend(self, query: Tensor, source: Source, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        weights = self._weights(query, source)
        return torch.bmm(weights, source["values"]), weights

    def _weights(self, query: Tensor, source: Source) -> Tensor:
        scores = self._scores(query, source)
        return scores.masked_fill(source["padding"].unsqueeze(1), -torch.inf).softmax(-1)

    @abstractmethod
    def _keys(self, values: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """What else the score reads of the source."""

    @abstractmethod
    def _scores(self, query: Tensor, source: Source) -> Tensor:
        """(batch, queries, source), before the softmax."""


@final
class AdditiveAttention(ScoredAttention):
    """score = v' tanh(W s + U h) of a query s and a token h (Bahdanau et al. 2015, appendix A.1.2).

    attention_size: the rows of W and U; None: query_size.
    """

    def __init__(self, query_size: int, source_size: int, *, attention_size: int | None = None) -> None:
        super().__init__(query_size, source_size)
        size = query_size if attention_size is None else attention_size
        self.of_query = nn.Linear(query_size, size, bias=False)
        self.of_source = nn.Linear(source_size, size, bias=False)
        self.score = nn.Parameter(torch.empty(size).uniform_(-(size**-0.5), size**-0.5))

    def _keys(self, values: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        return {"keys": self.of_source(values)}

    def _scores(self, query: Tensor, source: Source) -> Tensor:
        return additive_scores(self.of_query(query), source["keys"], self.score)


@final
class DotAttention(ScoredAttention):
    """score = s' h of a query s and a token h, which must be of one size (Luong et al. 2015, eq. 8, dot)."""

    def __init__(self, query_size: int, source_size: int) -> None:
        if query_size != source_size:
            raise ValueError(
                f"dot attention multiplies queries and tokens of the source, but query_size is {query_size} and "
                f"source_size {source_size}; make them equal, or take 'general'"
            )
        super().__init__(query_size, source_size)

    def _keys(self, values: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        return {}

    def _scores(self, query: Tensor, source: Source) -> Tensor:
        return torch.bmm(query, source["values"].transpose(1, 2))


@final
class GeneralAttention(ScoredAttention):
    """score = s' W h of a query s and a token h (Luong et al. 2015, eq. 8, general)."""

    def __init__(self, query_size: int, source_size: int) -> None:
        super().__init__(query_size, source_size)
        self.of_source = nn.Linear(source_size, query_size, bias=False)

    def _keys(self, values: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        return {"keys": self.of_source(values)}

    def _scores(self, query: Tensor, source: Source) -> Tensor:
        return torch.bmm(query, source["keys"].transpose(1, 2))


@final
class LocalAttention(ScoredAttention):
    """Attention to a window around a position that each query foretells: local-p (Luong et al. 2015, eq. 9-10).

        p = S sigma(v' tanh(W s))                               S: tokens of the source; they stand at 0 ... S - 1
        weight = softmax(score) exp(-(position - p)^2 / (2 (D / 2)^2))

    with the score of `GeneralAttention`, and the softmax over the positions from p - D to p + D alone. As in the paper
    the weights are not scaled to sum to 1 again. `window` is D, 1 or more.
    """

    def __init__(self, query_size: int, source_size: int, *, window: int = 10) -> None:
        if isinstance(window, bool) or not isinstance(window, int) or window < 1:
            raise ValueError(
                f"window is {window!r}; it must be a whole number of tokens to either side, 1 or more"
            )
        super().__init__(query_size, source_size)
        self.window = window
        self.of_source = nn.Linear(source_size, query_size, bias=False)
        self.of_query = nn.Linear(query_size, query_size, bias=False)
        self.position = nn.Linear(query_size, 1, bias=False)

    def _keys(self, values: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        return {"keys": self.of_source(values), "lengths": lengths.to(values.device)}

    def _scores(self, query: Tensor, source: Source) -> Tensor:
        return torch.bmm(query, source["keys"].transpose(1, 2))

    def _weights(self, query: Tensor, source: Source) -> Tensor:
        lengths = source["lengths"].to(query.dtype).view(-1, 1, 1)
        centre = lengths * torch.sigmoid(self.position(torch.tanh(self.of_query(query))))
        distance = torch.arange(source["padding"].shape[1], device=query.device) - centre
        outside = source["padding"].unsqueeze(1) | (distance.abs() > self.window)
        weights = self._scores(query, source).masked_fill(outside, -torch.inf).softmax(-1)
        return weights * torch.exp(-2 * (distance / self.window).square())


@final
class MultiHeadAttention(Attention):
    """Several heads side by side: `multihead.attend` (Vaswani et al. 2017, section 3.2.2).

    Q is a linear map of the query, K and V of the source; the context is a linear map of all heads. The weights are
    the mean over the heads. num_heads: must divide query_size, the size of all heads together.
    """

    def __init__(self, query_size: int, source_size: int, *, num_heads: int = 4) -> None:
        if (
            isinstance(num_heads, bool)
            or not isinstance(num_heads, int)
            or num_heads < 1
            or query_size % num_heads
        ):
            raise ValueError(
                f"num_heads is {num_heads!r}; it must be a whole number that divides query_size={query_size}"
            )
        super().__init__(query_size, source_size)
        self.num_heads = num_heads
        self.of_query = nn.Linear(query_size, query_size)
        self.of_source = nn.Linear(source_size, 2 * query_size)
        self.out = nn.Linear(query_size, source_size)

    def _prepare(self, values: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        keys, values = self.of_source(values).chunk(2, dim=-1)
        return {"keys": keys, "values": values}

    def _attend(self, query: Tensor, source: Source, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        mixed, weights = attend(
            self.of_query(query),
            source["keys"],
            source["values"],
            source["padding"],
            count=self.num_heads,
            need_weights=need_weights,
        )
        return self.out(mixed), weights
