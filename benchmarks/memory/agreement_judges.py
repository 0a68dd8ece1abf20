"""Judges of sentence pairs: how frequent, how likely to an n-gram model, to a recurrent model; and their score."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.memory.agreement_sets import UNKNOWN, Pair
from benchmarks.tasks.kneser_ney import KneserNey
from storyline import LanguageModel

# Pairs -> by how much the right one is likelier, in nats (n,); 0 is a tie, nan: cannot say.
Judge = Callable[[Sequence[Pair]], np.ndarray]
BEGIN = "<eos>"
_RESAMPLES, _RESAMPLED_FROM = 10_000, 10


def frequency(counts: Mapping[str, int]) -> Judge:
    """The sum of the logarithms of how often the words came in training, without any context."""
    total = sum(counts.values())

    def likelihood(words: Sequence[str]) -> float:
        # A word that never came counts as <unk>, as for the models.
        return sum(math.log(counts.get(word, counts[UNKNOWN]) / total) for word in words)

    # Rounded, since the same words in another order are a tie.
    return lambda pairs: np.array([round(likelihood(p.right) - likelihood(p.wrong), 9) for p in pairs])


def published_frequency(pairs: Sequence[Pair]) -> np.ndarray:
    """The frequencies that the set itself tells, of its publishers' corpus."""
    told = [pair.counts for pair in pairs]
    return np.array(
        [math.nan if pair is None else math.log(pair[0] + 1) - math.log(pair[1] + 1) for pair in told]
    )


def n_gram(model: KneserNey, ids: Mapping[str, int]) -> Judge:
    """Kneser-Ney over the same tokens; every sentence begins after a line end."""

    def likelihood(context: Sequence[str], words: Sequence[str]) -> float:
        row = np.array([ids.get(word, ids[UNKNOWN]) for word in (BEGIN, *context, *words)])
        return float(model.log_probabilities(row)[-len(words) :].sum())

    return lambda pairs: np.array(
        [likelihood(p.context, p.right) - likelihood(p.context, p.wrong) for p in pairs]
    )


def recurrent(model: LanguageModel) -> Judge:
    """The LanguageModel, each sentence by itself after a line end."""

    def judge(pairs: Sequence[Pair]) -> np.ndarray:
        contexts = [" ".join((BEGIN, *pair.context)) for pair in pairs]
        texts = [" ".join(side) for pair in pairs for side in (pair.right, pair.wrong)]
        costs = model.surprisal(texts, [context for context in contexts for _ in range(2)])
        right, wrong = np.array([row.sum() for row in costs]).reshape(-1, 2).T
        return wrong - right

    return judge


@dataclass(frozen=True)
class Score:
    """Of `pairs` a share can be decided; shares in percent.

    accuracy      of the decided, a tie counting half; low, high: 95 %; None where none is decided
    accuracy_all  of all pairs, each undecided one counting half: what a coin would make of it
    accuracy_least  of all pairs, each undecided one counting as wrong
    """

    pairs: int
    decided: int
    accuracy: float | None
    low: float | None
    high: float | None
    interval: str
    accuracy_all: float
    accuracy_least: float


def score(margins: np.ndarray, decidable: np.ndarray, clusters: Sequence[str]) -> Score:
    """margins, decidable (n,): by how much the right one is likelier, and whether the pair counts as decided.

    The interval is Wilson's (1927) where each pair is a draw of its own. Where several pairs were made from one
    sentence it is the bootstrap over sentences (percentiles of 10,000 resamples); below 10 sentences, too few to
    resample, it is Wilson's as if each were one draw, which is on the wide side.
    """
    points = np.where(margins == 0, 0.5, margins > 0)
    decidable = decidable & np.isfinite(margins)
    n, kept = len(points), points[decidable]
    least = float(kept.sum()) / n
    every = least + 0.5 * (n - len(kept)) / n
    if not len(kept):
        return Score(n, 0, None, None, None, "none: no pair is decided", 100 * every, 100 * least)
    names, places = np.unique([clusters[i] for i in np.flatnonzero(decidable)], return_inverse=True)
    share = float(kept.mean())
    if len(names) == len(kept):
        interval, (low, high) = "Wilson", wilson(share, len(kept))
    elif len(names) < _RESAMPLED_FROM:
        interval, (low, high) = f"Wilson, sentences as draws: {len(names)}", wilson(share, len(names))
    else:
        interval, (low, high) = f"bootstrap over {len(names)} sentences", bootstrap(kept, places)
    return Score(n, len(kept), 100 * share, 100 * low, 100 * high, interval, 100 * every, 100 * least)


def wilson(p: float, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's interval of a share p of n (1927): (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)."""
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def bootstrap(points: np.ndarray, clusters: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % of the mean of points (n,) when whole clusters are drawn; clusters (n,): ids from 0."""
    sums, sizes = np.bincount(clusters, points), np.bincount(clusters)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(_RESAMPLES, len(sums)))
    low, high = np.percentile(sums[drawn].sum(1) / sizes[drawn].sum(1), [2.5, 97.5])
    return float(low), float(high)
