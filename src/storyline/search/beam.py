"""Beam search: the likeliest outputs, as far as keeping a few beginnings of each sentence finds them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from storyline.layers.decoding import DecodingState
from storyline.search.found import Ends, Found, Trail
from storyline.search.likeliest import likeliest_tokens
from storyline.search.penalties import coverage_penalty, length_penalty
from storyline.search.scorer import Limits, Scorer


@dataclass(frozen=True)
class Beam:
    """How a beam searches; a ValueError names what is out of range.

    width     hypotheses of a sentence that are followed. It may exceed the vocabulary: places for which no hypothesis
              exists yet stay vacant, and the search becomes exhaustive.
    alpha     of the length penalty, 0 or more; 0: outputs are ranked by their log probability
    beta      of the coverage penalty, 0 or more; the model must give attention
    n_best    outputs of a sentence, at most `width`
    patience  a sentence is done when patience * width hypotheses have ended (Kasai et al. 2022; 1 is what most
              programs do), or, before that, when none that is followed can come among the n best any more.
              inf: only then; the outputs are then the best that any patience would find.
    """

    width: int = 5
    alpha: float = 0.6
    beta: float = 0.0
    n_best: int = 1
    patience: float = 1.0

    def __post_init__(self) -> None:
        for name in ("width", "n_best"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}; it must be a whole number, 1 or more")
        if self.n_best > self.width:
            raise ValueError(
                f"n_best is {self.n_best} and width {self.width}; a beam finds no more than its width"
            )
        for name in ("alpha", "beta"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")
        if not self.patience * self.width >= self.n_best:
            raise ValueError(
                f"patience is {self.patience}; patience * width must be {self.n_best} (n_best) or more"
            )


@dataclass(frozen=True)
class _Live:
    """The sentences that are not done yet, n of them, before a step; their hypotheses: rows = n * width.

    step        tokens that each hypothesis has
    sentences   (n,): which they are
    least, most (n,): tokens of an output
    totals      (n, width) float64: log probabilities; -inf: the place is vacant
    tokens      (rows,): what is read next
    parents     (rows,): of which row of the step before each is the continuation
    coverage    (rows, source): attention given so far, over `sources` (n,) tokens; None without the penalty
    pool        (n, n_best): the best that ended
    count       (n,): how many ended
    """

    step: int
    sentences: Tensor
    least: Tensor
    most: Tensor
    totals: Tensor
    tokens: Tensor
    parents: Tensor
    coverage: Tensor | None
    sources: Tensor | None
    pool: Ends
    count: Tensor


@torch.no_grad()
def beam_search(
    scorer: Scorer,
    state: DecodingState,
    beam: Beam,
    limits: Limits,
    *,
    source_lengths: Tensor | None = None,
    attention: bool = False,
) -> Found:
    """Outputs Y with a high score s(Y) = log P(Y | X) / lp(Y) + cp(X; Y) (Wu et al. 2016, eq. 14; `penalties`).

    At each step the `width` likeliest continuations of a sentence's hypotheses are looked at. Those of them that end
    leave with their score; the `width` likeliest that do not end are followed. Whatever is followed when an output may
    not become longer is ended there, at the probability that the model gives to the end. A sentence that is done
    leaves the batch. No sentence influences another.

    state           before the first token, one hypothesis a sentence
    source_lengths  (sentences,): tokens of each source; for the coverage penalty, and to cut the attention
    attention       return it; that of all steps is kept until then
    Raises ValueError where the model has no attention and it is needed, where its scores are not numbers, and where
    all that a sentence may become is forbidden.
    """
    if beam.beta and source_lengths is None:
        raise ValueError(
            "beta asks for the coverage penalty, which needs source_lengths; give them, or beta=0"
        )
    live = _begin(beam, limits, source_lengths if beam.beta else None)
    found = Ends.vacant(len(live.sentences), beam.n_best, device=limits.begin.device)
    trail = Trail()
    while len(live.sentences):
        scores, looked, state = scorer.step(live.tokens, state)
        if looked is None and (attention or beam.beta):
            raise ValueError("the model gives no attention; search without it, and with beta=0")
        trail.add(live.tokens, live.parents, looked if attention else None)
        best, tokens, ending = likeliest_tokens(scores, beam.width, limits.end, limits.forbidden)
        live = _covered(live, looked)
        going, places = _continued(live, best, beam.width)
        live = _with_ended(live, ending, going, beam)
        going = going.masked_fill((live.step >= live.most).unsqueeze(1), -torch.inf)
        stay, leave = _parted(live, going, beam)
        if len(leave):
            found.put(live.sentences[leave], live.pool.select(leave))
            if not len(stay):
                break
        live = _followed(live, going, places, tokens, stay if len(leave) else None)
        state = state.select(live.parents, stay if len(leave) else None)
    return Found(trail.outputs(found, source_lengths), len(trail.tokens), sum(map(len, trail.tokens)))


def greedy_search(scorer: Scorer, state: DecodingState, limits: Limits, *, attention: bool = False) -> Found:
    """The likeliest token at each step, until that is the end: a beam of width 1, scored by log probability."""
    return beam_search(scorer, state, Beam(1, alpha=0), limits, attention=attention)


def _begin(beam: Beam, limits: Limits, sources: Tensor | None) -> _Live:
    count, device = len(limits.begin), limits.begin.device
    least, most = limits.lengths(device)
    sentences = torch.arange(count, device=device)
    return _Live(
        step=0, sentences=sentences, least=least, most=most,
        totals=torch.zeros(count, 1, dtype=torch.float64, device=device),
        tokens=limits.begin, parents=sentences, coverage=None, sources=sources,
        pool=Ends.vacant(count, beam.n_best, device=device), count=torch.zeros_like(sentences),
    )  # fmt: skip


def _covered(live: _Live, looked: Tensor | None) -> _Live:
    if live.sources is None or looked is None:
        return live
    return replace(live, coverage=looked if live.coverage is None else live.coverage + looked)


def _continued(live: _Live, best: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The likeliest that do not end: log probabilities, and places among the (hypotheses * options), (n, width)."""
    count, hypotheses = live.totals.shape
    options = (live.totals.unsqueeze(2) + best.view(count, hypotheses, -1)).flatten(1)
    going, places = options.topk(min(width, options.shape[1]))
    vacant = width - going.shape[1]
    return F.pad(going, (0, vacant), value=-torch.inf), F.pad(places, (0, vacant))


def _with_ended(live: _Live, ending: Tensor, going: Tensor, beam: Beam) -> _Live:
    """Takes into the pool what ends at this step."""
    totals = live.totals + ending.view(live.totals.shape)
    totals = totals.masked_fill((live.step < live.least).unsqueeze(1), -torch.inf)
    # Of all continuations the `width` likeliest are among these.
    last = torch.cat((going, totals), 1).topk(beam.width).values[:, -1:]
    by_itself = totals >= last
    ends = (by_itself | (live.step >= live.most).unsqueeze(1)) & (totals > -torch.inf)
    if not ends.any():
        return live
    lengths = torch.full_like(totals, live.step, dtype=torch.int64)
    score = totals / length_penalty(lengths + 1, beam.alpha)
    if live.sources is not None and live.coverage is not None:
        sources = live.sources.unsqueeze(1).expand_as(totals)
        score = score + coverage_penalty(live.coverage.view(*totals.shape, -1), sources, beam.beta)
    rows = torch.arange(totals.numel(), device=totals.device).view(totals.shape)
    more = Ends(score.masked_fill(~ends, -torch.inf), totals, lengths, rows, by_itself)
    return replace(live, pool=live.pool.best_with(more), count=live.count + ends.sum(1))


def _parted(live: _Live, going: Tensor, beam: Beam) -> tuple[Tensor, Tensor]:
    """Which of the n stay, and which leave: nothing is followed, enough has ended, or nothing better can come."""
    # A log probability only falls, and is divided by no more than the penalty of the longest output; cp is at most 0.
    bound = going[:, 0] / length_penalty(live.most + 1, beam.alpha)
    if bound.isnan().any():
        raise ValueError(
            f"the model's scores at step {live.step + 1} are not numbers (nan); its weights may be broken"
        )
    done = (live.pool.score[:, -1] >= bound) | (live.count >= beam.patience * beam.width)
    return (~done).nonzero().squeeze(1), done.nonzero().squeeze(1)


def _followed(live: _Live, going: Tensor, places: Tensor, tokens: Tensor, stay: Tensor | None) -> _Live:
    """The next step's hypotheses, of the sentences that stay; None: of all."""
    count, hypotheses = live.totals.shape
    first, drawn = (
        torch.arange(0, count * hypotheses, hypotheses, device=going.device),
        tokens.view(count, -1),
    )
    sentences, least, most, pool, ended = live.sentences, live.least, live.most, live.pool, live.count
    sources = live.sources
    if stay is not None:
        first, drawn, going, places = first[stay], drawn[stay], going[stay], places[stay]
        sentences, least, most, pool, ended = (
            sentences[stay],
            least[stay],
            most[stay],
            pool.select(stay),
            ended[stay],
        )
        sources = None if sources is None else sources[stay]
    parents = (first.unsqueeze(1) + places // tokens.shape[1]).flatten()
    return _Live(
        step=live.step + 1, sentences=sentences, least=least, most=most, totals=going,
        tokens=drawn.gather(1, places).flatten(), parents=parents,
        coverage=None if live.coverage is None else live.coverage[parents],
        sources=sources, pool=pool, count=ended,
    )  # fmt: skip
