"""WordEncoder: a word an id, punctuation apart."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Self

from storyline.data.encoders.encoder import Ids, TextEncoder, unfitted
from storyline.data.vocabulary import END, PAD, UNKNOWN, Vocabulary

_GLUED_LEFT = frozenset(".,;:!?%)]}…。，、！？」』")
_GLUED_RIGHT = frozenset("([{$£€#@「『")


class WordEncoder(TextEncoder):
    """Words by one regular expression, or by blanks alone.

    A token is a number with its points and commas (3.14, 1,000), a word with its apostrophes (don't) and its
    combining marks, or one other sign. With `whitespace=True` a token is what stands between blanks.

    lowercase: fold case before all else.
    min_count, max_size: see `Vocabulary.build`; words left out become `<unk>`.
    end: id 2 is `<end>`.
    line_ends: where `end`, every line break is read as `<end>` (and written from it), as word-level language
        models of WikiText count their tokens. Where a text with all its lines has one end, as a translation has,
        False: a line break is then a blank, encode never produces `<end>`, and it is decoded as nothing.
    """

    level = "word"

    def __init__(
        self,
        *,
        lowercase: bool = True,
        min_count: int = 1,
        max_size: int | None = None,
        whitespace: bool = False,
        end: bool = False,
        line_ends: bool = True,
    ) -> None:
        super().__init__(end=end)
        self.line_ends = line_ends
        self._breaks = end and line_ends
        self.lowercase, self.min_count, self.max_size, self.whitespace = (
            lowercase,
            min_count,
            max_size,
            whitespace,
        )
        self._vocabulary: Vocabulary | None = None

    @property
    def vocabulary(self) -> Vocabulary:
        if self._vocabulary is None:
            raise unfitted()
        return self._vocabulary

    @property
    def size(self) -> int:
        return len(self.vocabulary)

    @property
    def counts(self) -> Ids:
        return self.vocabulary.counts

    def tokens(self, text: str) -> list[str]:
        """The words of a text; a line break is a token where it is read as `<end>`."""
        text = text.lower() if self.lowercase else text
        if self.whitespace:
            if not self._breaks:
                return text.split()
            return [word for line in text.split("\n") for word in (*line.split(), "\n")][:-1]
        return _pattern(self._breaks, marks=not text.isascii()).findall(text)

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Where each word stands in a text: its first character, and the one behind its last.

        The case is folded word by word here, so that a letter whose lower case is longer moves nothing.
        """
        if self.whitespace:
            return [match.span() for match in re.finditer(r"\S+|\n" if self._breaks else r"\S+", text)]
        return [match.span() for match in _pattern(self._breaks, marks=not text.isascii()).finditer(text)]

    def fit(self, texts: Iterable[str]) -> Self:
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(self.tokens(text))
        ends = counts.pop("\n", 0)
        specials = (PAD, UNKNOWN, END) if self.end else (PAD, UNKNOWN)
        vocabulary = Vocabulary.build(
            counts, specials=specials, min_count=self.min_count, max_size=self.max_size
        )
        if self.end_id is not None:
            vocabulary.counts[self.end_id] = ends
        self._adopt(vocabulary)
        return self

    def _adopt(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        if self._breaks and self.end_id is not None:
            vocabulary.index["\n"] = self.end_id

    def encode(self, text: str) -> Ids:
        return self.vocabulary.ids(self.tokens(text))

    def decode(self, ids: Iterable[int], *, unknown: Iterable[str] | None = None) -> str:
        """The text of ids; `<pad>` is left out. unknown: what stands for each `<unk>` in turn, where that is known."""
        silent = {self.pad_id} if self._breaks else {self.pad_id, self.end_id}
        tokens = self.vocabulary.tokens
        copies = None if unknown is None else iter(unknown)
        words = [
            "\n"
            if id_ == self.end_id
            else tokens[id_]
            if copies is None or id_ != self.unknown_id
            else next(copies)
            for id_ in ids
            if id_ not in silent
        ]
        if self.whitespace:
            return re.sub(" ?\n ?", "\n", " ".join(words))
        return _joined(words)

    def names(self) -> list[str]:
        return list(self.vocabulary.tokens)

    def to_document(self) -> dict[str, Any]:
        names = ("lowercase", "min_count", "max_size", "whitespace", "end", "line_ends")
        options = {name: getattr(self, name) for name in names}
        return {"level": self.level, **options, "vocabulary": self.vocabulary.to_document()}

    @classmethod
    def _restore(cls, document: Mapping[str, Any]) -> WordEncoder:
        names = ("lowercase", "min_count", "max_size", "whitespace", "end")
        # Models that were saved before there was a choice read line breaks as ends.
        encoder = cls(**{name: document[name] for name in names}, line_ends=document.get("line_ends", True))
        encoder._adopt(Vocabulary.from_document(document["vocabulary"]))
        return encoder


@cache
def _marks() -> str:
    """The combining marks of Unicode as ranges of a character class.

    Python's class of word characters lacks them, and would cut words of Hindi or Thai apart.
    """
    marks = [point for point in range(0x20000) if unicodedata.category(chr(point)).startswith("M")]
    ranges: list[list[int]] = []
    for point in marks:
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


@cache
def _pattern(line_breaks: bool, *, marks: bool) -> re.Pattern[str]:
    # Text without combining marks, ASCII above all, is cut alike and in half the time by the pattern without them.
    letter = rf"\w[\w{_marks()}]*" if marks else r"\w+"
    sign = rf"[^\w\s][{_marks()}]*" if marks else r"[^\w\s]"
    pattern = rf"\d+(?:[.,]\d+)+|{letter}(?:['’]{letter})*|<unk>|{sign}"
    return re.compile(pattern + r"|\n" if line_breaks else pattern)


def _joined(words: list[str]) -> str:
    """Words with blanks between them, save where punctuation wants none."""
    pieces: list[str] = []
    glue = True
    quoted = False
    for word in words:
        opening = word == '"' and not quoted
        closing = word == '"' and quoted
        if word == '"':
            quoted = not quoted
        alone = glue and bool(re.match(r"\w", word))
        start = not pieces or pieces[-1] == "\n" or word == "\n"
        if not (start or alone or closing or word in _GLUED_LEFT):
            pieces.append(" ")
        pieces.append(word)
        glue = opening or word in _GLUED_RIGHT
    return "".join(pieces)
