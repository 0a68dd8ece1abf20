"""How good answers are: exact match and F1, as SQuAD scores them."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(answer: str) -> str:
    """An answer as it is compared: lower case, without punctuation, English articles and surplus blanks.

    As in the official script of SQuAD 1.1 (Rajpurkar et al. 2016), in its order.
    """
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, right: Sequence[str]) -> float:
    """1.0 where an answer is one of the right ones, normalised."""
    return float(normalised(answer) in {normalised(each) for each in right})


def f1(answer: str, right: Sequence[str]) -> float:
    """The words that an answer shares with a right one: harmonic mean of precision and recall; the best of `right`.

    Words are counted as often as both have them. Where nothing is left of either after normalising, it is 0, as in the
    official script.
    """
    return max(_f1(normalised(answer).split(), normalised(each).split()) for each in right)


def answer_scores(answers: Sequence[str], right: Sequence[Sequence[str]]) -> np.ndarray:
    """Exact match and F1 of each answer, (n, 2)."""
    pairs = zip(answers, right, strict=True)
    return np.array([(exact_match(answer, each), f1(answer, each)) for answer, each in pairs]).reshape(-1, 2)


def _f1(answer: list[str], right: list[str]) -> float:
    shared = sum((Counter(answer) & Counter(right)).values())
    return 2 * shared / (len(answer) + len(right)) if shared else 0.0
