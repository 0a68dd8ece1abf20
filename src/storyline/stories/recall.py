"""Recall of symbols: copy, selective copy, multi-query associative recall."""

from __future__ import annotations

import functools
import math

import numpy as np

from storyline.stories.kind import Kind
from storyline.stories.script import Ask, Planted, Script, Teller

SYMBOLS = tuple(f"s{number}" for number in range(8))
BLANK, CUE = len(SYMBOLS), len(SYMBOLS) + 1


def write_copy(t: Teller) -> Script:
    """Copy, as in Arjovsky et al. 2016: `facts` symbols of eight, `distance` blanks, then all are asked in order.

    Each symbol counts by itself. The best guess that is blind to order names the most frequent symbol. No string of
    symbols is in two splits.
    """
    symbols = t.pairing(lambda: _drawn(t), str)
    script: Script = []
    for fact, symbol in enumerate(symbols):
        script += [np.array([symbol]), Planted(fact)]
    script.append(np.full(t.distance, BLANK))
    return script + _asked(symbols)


def _asked(symbols: list[int]) -> Script:
    chance = most_frequent(len(symbols), len(SYMBOLS))
    pairs = ((np.array([CUE]), Ask(SYMBOLS[symbol], chance, fact)) for fact, symbol in enumerate(symbols))
    return [piece for pair in pairs for piece in pair]


@functools.lru_cache
def most_frequent(length: int, classes: int) -> float:
    """The expected share of the most frequent symbol in `length` uniform draws from `classes`.

    P(no symbol more than m times) = length! [x^length] (sum_(j <= m) x^j / j!)^classes / classes^length
    """
    expected, below = 0.0, 0.0
    for most in range(1, length + 1):
        series = np.array([1 / math.factorial(count) for count in range(most + 1)])
        product = functools.reduce(lambda a, b: np.convolve(a, b)[: length + 1], [series] * classes)
        reached = product[length] if len(product) > length else 0.0
        at_most = float(reached) * math.factorial(length) / classes**length
        expected, below = expected + most * (at_most - below), at_most
    return expected / length


copy = Kind(
    "copy",
    "Symbols, then blanks; asked for all symbols in their order.",
    write_copy,
    SYMBOLS,
    (*SYMBOLS, ".", "?"),
    distractors=(0, 0, 0),
    facts=(10, 2, 100),
    filled=False,
)


def _drawn(t: Teller) -> list[int]:
    return t.random.choices(range(len(SYMBOLS)), k=t.facts)


def write_selective_copy(t: Teller) -> Script:
    """Selective copy, as in Gu & Dao 2023: the symbols lie at random places among `distance` blanks.

    Asked for all symbols in their order; otherwise like copy.
    """
    symbols = t.pairing(lambda: _drawn(t), str)
    cuts = sorted(t.random.randint(0, t.distance) for _ in symbols)
    script: Script = []
    for fact, (start, stop) in enumerate(zip([0, *cuts], [*cuts, t.distance], strict=True)):
        script.append(np.full(stop - start, BLANK))
        if fact < t.facts:
            script += [np.array([symbols[fact]]), Planted(fact)]
    return script + _asked(symbols)


selective_copy = Kind(
    "selective-copy",
    "Symbols at random places among blanks; asked for all symbols in their order.",
    write_selective_copy,
    SYMBOLS,
    (*SYMBOLS, ".", "?"),
    distractors=(0, 0, 0),
    facts=(10, 2, 100),
    filled=False,
)

KEYS = tuple(f"k{number}" for number in range(50))
VALUES = tuple(f"v{number}" for number in range(50))


def write_associative_recall(t: Teller) -> Script:
    """Multi-query associative recall, as in Arora et al. 2023: pairs of key and value, then keys; asked for values.

    `facts` of the pairs are asked for, in any order, `distance` blanks after the last pair; `distractors` are not.
    Each value is told once: chance is one in as many as there are pairs. No pair is in two splits.
    """
    count = t.facts + t.distractors
    keys, values = t.crossed(KEYS, VALUES, (count, count))
    script: Script = []
    for fact, (key, value) in enumerate(zip(keys, values, strict=True)):
        script += [f"{key} {value}", Planted(fact)]
    script.append(np.full(t.distance, len(KEYS) + len(VALUES)))
    for fact in t.random.sample(range(count), t.facts):
        script += [keys[fact], Ask(values[fact], 1 / count, fact)]
    return script


associative_recall = Kind(
    "associative-recall",
    "Pairs of key and value; given some of the keys again, asked for their values.",
    write_associative_recall,
    VALUES,
    (*KEYS, *VALUES, "."),
    distractors=(0, 0, 5),
    facts=(4, 2, 5),
    filled=False,
)
