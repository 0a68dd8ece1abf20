"""The classics: adding (Hochreiter & Schmidhuber 1997), copy (Arjovsky et al. 2016), parity."""

from __future__ import annotations

import functools
import math

import numpy as np

from storyline.stories.kind import Kind
from storyline.stories.script import Ask, Planted, Script, Teller

SYMBOLS = tuple(f"s{number}" for number in range(8))


def write_adding(t: Teller) -> Script:
    """Adding, as in Hochreiter & Schmidhuber 1997, experiment 4; `distance` is their T, the least length.

    Each step is (value, marker), the value uniform on [-1, 1], the length uniform on [T, 1.1 T]. Two values are
    marked 1: one of the first ten, one of the first T/2; the first and last step are marked -1, all others 0. The
    answer is .5 + (X1 + X2) / 4; right is an error below .04. A guess that knows the sums of both channels but not
    which value was marked answers .5 and is right with |X1 + X2| < .16: .16 - .16^2 / 4 = 15.4 %.
    """
    length = max(3, t.distance + int(t.rng.integers(t.distance // 10 + 1)))
    steps = np.zeros((length, 2), np.float32)
    steps[:, 0] = t.rng.uniform(-1, 1, length)
    steps[[0, -1], 1] = -1
    half = max(2, length // 2)
    first = t.random.randrange(min(10, half))
    second = t.random.choice([step for step in range(half) if step != first])
    steps[[first, second], 1] = 1
    last = max(first, second) + 1
    answer = 0.5 + float(steps[[first, second], 0].sum()) / 4
    return [steps[:last], Planted(), steps[last:], Ask(answer, 0.16 - 0.16**2 / 4)]


adding = Kind(
    "adding",
    "Two of many numbers are marked; asked for their sum.",
    write_adding,
    (),
    (),
    distractors=(0, 0, 0),
    channels=2,
    filled=False,
    tolerance=0.04,
)


def write_copy(t: Teller) -> Script:
    """`facts` symbols of eight, `distance` blanks, then all symbols are asked in their order.

    Each symbol counts by itself. The best guess that is blind to order names the most frequent symbol. No string of
    symbols is in two splits.
    """
    symbols = t.pairing(lambda: t.random.choices(range(8), k=t.facts), lambda drawn: "".join(map(str, drawn)))
    chance = most_frequent(t.facts, 8)
    blank, cue = len(SYMBOLS), len(SYMBOLS) + 1
    script: Script = []
    for fact, symbol in enumerate(symbols):
        script += [np.array([symbol]), Planted(fact)]
    script.append(np.full(t.distance, blank))
    for fact, symbol in enumerate(symbols):
        script += [np.array([cue]), Ask(SYMBOLS[symbol], chance, fact)]
    return script


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


def write_parity(t: Teller) -> Script:
    """`distance` bits; asked whether the ones so far are even or odd: at the end, and with more `facts` in between.

    The bits are drawn freely in every split: from 20 of them on, a string seen twice is a rarity.
    """
    bits = t.rng.integers(2, size=t.distance)
    ends = sorted({t.distance, *(t.random.randint(1, t.distance) for _ in range(t.facts - 1))})
    script: Script = []
    for fact, (start, stop) in enumerate(zip([0, *ends], ends, strict=False)):
        answer = ("even", "odd")[int(bits[:stop].sum()) % 2]
        script += [bits[start:stop], np.array([2]), Ask(answer, 0.5, fact)]
    return script


parity = Kind(
    "parity",
    "Bits; asked whether the number of ones is even or odd.",
    write_parity,
    ("even", "odd"),
    ("0", "1", "?"),
    distractors=(0, 0, 0),
    facts=(1, 1, 1000),
    filled=False,
)
