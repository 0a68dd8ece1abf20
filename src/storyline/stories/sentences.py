"""Stories of sentences: what is in the sky, who ran, was or were, what was gone, what followed the last "but then"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from storyline.stories.kind import Kind, lexicon
from storyline.stories.script import Ask, Planted, Script, Teller

HOMES = {
    "clouds": "sky", "ships": "harbour", "books": "library", "cows": "meadow", "bees": "hive", "trains": "station",
    "wolves": "forest", "prisoners": "jail", "actors": "theatre", "roses": "garden", "horses": "stable",
    "monks": "monastery", "patients": "hospital", "soldiers": "barracks", "pupils": "school", "coins": "purse",
}  # fmt: skip
TALK = ("somebody spoke of {thing} .", "there was a picture of {thing} .", "nobody thought of {thing} .")
WHERE = "the {thing} are in the"


def write_clouds(t: Teller) -> Script:
    """The short control: the answer hangs on the last four words, whatever is told `distance` words before.

    The distractors, at the start, only name other things. Chance is one in as many as are named. No set of things is
    in two splits.
    """
    count = t.distractors + 1
    things = t.pairing(lambda: t.random.sample(list(HOMES), count), lambda drawn: " ".join(sorted(drawn)))
    others: Script = [t.random.choice(TALK).format(thing=thing) for thing in things[1:]]
    first, last = WHERE.format(thing=things[0]).split(" are ")
    return [*others, *t.strewn([]), first, Planted(), f"are {last}", Ask(HOMES[things[0]], 1 / count)]


clouds = Kind(
    "clouds",
    "The clouds are in the sky: the short control, answered from the last four words.",
    write_clouds,
    tuple(HOMES.values()),
    lexicon(*TALK, WHERE, *HOMES),
    masked=tuple(HOMES),
)

ANIMALS = lexicon(
    "cat dog horse cow goat sheep fox wolf bear mouse rabbit goose duck hen owl donkey pig otter badger deer"
)
CHASES = lexicon("chased saw followed heard bit feared liked fled watched met pushed licked")
RUNS = lexicon("ran slept jumped fell swam sang")
NEARBY = "there was a {animal} ."
WHO = "who {verb} ?"


def write_chase(t: Teller) -> Script:
    """The cat that the dog that the fox saw chased ran: `distance` clauses lie between a subject and its verb.

    The first fact asks for the subject of the main clause, the others for those of the innermost clauses, from the
    inside. The distractors are animals that are only there. Animals are dealt from packs of twenty, so that chance
    is one in as many as are named, or (beyond twenty) the share of the most frequent. No set
    (from ten animals on: no order) is in two splits.
    """
    depth = t.distance + 1
    if t.facts > min(depth, len(CHASES)):
        raise ValueError(
            f"facts={t.facts}, but a nesting of {depth} clauses has {depth} subjects; ask for fewer"
        )
    count = depth + t.distractors
    # Of all twenty there is but one set; their orders are so many that none of them tells the subject.
    key = sorted if count < len(ANIMALS) // 2 else list
    drawn = t.pairing(lambda: _dealt(t, ANIMALS, count), lambda cast: " ".join(key(cast)))
    cast = drawn[:depth]
    levels = [0, *(depth - fact for fact in range(1, t.facts))]
    asked = t.random.sample(CHASES, len(levels))
    rest = [verb for verb in CHASES if verb not in asked]
    verbs = [t.random.choice(RUNS), *t.random.choices(rest, k=depth - 1)]
    for level, verb in list(zip(levels, asked, strict=True))[1:]:
        verbs[level] = verb
    script: Script = [NEARBY.format(animal=animal) for animal in drawn[depth:]]
    for level, animal in enumerate(cast):
        script.append(f"{'that ' if level else ''}the {animal}")
        script += [Planted(levels.index(level))] if level in levels else []
    script.append(f"{' '.join(reversed(verbs))} .")
    chance = max(Counter(drawn).values()) / count
    for fact in t.random.sample(range(t.facts), t.facts):
        script += [WHO.format(verb=verbs[levels[fact]]), Ask(cast[levels[fact]], chance, fact)]
    return script


def _dealt(t: Teller, words: Sequence[str], count: int) -> list[str]:
    """`count` words from as many shuffled packs as it takes; no word occurs twice more than another."""
    whole, rest = divmod(count, len(words))
    dealt = list(words) * whole + t.random.sample(words, rest)
    t.random.shuffle(dealt)
    return dealt


chase = Kind(
    "chase",
    "The cat that the dog chased ran: nested clauses; asked which animal did what.",
    write_chase,
    ANIMALS,
    lexicon("that the .", NEARBY, WHO, *ANIMALS, *CHASES, *RUNS),
    distractors=(0, 0, 6),
    facts=(1, 1, 6),
    filled=False,
)

THINGS = {
    "collection": "collections", "book": "books", "key": "keys", "cabinet": "cabinets", "report": "reports",
    "picture": "pictures", "letter": "letters", "chair": "chairs", "window": "windows", "garden": "gardens",
    "house": "houses", "box": "boxes", "lamp": "lamps", "ship": "ships", "road": "roads", "teacher": "teachers",
    "farmer": "farmers", "painter": "painters", "king": "kings", "child": "children",
}  # fmt: skip
NEAR = ("of", "near", "behind", "beside", "above", "from")
RARE = ("rare", "old", "new", "small", "famous", "dusty")


def write_books(t: Teller) -> Script:
    """The collection of rare books that day was: `distance` attractors lie between the subject and its verb.

    As many nouns are singular as plural, and each may be the subject, so that chance is one half; to make them even a
    place ("behind the gardens ,") may stand before the subject. The distractors are sentences before. No set of nouns
    is in two splits.
    """
    count = 1 + t.distance + t.distractors
    even = count + count % 2
    nouns = t.pairing(lambda: _numbered(t, even), lambda drawn: " ".join(sorted(drawn)))
    script: Script = [f"nobody saw the {noun} ." for noun in nouns[count - t.distractors : count]]
    if even > count:
        script.append(f"{t.random.choice(NEAR[1:])} the {nouns[-1]} ,")
    script += [f"the {nouns[0]}", Planted()]
    for noun in nouns[1 : count - t.distractors]:
        rare = f"{t.random.choice(RARE)} " if t.random.random() < 0.5 else ""
        script.append(f"{t.random.choice(NEAR)} the {rare}{noun}")
    # The last word is the same for all: the number of the last noun alone would tell a little of the first one's.
    return [*script, "that day", Ask("was" if nouns[0] in THINGS else "were", 0.5)]


def _numbered(t: Teller, count: int) -> list[str]:
    """`count` nouns, half of them plural."""
    lemmas = _dealt(t, list(THINGS), count)
    nouns = [THINGS[lemma] if place % 2 else lemma for place, lemma in enumerate(lemmas)]
    t.random.shuffle(nouns)
    return nouns


books = Kind(
    "books",
    "The collection of rare books was: asked for the verb's number past attractors.",
    write_books,
    ("was", "were"),
    lexicon("nobody saw the . , that day", *NEAR, *RARE, *THINGS, *THINGS.values()),
    distractors=(0, 0, 6),
    filled=False,
)

DISHES = lexicon(
    "cake pie ham soup bread pudding salad roast butter jam cream trout goulash custard biscuits marmalade "
    "chutney dumplings sorbet lobster"
)
STILL = ("the {dish} was still there .", "nobody had touched the {dish} .", "she looked at the {dish} .")
SUBJECT, GONE = "the {dish} , which", ", was gone . what was gone ?"


def write_cake(t: Teller) -> Script:
    """The cake, which (`distance` words), was gone: a subject waits for its verb while other dishes are named.

    Each dish is told once: chance is one in as many as are named. No set of dishes is in two splits.
    """
    count = t.distractors + 1
    dishes = t.pairing(lambda: t.random.sample(DISHES, count), lambda drawn: " ".join(sorted(drawn)))
    before, after = t.part([t.random.choice(STILL).format(dish=dish) for dish in dishes[1:]])
    script: Script = [*before, SUBJECT.format(dish=dishes[0]), Planted(), *t.strewn(after)]
    return [*script, GONE, Ask(dishes[0], 1 / count)]


cake = Kind(
    "cake",
    "The cake, which ..., was gone; asked what was gone.",
    write_cake,
    DISHES,
    lexicon(*STILL, SUBJECT, GONE, *DISHES),
    masked=DISHES,
)
