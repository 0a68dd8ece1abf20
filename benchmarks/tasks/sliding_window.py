"""The sliding window of Richardson et al. 2013: a baseline that points at answers by the words that two texts share."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

_TOKEN = re.compile(r"\w+(?:[.,'’-]\w+)*|[^\w\s]")
_ENDS = frozenset(".!?")


@dataclass(frozen=True)
class Passage:
    """A context as lower-case tokens with their places, and the sentence that each belongs to."""

    text: str
    tokens: list[str]
    places: list[tuple[int, int]]
    sentences: np.ndarray

    @classmethod
    def of(cls, text: str) -> Passage:
        found = list(_TOKEN.finditer(text))
        tokens = [match.group().lower() for match in found]
        ends = np.array([token in _ENDS for token in tokens], dtype=np.int64)
        return cls(text, tokens, [match.span() for match in found], np.cumsum(ends) - ends)


def sliding_window(context: str, question: str) -> str:
    """The candidate whose sentence shares most words with the question; of several the best by the sliding window.

    As the baseline of Rajpurkar et al. 2016, section 5.1, but for the candidates: they take the constituents of a
    parser, here they are the runs of words that are neither stop words nor in the question. A window as long as
    question and candidate together is slid over the context, and the words in it that either has count
    log(1 + 1 / count in the context) (Richardson et al. 2013, algorithm 1).
    """
    passage = Passage.of(context)
    asked = {match.group().lower() for match in _TOKEN.finditer(question)}
    candidates = _runs(passage, asked)
    if not candidates:
        return context
    counts = Counter(passage.tokens)
    weights = np.array([np.log1p(1 / counts[token]) for token in passage.tokens])
    shared = np.array([token in asked for token in passage.tokens])
    by_sentence = np.bincount(passage.sentences, weights=shared, minlength=1)
    overlaps = [by_sentence[passage.sentences[first]] for first, _ in candidates]
    best = max(overlaps)
    kept = [each for each, overlap in zip(candidates, overlaps, strict=True) if overlap == best]
    scores = [_window_score(passage, asked, weights, each) for each in kept]
    first, last = kept[int(np.argmax(scores))]
    return context[passage.places[first][0] : passage.places[last][1]]


def _runs(passage: Passage, asked: set[str]) -> list[tuple[int, int]]:
    """First and last token of each longest run of words of one sentence that may be an answer."""
    runs: list[tuple[int, int]] = []
    for place, token in enumerate(passage.tokens):
        if token in asked or token in ENGLISH_STOP_WORDS or not token[0].isalnum():
            continue
        if runs and runs[-1][1] == place - 1 and passage.sentences[place] == passage.sentences[place - 1]:
            runs[-1] = runs[-1][0], place
        else:
            runs.append((place, place))
    return runs


def _window_score(
    passage: Passage, asked: set[str], weights: np.ndarray, candidate: tuple[int, int]
) -> float:
    first, last = candidate
    wanted = asked | set(passage.tokens[first : last + 1])
    inside = np.array([token in wanted for token in passage.tokens])
    total = np.concatenate([[0.0], np.cumsum(np.where(inside, weights, 0.0))])
    size = min(len(wanted), len(passage.tokens))
    return float((total[size:] - total[:-size]).max())
