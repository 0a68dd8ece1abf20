"""Stories of people: who "he" is, where she grew up, what Anna is like, the first and the last breakfast."""

from __future__ import annotations

from storyline.stories.kind import Kind, lexicon
from storyline.stories.script import CROSSED, Ask, Planted, Script, Teller

MEN = lexicon(
    "john peter henry walter arthur hugo oscar felix martin simon victor leon "
    "edgar ralph conrad silas amos jasper ivan rupert"
)
ENTRANCES = ("{name} came in .", "then {name} took the floor .", "now {name} began to speak .")
MENTIONS = ("nobody spoke of {name} .", "they had forgotten {name} .")
HE = "who is he ?"


def write_john_he(t: Teller) -> Script:
    """A new subject, and the old must be forgotten: asked who "he" is `distance` words after the last entrance.

    The distractors are subjects before him (at least one), each for a while, and men who are only spoken of after he
    came in. Every name is told once: chance for the bag of words is one in as many as are named.
    """
    count = t.distractors + 1
    names = t.pairing(lambda: t.random.sample(MEN, count), lambda drawn: " ".join(sorted(drawn)))
    mentioned = [t.random.choice(MENTIONS).format(name=name) for name in names[2:]]
    spoken_of, after = t.part(mentioned)
    script: Script = []
    # Those whom `part` puts before him were subjects too, by a coin each.
    earlier = [
        t.random.choice(ENTRANCES).format(name=name) if t.random.random() < 0.5 else sentence
        for name, sentence in zip(names[2:], mentioned, strict=True)
        if sentence in spoken_of
    ]
    for sentence in [t.random.choice(ENTRANCES).format(name=names[1]), *earlier]:
        script += [sentence, *t.pause()]
    script += [t.random.choice(ENTRANCES).format(name=names[0]), Planted()]
    return [*script, *t.strewn(after), HE, Ask(names[0], 1 / count)]


john_he = Kind(
    "john-he",
    "A new subject takes the place of the old one; asked who he is.",
    write_john_he,
    MEN,
    lexicon(*ENTRANCES, *MENTIONS, HE, *MEN),
    masked=MEN,
    distractors=(1, 1, 8),
)


WOMEN = lexicon(
    "anna bertha clara dora edith flora grace helen irma julia kate laura mabel nora olive paula rosa sarah thea "
    "ursula vera wilma agnes blanche cecily dinah elsie fanny gerda hilda"
)
TRAITS = lexicon(
    "brave shy proud honest greedy gentle stubborn cheerful careless clever jealous patient vain loyal lazy cruel "
    "modest witty timid generous bitter curious humble noisy pious reckless sober tender wise moody"
)
TRAIT = (
    "{name} is {trait} .",
    "everyone knows that {name} is {trait} .",
    "{trait} is what they call {name} .",
)
CHAPTER = "the next chapter ."
LIKE = "what is {name} like ?"


def write_anna(t: Teller) -> Script:
    """Traits of several people; `distance` words and some chapters later, what `facts` of them are like.

    Nobody knows at first who will be asked for, so all must be remembered. Each name and each trait is told once:
    chance is one in as many as there are people. No pair of name and trait is in two splits.
    """
    count = t.facts + t.distractors
    names, traits = t.crossed(WOMEN, TRAITS, (count, count))
    script: Script = []
    for fact, (name, trait) in enumerate(zip(names, traits, strict=True)):
        script += [t.random.choice(TRAIT).format(name=name, trait=trait), Planted(fact)]
    chapters = min(t.distance // 4, t.random.randint(1, 3))
    script += t.strewn([CHAPTER] * chapters)
    for fact in t.random.sample(range(count), t.facts):
        script += [LIKE.format(name=names[fact]), Ask(traits[fact], 1 / count, fact)]
    return script


anna = Kind(
    "anna",
    "Traits of several people; chapters later, what one of them is like.",
    write_anna,
    TRAITS,
    lexicon(*TRAIT, CHAPTER, LIKE, *WOMEN, *TRAITS),
    masked=(*WOMEN, *TRAITS),
    distractors=(2, 1, 3),
    facts=(1, 1, 3),
    varieties=CROSSED,
)

LANGUAGES = {
    "france": "french", "germany": "german", "italy": "italian", "spain": "spanish", "portugal": "portuguese",
    "japan": "japanese", "china": "chinese", "russia": "russian", "poland": "polish", "greece": "greek",
    "turkey": "turkish", "sweden": "swedish", "norway": "norwegian", "denmark": "danish", "finland": "finnish",
    "hungary": "hungarian", "holland": "dutch", "korea": "korean", "romania": "romanian", "bulgaria": "bulgarian",
}  # fmt: skip
CHILDHOODS = (
    "she grew up in {country} .", "she was raised in {country} .", "she spent her childhood in {country} .",
    "{country} was the home of her parents and of her youth .", "as a girl she lived in {country} .",
    "she went to school in {country} .", "she came from a village in {country} .",
    "{country} is where she was born and brought up .", "until she was twenty she never left {country} .",
    "her first words were heard in {country} .",
)  # fmt: skip
TRAVELS = (
    "she once flew over {country} .", "her neighbour came from {country} .", "she had read a book about {country} .",
    "they sold wine from {country} .", "she had never been to {country} .", "{country} was in the news .",
)  # fmt: skip
FLUENT = "so she speaks fluent"


def write_france(t: Teller) -> Script:
    """Where she grew up, among other countries; `distance` words later, which language she speaks.

    Chance for the bag of words is one in as many countries as are named. No pair of a country and the sentence that
    tells a childhood is in two splits.
    """
    count = t.distractors + 1
    countries, (childhood,) = t.crossed(list(LANGUAGES), CHILDHOODS, (count, 1))
    before, after = t.part([t.random.choice(TRAVELS).format(country=each) for each in countries[1:]])
    script: Script = [*before, childhood.format(country=countries[0]), Planted(), *t.strewn(after)]
    return [*script, FLUENT, Ask(LANGUAGES[countries[0]], 1 / count)]


france = Kind(
    "france",
    "She grew up in a country; asked which language she speaks.",
    write_france,
    tuple(LANGUAGES.values()),
    lexicon(*CHILDHOODS, *TRAVELS, FLUENT, *LANGUAGES),
    masked=(*LANGUAGES, *LANGUAGES.values()),
    distractors=(2, 1, 3),
)

FOODS = lexicon(
    "eggs toast porridge bacon honey cheese herring muffins kippers pancakes oranges plums figs yoghurt sausages "
    "mushrooms apples pears cherries waffles"
)
BREAKFASTS = (
    "for breakfast he had {food} .",
    "he had {food} for breakfast .",
    "that morning he ate {food} .",
)
FIRST, LAST = "what was his first breakfast ?", "what was his last breakfast ?"


def write_breakfast(t: Teller) -> Script:
    """Breakfasts, two and as many as there are distractors; asked for the earliest and for the latest.

    The latest was `distance` words ago, the earliest longer. Each food is told once: chance is one in as many as are
    named. No set of foods is in two splits.
    """
    count = t.distractors + 2
    foods = t.pairing(lambda: t.random.sample(FOODS, count), lambda drawn: " ".join(sorted(drawn)))
    script: Script = []
    for number, food in enumerate(foods):
        told = t.random.choice(BREAKFASTS).format(food=food)
        gap = t.strewn([]) if number == count - 1 else t.pause()
        script += [told, Planted(min(number, 1)), *gap]
    questions: list[Script] = [[FIRST, Ask(foods[0], 1 / count, 0)], [LAST, Ask(foods[-1], 1 / count, 1)]]
    t.random.shuffle(questions)
    return [*script, *questions[0], *questions[1]]


breakfast = Kind(
    "breakfast",
    "Breakfast after breakfast; asked for both the earliest and the latest.",
    write_breakfast,
    FOODS,
    lexicon(*BREAKFASTS, FIRST, LAST, *FOODS),
    masked=(*FOODS, "breakfast"),
    distractors=(1, 0, 8),
    facts=(2, 2, 2),
)
