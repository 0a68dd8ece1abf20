"""Words and punctuation of raw text, such that the text can be put together again exactly from them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

# A token that stood right behind the one before it, without a blank, begins with this sign (as in OpenNMT's tokenizer,
# Klein et al. 2017): "Büsche." becomes "Büsche", "￭.". No rule of a language is needed to undo it.
JOINER = "￭"
# A word with what is inside it ("T-Shirt", "dog's", "3.5"), or a single other sign.
_TOKEN = re.compile(r"\w+(?:[-'’.,]\w+)*|[^\w\s]")


class TruecasedWords:
    """From raw text to tokens and back, the first word of a text written as it is elsewhere.

    "A" at a beginning and "a" are one word then (truecasing, as in Moses). A word that `texts` have nowhere else than
    at their beginnings stays as it is.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        counts = Counter(word for text in texts for word in _split(text)[1:])
        self._usual: dict[str, str] = {}
        for word, _ in counts.most_common():
            self._usual.setdefault(word.lower(), word)

    def tokens(self, text: str) -> list[str]:
        """The tokens of a text; none of one that is empty."""
        found = _split(text)
        return [self._usual.get(found[0].lower(), found[0]), *found[1:]] if found else []

    @staticmethod
    def text(tokens: Sequence[str]) -> str:
        """The text of tokens, in whatever order a translation has put them, with its first letter capital."""
        text = " ".join(tokens).replace(" " + JOINER, "").removeprefix(JOINER)
        place = next((place for place, letter in enumerate(text) if letter.isalnum()), 0)
        return text[:place] + text[place : place + 1].upper() + text[place + 1 :]


def _split(text: str) -> list[str]:
    return [
        JOINER + found.group() if found.start() and not text[found.start() - 1].isspace() else found.group()
        for found in _TOKEN.finditer(text)
    ]
