"""Stories of people: who "he" is after the subject has changed."""

from __future__ import annotations

from storyline.stories.kind import Kind, lexicon
from storyline.stories.script import Ask, Planted, Script, Teller

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
        script += [sentence, *t.strewn([], t.random.randint(0, 2 + t.distance // 4))]
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
