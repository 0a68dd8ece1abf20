"""Coverage attention: additive attention that sees how much of each source token was taken before."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from storyline.layers.additive_scores import additive_scores
from storyline.layers.attention import ScoredAttention, Source


@final
class CoverageAttention(ScoredAttention):
    """score = v' tanh(W s + U h + w c + b) of a query s and a token h that was given c attention before.

    See, Liu and Manning 2017, eq. 11. `source["coverage"]` (batch, queries, source) is c, the sum of the weights at all
    tokens of the target before the query's (`copying.coverage`); without it nothing was given yet. Of no use without
    `copying.coverage_loss`, say its authors (section 5.1).
    """

    def __init__(self, query_size: int, source_size: int) -> None:
        super().__init__(query_size, source_size)
        self.of_query = nn.Linear(query_size, query_size)
        self.of_source = nn.Linear(source_size, query_size, bias=False)
        bound = query_size**-0.5
        self.of_coverage = nn.Parameter(torch.empty(query_size).uniform_(-bound, bound))
        self.score = nn.Parameter(torch.empty(query_size).uniform_(-bound, bound))

    def _keys(self, values: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        return {"keys": self.of_source(values)}

    def _scores(self, query: Tensor, source: Source) -> Tensor:
        asked, keys = self.of_query(query), source["keys"]
        if "coverage" not in source:
            return additive_scores(asked, keys, self.score)
        # Every query has a coverage, and so keys, of its own.
        covered = source["coverage"]
        own = keys.unsqueeze(1) + covered.unsqueeze(-1) * self.of_coverage
        scores = additive_scores(asked.flatten(0, 1).unsqueeze(1), own.flatten(0, 1), self.score)
        return scores.view(covered.shape)
