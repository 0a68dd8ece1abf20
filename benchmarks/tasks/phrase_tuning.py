"""Weights of a phrase-based system that make the BLEU of held-out sentences as high as possible.

Source: F. J. Och (2003), "Minimum error rate training in statistical machine translation", ACL: decode into n best,
find the weights under which the chosen ones are best by the measure itself, decode again with those, and so on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np

from benchmarks.tasks.phrase_decoder import PhraseDecoder

ORDER = 4  # of BLEU's n-grams
STEPS = (-1.0, -0.5, -0.2, -0.1, -0.05, -0.02, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def tune(
    decoder: Callable[[np.ndarray], PhraseDecoder],
    sources: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    weights: np.ndarray,
    *,
    rounds: int = 5,
    best: int = 50,
    seed: int = 0,
) -> np.ndarray:
    """The weights, of length 1 in sum of absolute values, after some rounds of decoding and choosing.

    decoder  of given weights; sources, references: tokenised held-out sentences; best: translations kept a round
    """
    random = np.random.default_rng(seed)
    weights = weights / np.abs(weights).sum()
    pools: list[dict[tuple[str, ...], tuple[np.ndarray, np.ndarray]]] = [{} for _ in sources]
    for _ in range(rounds):
        search = decoder(weights)
        for tokens, reference, pool in zip(sources, references, pools, strict=True):
            fresh: set[tuple[str, ...]] = set()
            for words, values in islice(search.best(tokens, 10 * best), 10 * best):
                translation = tuple(words)
                if translation not in pool and len(fresh) < best:
                    pool[translation] = values, statistics(words, reference)
                    fresh.add(translation)
        weights = _improved(pools, weights, random)
    return weights


def statistics(words: Sequence[str], reference: Sequence[str]) -> np.ndarray:
    """What BLEU adds up over sentences: right and all n-grams for n = 1 to ORDER, length, length of the reference."""
    found = []
    for n in range(1, ORDER + 1):
        made, wanted = _ngrams(words, n), _ngrams(reference, n)
        found += [(made & wanted).total(), made.total()]
    return np.array([*found, len(words), len(reference)], dtype=float)


def bleu(totals: np.ndarray) -> float:
    """BLEU of summed statistics, 0 to 1 (Papineni et al. 2002, section 2.3); 0 where an n-gram order has nothing."""
    right, made = totals[0 : 2 * ORDER : 2], totals[1 : 2 * ORDER : 2]
    if (right == 0).any():
        return 0.0
    brevity = min(0.0, 1 - totals[-1] / totals[-2])
    return float(np.exp(np.log(right / made).mean() + brevity))


def _ngrams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[place : place + n]) for place in range(len(words) - n + 1))


def _improved(
    pools: Sequence[dict[tuple[str, ...], tuple[np.ndarray, np.ndarray]]],
    weights: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:
    """The weights with the highest BLEU of what they choose from the pools, climbing from these and from others."""
    widest = max(len(pool) for pool in pools)
    values = np.zeros((len(pools), widest, len(weights)))
    counted = np.zeros((len(pools), widest, 2 * ORDER + 2))
    there = np.zeros((len(pools), widest), dtype=bool)
    for number, pool in enumerate(pools):
        for place, (features, sums) in enumerate(pool.values()):
            values[number, place], counted[number, place], there[number, place] = features, sums, True
    flat, rows = values.reshape(-1, len(weights)), np.arange(len(pools))

    def climb(start: np.ndarray) -> tuple[float, np.ndarray]:
        scores = (flat @ start).reshape(there.shape)
        reached = rated(scores)
        while True:
            before = reached
            directions = np.eye(len(start))[random.permutation(len(start))]
            for direction in (*directions, *random.normal(size=(len(start), len(start))) / len(start) ** 0.5):
                along = (flat @ direction).reshape(there.shape)
                tried = [(rated(scores + step * scale * along), step * scale) for step in STEPS]
                highest, step = max(tried)
                if highest > reached:
                    reached, start, scores = highest, start + step * direction, scores + step * along
            if reached < before + 1e-4:
                return reached, start / np.abs(start).sum()

    def rated(scores: np.ndarray) -> float:
        chosen = np.where(there, scores, -np.inf).argmax(1)
        return bleu(counted[rows, chosen].sum(0))

    scale = float(np.abs(weights).max())
    starts = [weights, *(weights * random.uniform(0.3, 2, size=(2, len(weights))))]
    return max((climb(start) for start in starts), key=lambda found: found[0])[1]
