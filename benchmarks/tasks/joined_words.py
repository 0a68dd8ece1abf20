"""Words and punctuation of raw text, such that the text can be put together again exactly from them.

A token that stood right behind the one before it, without a blank, begins with JOINER (the joiner of OpenNMT's
tokenizer, Klein et al. 2017): "Büsche." becomes "Büsche", "￭.". No rule of a language is needed to undo it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

JOINER = "￭"
# A word with what is inside it ("T-Shirt", "dog's", "3.5"), or a single other sign.
_TOKEN = re.compile(r"\w+(?:[-'’.,]\w+)*|[^\w\s]")


def words(text: str) -> list[str]:
    """The tokens of a text, those without a blank before them marked."""
    return [
        JOINER + found.group() if found.start() and not text[found.start() - 1].isspace() else found.group()
        for found in _TOKEN.finditer(text)
    ]


def text_of(tokens: Sequence[str]) -> str:
    """The text of such tokens, in whatever order a translation has put them."""
    return " ".join(tokens).replace(" " + JOINER, "").removeprefix(JOINER)


class Truecase:
    """A sentence's first word as it is written elsewhere (Koehn's recipe in Moses), so that "A" and "a" are one word.

    A word that stands nowhere else than at beginnings of sentences stays as it is.
    """

    def __init__(self, sentences: Iterable[Sequence[str]]) -> None:
        counts = Counter(word for tokens in sentences for word in tokens[1:])
        self._usual: dict[str, str] = {}
        for word, _ in counts.most_common():
            self._usual.setdefault(word.lower(), word)

    def lowered(self, tokens: Sequence[str]) -> list[str]:
        return [self._usual.get(tokens[0].lower(), tokens[0]), *tokens[1:]] if tokens else []


def raised(text: str) -> str:
    """A sentence with its first letter capital, whatever signs stand before it."""
    place = next((place for place, letter in enumerate(text) if letter.isalnum()), 0)
    return text[:place] + text[place : place + 1].upper() + text[place + 1 :]
