"""The filling where no path is given: sentences of a small grammar, no sentence in two splits."""

from __future__ import annotations

from random import Random

from storyline.stories.kind import lexicon
from storyline.stories.script import SPLITS, split_of

NOUNS = lexicon(
    "garden river letter window road house lamp table door field bridge winter boat clock horse wall forest "
    "harbour village market kitchen ship storm valley tower mountain evening stone fire path"
)
ADJECTIVES = lexicon(
    "old small quiet bright cold narrow heavy distant empty green grey wide broken warm dark"
)
VERBS = lexicon("crossed followed reached watched passed touched covered kept shaped hid")
SENTENCES = (
    "the {a} {n} {v} the {m} .",
    "nobody had seen the {n} near the {a} {m} .",
    "it rained , and the {n} {v} a {a} {m} .",
    "there was a {n} by the {m} , {a} and still .",
    "when the {a} {n} came , the {m} was gone .",
    "they {v} the {n} , and after that the {b} {m} .",
)
WORDS = 80_000


def template_prose() -> dict[str, list[list[str]]]:
    """Words of each split, as one document each; always the same."""
    documents: dict[str, list[list[str]]] = {}
    for number, split in enumerate(SPLITS):
        random, words = Random(number), list[str]()
        size = WORDS if split == "train" else WORDS // 2
        while len(words) < size:
            sentence = random.choice(SENTENCES).format(
                a=random.choice(ADJECTIVES),
                b=random.choice(ADJECTIVES),
                n=random.choice(NOUNS),
                m=random.choice(NOUNS),
                v=random.choice(VERBS),
            )
            if split_of(sentence) == split:
                words += sentence.split()
        documents[split] = [words]
    return documents
