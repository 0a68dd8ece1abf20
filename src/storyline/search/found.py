"""What a search found, and the trail of steps from which its outputs are read."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Hypothesis:
    """One output of a sentence.

    tokens           (length,) int64, without the end
    score            by which it was ranked: its log probability, over the length penalty, plus the coverage penalty
    log_probability  of all tokens and of the end, in nats
    ended            it ended by itself; False: it was as long as it may be, and was ended there
    attention        (length + 1, source): of each token and of the end; None where none was asked for
    """

    tokens: Tensor
    score: float
    log_probability: float
    ended: bool
    attention: Tensor | None = None


@dataclass(frozen=True)
class Found:
    """What a search found.

    hypotheses  of each sentence, best first; fewer than were asked for only where no more exist
    steps       how often the model was asked
    rows        of how many hypotheses in all
    """

    hypotheses: tuple[tuple[Hypothesis, ...], ...]
    steps: int
    rows: int

    @property
    def best(self) -> tuple[Hypothesis, ...]:
        """The best of each sentence."""
        return tuple(each[0] for each in self.hypotheses)


@dataclass(frozen=True)
class Ends:
    """Hypotheses that ended: where, and how good. All tensors have the same shape; vacant places have score -inf.

    length  tokens before the end, which is also the step at which it ended
    row     at that step
    """

    score: Tensor
    log_probability: Tensor
    length: Tensor
    row: Tensor
    ended: Tensor

    @classmethod
    def vacant(cls, *shape: int, device: torch.device) -> Ends:
        """Nothing yet."""
        score = torch.full(shape, -torch.inf, dtype=torch.float64, device=device)
        place = torch.zeros(shape, dtype=torch.int64, device=device)
        # Each has memory of its own: `put` writes into it.
        return cls(score, score.clone(), place, place.clone(), place.bool())

    def _parts(self) -> tuple[Tensor, ...]:
        return self.score, self.log_probability, self.length, self.row, self.ended

    def best_with(self, more: Ends) -> Ends:
        """The best of both in each row, as many as before."""
        both = [torch.cat(each, 1) for each in zip(self._parts(), more._parts(), strict=True)]
        places = both[0].topk(self.score.shape[1]).indices
        return Ends(*(each.gather(1, places) for each in both))

    def select(self, rows: Tensor) -> Ends:
        """Those of `rows`."""
        return Ends(*(each.index_select(0, rows) for each in self._parts()))

    def as_column(self) -> Ends:
        """One of each sentence: (sentences,) as (sentences, 1)."""
        return Ends(*(each.unsqueeze(1) for each in self._parts()))

    def put(self, rows: Tensor, values: Ends) -> None:
        """Write `values` into `rows`."""
        for to, each in zip(self._parts(), values._parts(), strict=True):
            to.index_copy_(0, rows, each)


@dataclass
class Trail:
    """What each step read: tokens, and of which row of the step before each hypothesis is the continuation.

    Hypotheses are not copied as they grow: they are read backwards once, at the end.
    """

    tokens: list[Tensor] = field(default_factory=list)
    parents: list[Tensor] = field(default_factory=list)
    attention: list[Tensor] = field(default_factory=list)

    def add(self, tokens: Tensor, parents: Tensor, attention: Tensor | None) -> None:
        """A step."""
        self.tokens.append(tokens)
        self.parents.append(parents)
        if attention is not None:
            self.attention.append(attention)

    def outputs(self, ends: Ends, sources: Tensor | None) -> tuple[tuple[Hypothesis, ...], ...]:
        """The hypotheses of `ends` (sentences, n); sources (sentences,): tokens of each, by which attention is cut."""
        real = ends.score > -torch.inf
        each = Ends(*(part[real] for part in ends._parts()))
        tokens, attention = self._read_back(each)
        sentence = real.nonzero()[:, 0].tolist()
        columns = (each.score, each.log_probability, each.length, each.ended)
        found: list[list[Hypothesis]] = [[] for _ in range(len(real))]
        for i, (score, log_probability, length, ended) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        ):
            looked = None
            if attention is not None:
                cut = None if sources is None else int(sources[sentence[i]])
                looked = attention[i, : length + 1, :cut]
            one = Hypothesis(tokens[i, :length], score, log_probability, ended, looked)
            found[sentence[i]].append(one)
        for i, hypotheses in enumerate(found):
            if not hypotheses:
                raise ValueError(f"sentence {i} has no output: all that it may become is forbidden")
        return tuple(map(tuple, found))

    def _read_back(self, ends: Ends) -> tuple[Tensor, Tensor | None]:
        """The tokens (hypotheses, longest) and their attention (hypotheses, longest + 1, source)."""
        count, longest = len(ends.length), int(ends.length.max()) if len(ends.length) else 0
        tokens = ends.length.new_zeros(count, longest)
        attention = None
        if self.attention:
            attention = self.attention[0].new_zeros(count, longest + 1, self.attention[0].shape[1])
        row = ends.row.clone()
        for step in range(longest, -1, -1):
            there = (ends.length >= step).nonzero().squeeze(1)
            at = row[there]
            if attention is not None:
                attention[there, step] = self.attention[step][at]
            if step:
                tokens[there, step - 1] = self.tokens[step][at]
                row[there] = self.parents[step][at]
        return tokens, attention
