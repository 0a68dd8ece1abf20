"""Drawing outputs from a model instead of looking for the likeliest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from storyline.layers.decoding import DecodingState
from storyline.search.found import Ends, Found, Trail
from storyline.search.scorer import Limits, NextTokens, Scorer


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn; a ValueError names what is out of range.

    temperature  divides the scores: below 1 the likely become likelier, 0 takes the likeliest always
    top_k        only the k likeliest
    top_p        only the likeliest that together hold this probability (Holtzman et al. 2020, "nucleus")
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        for name in ("temperature", "top_p"):
            if not isinstance(getattr(self, name), Real | None):
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be a number")
        if self.temperature is None or not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature is {self.temperature}; it must be 0 or more")
        if self.top_k is not None and (not _whole(self.top_k) or self.top_k < 1):
            raise ValueError(f"top_k is {self.top_k}; it must be a whole number, 1 or more, or None")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; it must be above 0 and at most 1, or None")

    def probabilities(self, scores: Tensor) -> Tensor:
        """By which tokens are drawn, float64, from log probabilities (..., size); those at -inf are never drawn.

        At temperature 0 all that is to be drawn is the likeliest, the first of several.
        """
        scores = scores.double()
        if self.temperature == 0:
            return torch.zeros_like(scores).scatter_(-1, scores.argmax(-1, keepdim=True), 1)
        # Before dividing the greatest becomes 0: a small temperature would overflow.
        scores = (scores - scores.amax(-1, keepdim=True)) / self.temperature
        if self.top_k is not None and self.top_k < scores.shape[-1]:
            # By place: of several tokens as likely as the k-th only so many are kept as make k.
            kept = scores.topk(self.top_k).indices
            scores = torch.full_like(scores, -torch.inf).scatter_(-1, kept, scores.gather(-1, kept))
        probabilities = scores.softmax(-1)
        if self.top_p is not None:
            ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
            before = ordered.cumsum(-1) - ordered
            kept_of_order = ordered.masked_fill(before >= self.top_p, 0)
            probabilities = torch.zeros_like(probabilities).scatter_(-1, order, kept_of_order)
        return probabilities

    def draw(self, scores: Tensor, generator: torch.Generator) -> int:
        """A token by its log probabilities (size,); those at -inf are never drawn."""
        if self.temperature == 0:
            return int(scores.argmax())
        return int(torch.multinomial(self.probabilities(scores), 1, generator=generator))


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def seeded_chance(seeds: Sequence[int], steps: int) -> Tensor:
    """What decides the draws of sentences: (sentences, steps) float64 in [0, 1), each row from its own seed.

    So what is drawn for a sentence depends on its seed, and not on the sentences beside it.
    """
    rows = [
        torch.rand(steps, dtype=torch.float64, generator=torch.Generator().manual_seed(each))
        for each in seeds
    ]
    return torch.stack(rows) if rows else torch.zeros(0, steps, dtype=torch.float64)


@torch.no_grad()
def sample(
    scorer: Scorer,
    state: DecodingState,
    sampling: Sampling,
    limits: Limits,
    chance: Tensor,
    *,
    source_lengths: Tensor | None = None,
    attention: bool = False,
) -> Found:
    """An output of each sentence, drawn token by token; its score is its log probability under the model itself.

    state           before the first token
    chance          (sentences, steps) float64 in [0, 1), as `seeded_chance(seeds, maximum + 1)` makes them
    source_lengths  (sentences,): tokens of each source, by which the attention is cut
    attention       return it
    Raises ValueError where chance has too few steps, the model has no attention and it is asked for, its scores are
    not numbers, or all tokens are forbidden.
    """
    least, most = limits.lengths(limits.begin.device)
    longest = int(most.max()) if len(most) else 0
    if len(chance) != len(most) or chance.shape[1] < longest + 1:
        raise ValueError(
            f"chance is {tuple(chance.shape)}; it must be ({len(most)}, {longest + 1}): maximum + 1 steps"
        )
    tokens, sentences = limits.begin, torch.arange(len(most), device=most.device)
    parents = sentences
    totals = torch.zeros(len(most), dtype=torch.float64, device=most.device)
    found, trail, step = Ends.vacant(len(most), 1, device=most.device), Trail(), 0
    while len(sentences):
        scores, looked, state = scorer.step(tokens, state)
        if attention and looked is None:
            raise ValueError("the model gives no attention; sample without it")
        trail.add(tokens, parents, looked if attention else None)
        drawn, over, gained = _drawn(
            scores,
            sampling,
            limits,
            step < least[sentences],
            step >= most[sentences],
            chance[sentences, step],
        )
        totals = totals + gained
        done, parents = over.nonzero().squeeze(1), (~over).nonzero().squeeze(1)
        length = torch.full_like(done, step)
        ends = Ends(totals[done], totals[done], length, done, drawn[done] == limits.end)
        found.put(sentences[done], ends.as_column())
        tokens, totals = drawn[parents], totals[parents]
        if len(done) and len(parents):
            state = state.select(parents, parents)
        sentences, step = sentences[parents], step + 1
    return Found(trail.outputs(found, source_lengths), len(trail.tokens), sum(map(len, trail.tokens)))


def _drawn(
    scores: Tensor | NextTokens,
    sampling: Sampling,
    limits: Limits,
    short: Tensor,
    full: Tensor,
    chance: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The token of each row; whether the row is over, by the end or by its length; the log probability gained."""
    scores = (scores if isinstance(scores, Tensor) else scores.whole()).log_softmax(1)
    allowed = scores.index_fill(
        1, torch.tensor(limits.forbidden, dtype=torch.int64, device=scores.device), -torch.inf
    )
    allowed[:, limits.end].masked_fill_(short, -torch.inf)
    below = sampling.probabilities(allowed).cumsum(1)
    total = below[:, -1:].contiguous()
    if not bool((total > 0).all()):
        raise ValueError(
            "nothing can be drawn: the model's scores are not numbers, or all tokens are forbidden"
        )
    # The first token up to which more than `chance` of all lies; the last that can come, should rounding pass it by.
    drawn = torch.searchsorted(below, chance.unsqueeze(1) * total, right=True)
    drawn = drawn.minimum(torch.searchsorted(below, total)).squeeze(1)
    counted = drawn.masked_fill(full, limits.end)
    return drawn, counted == limits.end, scores.gather(1, counted.unsqueeze(1)).squeeze(1).double()
