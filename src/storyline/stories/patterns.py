"""Stories without words: a melody that returns, a payment that is unusual for its card."""

from __future__ import annotations

import numpy as np

from storyline.stories.kind import Kind, lexicon
from storyline.stories.script import Ask, Planted, Script, Teller

NOTES = tuple(tone + octave for octave in "345" for tone in lexicon("c c# d d# e f f# g g# a a# b"))
ORDINALS = ("one", "two", "three", "four")
THEME_SIZE = 5
# The lowest notes that a theme may lie above, which are its varieties; its range and largest shift in semitones.
LOWEST = range(5, 19)
RANGE, SHIFT = 13, 5


def write_theme(t: Teller) -> Script:
    """Themes are played and numbered; `distance` other notes later one returns, transposed or not; asked which.

    All themes of a story are the same five notes in other orders, and the transposition (none in half of the cases,
    else up to five semitones) has nothing to do with which returns: chance for the bag of notes is one in as many as
    there are themes (1 + distractors). No set of themes is in two splits. Of little variety the themes lie low, in a
    narrow range, and return as they were: at 1 all are orders of the same five notes.
    """
    themes = t.pairing(lambda: _themes(t), lambda drawn: " ".join(sorted(map(str, drawn))))
    returns = t.random.randrange(len(themes))
    most = min(SHIFT, ((t.variety or len(LOWEST)) - 1) // 2)
    shifts = [step for step in range(-most, most + 1) if step]
    shift = t.random.choice(shifts) if shifts and t.random.random() < 0.5 else 0
    script: Script = []
    for number, theme in enumerate(themes):
        script += [f"theme {ORDINALS[number]} :", np.array(theme)]
        script += [Planted()] if number == returns else []
    script += [".", t.rng.integers(len(NOTES), size=t.distance), ":", np.array(themes[returns]) + shift]
    return [*script, "which theme ?", Ask(ORDINALS[returns], 1 / len(themes))]


def _themes(t: Teller) -> list[list[int]]:
    variety = t.variety or len(LOWEST)
    low = t.random.choice(LOWEST[:variety])
    notes = t.random.sample(range(low, low + min(RANGE, THEME_SIZE + variety - 1)), THEME_SIZE)
    themes: list[list[int]] = []
    while len(themes) < t.distractors + 1:
        theme = t.random.sample(notes, THEME_SIZE)
        if theme not in themes:
            themes.append(theme)
    return themes


theme = Kind(
    "theme",
    "Melodies are played; one of them returns, transposed or not; asked which.",
    write_theme,
    ORDINALS,
    (*NOTES, "theme", *ORDINALS, ":", ".", "which", "?"),
    distractors=(1, 1, 3),
    filled=False,
    varieties=len(LOWEST),
)

CARDS, MERCHANTS, PAST = 4, 4, 5


def write_card(t: Teller) -> Script:
    """Payments of several cards, then `distance` of strangers' cards, then one of a card; asked if it is unusual.

    A step is a payment: the logarithm of the amount, the card (one of five, the fifth for strangers) and the merchant
    (one of four), one-hot. A card has an amount and a merchant of its own; the unusual payment leaves one of both.
    Where the last payment is usual the unusual one lies in the card's past, so the same payments are made in both
    cases and chance for the bag of payments is one half. Each card's other payments are five, or four and an unusual.
    The amounts are drawn freely in every split.
    """
    cards = t.random.sample(range(CARDS), t.distractors + 1)
    paid = [_payments(t, card) for card in cards]
    asked, unusual = paid[0], t.random.random() < 0.5
    last = asked.pop() if unusual else asked.pop(t.random.randrange(PAST))
    past = np.array(
        [payment for payments in [asked, *(other[:PAST] for other in paid[1:])] for payment in payments]
    )
    strangers = np.zeros((t.distance, 1 + CARDS + 1 + MERCHANTS), np.float32)
    strangers[:, 0] = t.rng.uniform(0, 6, t.distance)
    strangers[:, 1 + CARDS] = 1
    strangers[np.arange(t.distance), 2 + CARDS + t.rng.integers(MERCHANTS, size=t.distance)] = 1
    script: Script = [t.rng.permutation(past), Planted(), strangers, last[None]]
    return [*script, Ask("unusual" if unusual else "usual", 0.5)]


def _payments(t: Teller, card: int) -> list[np.ndarray]:
    """Five usual payments of a card and, last, an unusual one; of a card not asked for the last may be left out."""
    level, merchant = t.random.uniform(1, 5), t.random.randrange(MERCHANTS)
    levels = [level + t.random.gauss(0, 0.1) for _ in range(PAST + 1)]
    merchants = [merchant] * (PAST + 1)
    if t.random.random() < 0.5:
        merchants[-1] = (merchant + t.random.randrange(1, MERCHANTS)) % MERCHANTS
    else:
        levels[-1] += t.random.choice((-1, 1)) * t.random.uniform(1.5, 3)
    payments = []
    for amount, shop in zip(levels, merchants, strict=True):
        payment = np.zeros(1 + CARDS + 1 + MERCHANTS, np.float32)
        payment[[0, 1 + card, 2 + CARDS + shop]] = amount, 1, 1
        payments.append(payment)
    return payments


card = Kind(
    "card",
    "Payments of several cards; asked whether the last is unusual for its card's own past.",
    write_card,
    ("usual", "unusual"),
    (),
    distractors=(1, 0, CARDS - 1),
    channels=1 + CARDS + 1 + MERCHANTS,
    filled=False,
)
