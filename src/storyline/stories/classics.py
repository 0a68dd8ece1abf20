"""Classics: adding and temporal order (Hochreiter & Schmidhuber 1997), parity."""

from __future__ import annotations

import itertools

import numpy as np

from storyline.stories.kind import Kind
from storyline.stories.script import Ask, Planted, Script, Teller


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


def write_parity(t: Teller) -> Script:
    """`distance` bits; asked whether the ones so far are even or odd: at the end, and with more `facts` in between.

    The bits are drawn freely in every split: from 20 of them on, a string seen twice is a rarity. Parity alone hangs
    on no order: who counts the ones exactly knows it. What is at chance is a linear reader of the counts: the best
    threshold is right in 1/2 + binomial(L - 1, L / 2) / 2^L of cases, 54 % at 100 bits and 51 % at 1,000.
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


ORDERS = tuple("".join(each) for count in (2, 3) for each in itertools.product("xy", repeat=count))


def write_temporal_order(t: Teller) -> Script:
    """Temporal order, as in Hochreiter & Schmidhuber 1997, experiments 6a and 6b; `distance` is their T.

    Between E and B, T to 1.1 T symbols: a to d at random, but x or y at two places (`facts`; with three, 6b), drawn
    from the ranges 10-20 and 50-60 (6b: 10-20, 33-43, 66-76) of a hundred. Asked which they were, in order. Who knows
    how many are x and not their order is right in 3 of 4 cases (6b: 1 of 2).
    """
    length = max(10, t.distance + int(t.rng.integers(t.distance // 10 + 1)))
    symbols = t.rng.integers(4, size=length)
    chosen = t.random.choices((0, 1), k=t.facts)
    for start, which in zip((10, 50) if t.facts == 2 else (10, 33, 66), chosen, strict=True):
        place = length * start // 100 + t.random.randrange(max(1, length // 10))
        symbols[place] = 4 + which
    script: Script = [np.array([6]), symbols[: place + 1], Planted(), symbols[place + 1 :], np.array([7])]
    return [*script, Ask("".join("xy"[which] for which in chosen), {2: 0.75, 3: 0.5}[t.facts])]


temporal_order = Kind(
    "temporal-order",
    "Two (three) of many symbols are x or y; asked which they were, in order.",
    write_temporal_order,
    ORDERS,
    ("a", "b", "c", "d", "x", "y", "E", "B"),
    distractors=(0, 0, 0),
    facts=(2, 2, 3),
    filled=False,
)
