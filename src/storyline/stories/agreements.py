"""Stories of documents: who is Party A, which number stands on the router, which risk the introduction named."""

from __future__ import annotations

from collections.abc import Sequence

from storyline.stories.kind import Kind, lexicon
from storyline.stories.script import Ask, Planted, Script, Teller

COMPANIES = lexicon(
    "acme zenith orion vertex nimbus solaris atlas borealis cobalt delphi everest falcon "
    "granite horizon indigo jupiter keystone lumina meridian northstar"
)
PARTIES = ("party a", "party b", "party c", "party d")
OFFICES = ("the agent", "the guarantor", "the trustee", "the witness", "the broker", "the insurer",
           "the carrier", "the notary")  # fmt: skip
DEFINITIONS = ("{role} means {name} .", "{role} , that is {name} .", "{role} shall be {name} .")
WHO = "who is {role} ?"


def write_party(t: Teller) -> Script:
    """Party A (and B, C, D: `facts`) and other offices (`distractors`) are defined, asked `distance` words later.

    Every name is told once, so the bag of words knows who is in the agreement and not who is what: chance is one in
    as many as are named. No set of names is in two splits.
    """
    count = t.facts + t.distractors
    names = t.pairing(lambda: t.random.sample(COMPANIES, count), lambda drawn: " ".join(sorted(drawn)))
    roles = (*PARTIES[: t.facts], *t.random.sample(OFFICES, t.distractors))
    told = [
        t.random.choice(DEFINITIONS).format(role=role, name=name)
        for role, name in zip(roles, names, strict=True)
    ]
    before, after = t.part(told[t.facts :])
    script: Script = list(before)
    for fact in t.random.sample(range(t.facts), t.facts):
        script += [told[fact], Planted(fact)]
    script += t.strewn(after)
    for fact in t.random.sample(range(t.facts), t.facts):
        script += [WHO.format(role=PARTIES[fact]), Ask(names[fact], 1 / count, fact)]
    return script


party = Kind(
    "party",
    "Party A is defined on the first page among other offices, and asked at the end.",
    write_party,
    COMPANIES,
    lexicon(*PARTIES, *OFFICES, *DEFINITIONS, WHO, *COMPANIES),
    masked=(*COMPANIES, "party"),
    facts=(1, 1, len(PARTIES)),
    distractors=(3, 1, len(OFFICES)),
)

DEVICES = lexicon("printer camera scanner modem phone laptop tablet speaker monitor")
MODELS = lexicon(
    "xg-1000 bx-200 qr-450 lm-3100 tz-75 vk-810 pw-520 dn-6400 hs-90 ac-1750 "
    "rt-66 nf-2800 je-330 om-15 ub-4040 yc-700"
)
DIGITS = lexicon("zero one two three four five six seven eight nine")
PLACES = lexicon("first second third fourth fifth")
LABEL = "the {device} is a {model} , serial number {digits} ."
WHICH = "which model is the router ?"
SERIAL = "what is the serial number of the router ?"


def write_router(t: Teller) -> Script:
    """The router's serial number, and with two facts its model; asked `distance` words later, digit by digit.

    Other devices (`distractors`, an odd number) have numbers of their own. The digits of all numbers are dealt from
    packs of ten, so each digit is told equally often and the bag of words is at one in ten. No number of a router is in
    two splits.
    """
    if t.distractors % 2 == 0:
        raise ValueError(
            f"distractors={t.distractors}; router deals the digits of two numbers from one pack, so it takes an odd "
            f"number of other devices: try {t.distractors + 1}"
        )
    devices = ["router", *t.random.sample(DEVICES, t.distractors)]
    numbers = t.pairing(lambda: _dealt(t, len(devices)), lambda dealt: " ".join(dealt[0]))
    models = t.random.sample(MODELS, len(devices))
    told = [
        LABEL.format(device=device, model=model, digits=" ".join(number))
        for device, model, number in zip(devices, models, numbers, strict=True)
    ]
    before, after = t.part(told[1:])
    script: Script = [*before, told[0], *(Planted(fact) for fact in range(t.facts)), *t.strewn(after)]
    questions: list[Script] = [[SERIAL]]
    for place, digit in zip(PLACES, numbers[0], strict=True):
        questions[0] += [place, Ask(digit, 0.1, 0)]
    if t.facts == 2:
        questions.append([WHICH, Ask(models[0], 1 / len(devices), 1)])
        t.random.shuffle(questions)
    return [*script, *(piece for question in questions for piece in question)]


def _dealt(t: Teller, numbers: int) -> Sequence[Sequence[str]]:
    pack = list(DIGITS * (numbers // 2))
    t.random.shuffle(pack)
    return [pack[5 * number : 5 * number + 5] for number in range(numbers)]


router = Kind(
    "router",
    "A router's model and five-digit serial number are told among other devices', and asked exactly.",
    write_router,
    (*DIGITS, *MODELS),
    lexicon(LABEL, WHICH, SERIAL, *PLACES, "router", *DEVICES, *MODELS, *DIGITS),
    masked=(*DIGITS, *MODELS, "router", *DEVICES),
    facts=(1, 1, 2),
    distractors=(1, 1, len(DEVICES)),
)


RISKS = lexicon(
    "litigation inflation tariffs recession obsolescence counterfeiting strikes drought hacking fraud earthquakes "
    "boycotts embargoes epidemics sanctions insolvency shortages volatility terrorism piracy"
)
NAMED = ("item 1a . the principal risk of this company is {risk} .", "above all we are exposed to {risk} .")
PASSED_OVER = (
    "we are no longer exposed to {risk} .", "{risk} is not material to us .", "our competitors are exposed to {risk} .",
)  # fmt: skip
RISK = "which risk does the introduction name ?"


def write_filing(t: Teller) -> Script:
    """The risk that the introduction names, among others that it passes over; asked `distance` words later.

    Each risk is told once: chance is one in as many as are named. No set of risks is in two splits.
    """
    count = t.distractors + 1
    risks = t.pairing(lambda: t.random.sample(RISKS, count), lambda drawn: " ".join(sorted(drawn)))
    before, after = t.part([t.random.choice(PASSED_OVER).format(risk=risk) for risk in risks[1:]])
    script: Script = [*before, t.random.choice(NAMED).format(risk=risks[0]), Planted(), *t.strewn(after)]
    return [*script, RISK, Ask(risks[0], 1 / count)]


filing = Kind(
    "filing",
    "A filing's introduction names a risk; asked for it at the end.",
    write_filing,
    RISKS,
    lexicon(*NAMED, *PASSED_OVER, RISK, *RISKS),
    masked=RISKS,
)
