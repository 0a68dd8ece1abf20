"""A story of opinions: only what follows the last "but then" counts."""

from __future__ import annotations

from storyline.stories.kind import Kind, lexicon
from storyline.stories.script import Ask, Planted, Script, Teller

GOOD = lexicon("wonderful delightful excellent charming superb lovely brilliant splendid perfect delicious")
BAD = lexicon("awful terrible dreadful horrible boring nasty miserable poor disgusting ugly")
PARTS = lexicon("food service music room view wine company evening")
OPINION = ("the {part} was {word} .", "they found the {part} {word} .", "{word} , that {part} .")
TURN = "but then"
HOW = "so how was it ?"


def write_but_then(t: Teller) -> Script:
    """An opinion turns, once or (`distractors`) more often; asked for it `distance` words after its last turn.

    As many words of praise as of blame are said, so that chance is one half. No set of them is in two splits.
    """
    segments = t.distractors + 1
    each = -(-segments // 2) + t.random.randint(0, 1)
    words = t.pairing(
        lambda: (t.random.sample(GOOD, each), t.random.sample(BAD, each)),
        lambda drawn: " ".join(sorted(drawn[0] + drawn[1])),
    )
    last = t.random.randrange(2)
    said: list[list[str]] = [[] for _ in range(segments)]
    for mood in range(2):
        own = [number for number in range(segments) if (segments - 1 - number) % 2 == (mood != last)]
        # Each of the mood's segments has a word, and chance shares out the rest.
        places = own + t.random.choices(own, k=each - len(own))
        for place, word in zip(places, words[mood], strict=True):
            said[place].append(t.random.choice(OPINION).format(part=t.random.choice(PARTS), word=word))
    script: Script = []
    for number, sentences in enumerate(said):
        script += [TURN] if number else []
        script += [*sentences, *(t.pause() if number < segments - 1 else [Planted(), *t.strewn([])])]
    return [*script, HOW, Ask(("good", "bad")[last], 0.5)]


but_then = Kind(
    "but-then",
    "Praise, but then blame (or the other way round); asked how it was in the end.",
    write_but_then,
    ("good", "bad"),
    lexicon(*OPINION, TURN, HOW, *PARTS, *GOOD, *BAD),
    masked=(*GOOD, *BAD, "then"),
    distractors=(2, 1, 8),
)
