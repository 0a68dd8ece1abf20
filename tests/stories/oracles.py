"""Readers written by hand, one a story: they see the words (or inputs) up to a question, and answer it.

They know the templates of the language and nothing of how a story was drawn.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable

import numpy as np

from storyline.stories import Examples

PLACES = ["first", "second", "third", "fourth", "fifth"]
LANGUAGE = {
    "france": "french", "germany": "german", "italy": "italian", "spain": "spanish", "portugal": "portuguese",
    "japan": "japanese", "china": "chinese", "russia": "russian", "poland": "polish", "greece": "greek",
    "turkey": "turkish", "sweden": "swedish", "norway": "norwegian", "denmark": "danish", "finland": "finnish",
    "hungary": "hungarian", "holland": "dutch", "korea": "korean", "romania": "romanian", "bulgaria": "bulgarian",
}  # fmt: skip
HOME = {
    "clouds": "sky", "ships": "harbour", "books": "library", "cows": "meadow", "bees": "hive", "trains": "station",
    "wolves": "forest", "prisoners": "jail", "actors": "theatre", "roses": "garden", "horses": "stable",
    "monks": "monastery", "patients": "hospital", "soldiers": "barracks", "pupils": "school", "coins": "purse",
}  # fmt: skip


DISHES = (
    "cake|pie|ham|soup|bread|pudding|salad|roast|butter|jam|cream|trout|goulash|custard|biscuits|marmalade|chutney|"
    "dumplings|sorbet|lobster"
)


def last(pattern: str, text: str) -> str:
    """What the last match of a pattern holds."""
    return [found for groups in re.findall(pattern, text) for found in groups if found][-1]


def party(text: str) -> str:
    role = last(r"(who is party \w)", text).removeprefix("who is ")
    return last(rf"{role} (?:means|shall be|, that is) (\w+)()", text)


def router(text: str) -> str:
    label = re.findall(r"the router is a (\S+) , serial number (\w+ \w+ \w+ \w+ \w+) \.", text)[-1]
    asked = text.split()[-1]
    return label[0] if asked == "?" else label[1].split()[PLACES.index(asked)]


def filing(text: str) -> str:
    return last(r"principal risk of this company is (\w+)|above all we are exposed to (\w+)", text)


def france(text: str) -> str:
    land = "(" + "|".join(LANGUAGE) + ")"
    childhood = (
        rf"(?:grew up|raised|childhood|lived|school|village) in {land}|until she was twenty she never left {land}"
        rf"|{land} was the home of her parents|{land} is where she was born|her first words were heard in {land}"
    )
    return LANGUAGE[last(childhood, text)]


def clouds(text: str) -> str:
    return HOME[text.split()[-4]]


def chase(text: str) -> str:
    sentence, questions = re.search(r"((?:the \w+ that )*the [\w ]+ \.) (who.*)", text).groups()  # type: ignore[union-attr]
    waiting, doer = list[str](), {}
    words = sentence.split()
    for before, word in zip(["", *words], words, strict=False):
        if before == "the":
            waiting.append(word)
        elif word not in {"the", "that", "."}:
            doer[word] = waiting.pop()
    return doer[last(r"who (\w+) \?()", questions)]


def books(text: str) -> str:
    sentence = text.split(" , ")[-1] if " , " in text else text
    sentence = re.sub(r"nobody saw the \w+ \.", "", sentence)
    noun = re.search(r"the (\w+)", sentence).group(1)  # type: ignore[union-attr]
    return "were" if noun == "children" or (noun.endswith("s") and noun != "was") else "was"


def cake(text: str) -> str:
    return last(rf"the ({DISHES}) , which()", text)


def anna(text: str) -> str:
    name = last(r"what is (\w+) like \?()", text)
    return last(rf"(?:^|\W){name} is (\w+) \.|(\w+) is what they call {name} \.", text)


def but_then(text: str) -> str:
    good = {"wonderful", "delightful", "excellent", "charming", "superb", "lovely", "brilliant", "splendid",
            "perfect", "delicious"}  # fmt: skip
    bad = {"awful", "terrible", "dreadful", "horrible", "boring", "nasty", "miserable", "poor", "disgusting",
           "ugly"}  # fmt: skip
    heard = set(text.split(" but then ")[-1].split())
    assert bool(heard & good) != bool(heard & bad)
    return "good" if heard & good else "bad"


def john_he(text: str) -> str:
    return last(r"(\w+) came in \.|then (\w+) took the floor|now (\w+) began to speak", text)


def breakfast(text: str) -> str:
    eaten = re.findall(
        r"(?:for breakfast he had|that morning he ate) (\w+) \.|he had (\w+) for breakfast \.", text
    )
    foods = [first or second for first, second in eaten]
    return foods[0] if last(r"his (first|last) breakfast \?()", text) == "first" else foods[-1]


def theme(text: str) -> str:
    scale = ["c", "c#", "d", "d#", "e", "f", "f#", "g", "g#", "a", "a#", "b"]

    def steps(melody: str) -> list[int]:
        pitches = [scale.index(note[:-1]) + 12 * int(note[-1]) for note in melody.split()]
        return [after - before for before, after in itertools.pairwise(pitches)]

    themes = dict(re.findall(r"theme (\w+) : ((?:[a-g]#?\d ?){5})", text))
    returned = last(r" : ((?:[a-g]#?\d ){5})which theme()", text)
    (number,) = [number for number, melody in themes.items() if steps(melody) == steps(returned)]
    return number


def temporal_order(text: str) -> str:
    return "".join(word for word in text.split() if word in {"x", "y"})


def copy(text: str) -> str:
    return re.findall(r"s\d", text)[text.count("?") - 1]


def parity(text: str) -> str:
    return ("even", "odd")[text.split().count("1") % 2]


def associative_recall(text: str) -> str:
    words = text.split()
    return words[words.index(words[-1]) + 1]


READERS: dict[str, Callable[[str], str]] = {
    "party": party, "router": router, "filing": filing, "france": france, "clouds": clouds, "chase": chase,
    "books": books, "cake": cake, "anna": anna, "but-then": but_then, "john-he": john_he, "breakfast": breakfast,
    "theme": theme, "temporal-order": temporal_order, "copy": copy, "selective-copy": copy, "parity": parity,
    "associative-recall": associative_recall,
}  # fmt: skip


def adding(steps: np.ndarray) -> float:
    return 0.5 + float(steps[steps[:, 1] == 1, 0].sum()) / 4


def card(steps: np.ndarray) -> str:
    amount, card_and_shop = steps[:, 0], steps[:, 1:]
    own = [step for step in range(len(steps) - 1) if (card_and_shop[step, :5] == card_and_shop[-1, :5]).all()]
    shop = Counter(int(card_and_shop[step, 5:].argmax()) for step in own).most_common(1)[0][0]
    strange = abs(amount[-1] - np.median(amount[own])) > 0.75 or card_and_shop[-1, 5:].argmax() != shop
    return "unusual" if strange else "usual"


def answers(name: str, examples: Examples) -> np.ndarray:
    """The hand-written reader's answers to all questions of a batch, in their order."""
    found = []
    for row, step in zip(examples.question_rows, examples.question_steps, strict=True):
        if name == "adding":
            assert examples.values is not None
            found.append(adding(examples.values[row, : step + 1]))
            continue
        if name == "card":
            assert examples.values is not None
            answer = card(examples.values[row, : step + 1])
        else:
            answer = READERS[name](" ".join(examples.words(int(row))[: step + 1]))
        found.append(examples.classes.index(answer))
    return np.array(found)
