"""CoNLL-U and CoNLL: sentences as rows, with a list of tokens and a list of tags each."""

from __future__ import annotations

import numpy as np
import polars as pl

from storyline.data.source import DataError, nearest
from storyline.data.table import Table

CONLLU_FIELDS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")


def read_conllu(name: str, data: bytes, tags: str | int | None = None) -> Table:
    """Columns `tokens` (form) and `tags` (`upos`, or the field named, or numbered from 1, by `tags`).

    Comments, multiword ranges (1-2) and empty nodes (1.1) are no tokens.
    Source: https://universaldependencies.org/format.html
    """
    field = _conllu_field(name, "upos" if tags is None else tags)
    sentences = _Sentences(name)
    for number, line in _lines(data):
        if not line:
            sentences.end()
        elif not line.startswith("#"):
            fields = line.split("\t")
            if len(fields) != len(CONLLU_FIELDS):
                raise DataError(
                    f"{name}, line {number}: {len(fields)} fields parted by tabs, and CoNLL-U has "
                    f"{len(CONLLU_FIELDS)}; write _ where a field is empty"
                )
            if fields[0].isdecimal():
                sentences.add(number, fields[1], fields[field])
            elif not fields[0].replace("-", "").replace(".", "").isdecimal():
                raise DataError(
                    f"{name}, line {number}, column 'id': {fields[0]!r} is no token number (1, 1-2 or 1.1)"
                )
    return sentences.table(tagged=True)


def read_conll(name: str, data: bytes, tags: str | int | None = None) -> Table:
    """Columns `tokens` (the first field) and `tags` (the last, or that numbered from 1 by `tags`).

    Fields are parted by tabs where the first line holds one, else by blanks; a blank line ends a sentence;
    `-DOCSTART-` lines are no tokens. A file of one column has no column `tags`.
    """
    if isinstance(tags, str):
        raise DataError(
            f"{name}: the columns of a .conll file have no names; give the number of the tag column"
        )
    sentences = _Sentences(name)
    separator: str | None = None
    width = 0
    for number, line in _lines(data):
        if not line:
            sentences.end()
            continue
        if not width:
            separator = "\t" if "\t" in line else None
            width = len(line.split(separator))
            if tags is not None and not 1 <= tags <= width:
                raise DataError(f"{name} has {width} columns; column {tags} is not one of them")
        fields = line.split(separator)
        if len(fields) != width:
            raise DataError(
                f"{name}, line {number}: {len(fields)} fields, and the first line has {width}; "
                "each line holds a token and its tags, and a blank line ends a sentence"
            )
        if fields[0] != "-DOCSTART-":
            sentences.add(number, fields[0], fields[-1 if tags is None else tags - 1])
    return sentences.table(tagged=width > 1)


def _lines(data: bytes) -> list[tuple[int, str]]:
    # Not splitlines: a token may hold U+2028 or U+0085, which end no line here.
    return [
        (number, "" if line.isspace() else line.rstrip("\r"))
        for number, line in enumerate(data.decode("utf-8").split("\n"), 1)
    ]


def _conllu_field(name: str, tags: str | int) -> int:
    if isinstance(tags, int) and 1 <= tags <= len(CONLLU_FIELDS):
        return tags - 1
    if tags in CONLLU_FIELDS:
        return CONLLU_FIELDS.index(str(tags))
    raise DataError(
        f"{name}: CoNLL-U has no field {tags!r}{nearest(str(tags), CONLLU_FIELDS)}; "
        f"its fields are {', '.join(CONLLU_FIELDS)}"
    )


class _Sentences:
    """Sentences as they come, line by line."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tokens: list[list[str]] = []
        self.tags: list[list[str]] = []
        self.lines: list[int] = []
        self.open = False

    def add(self, line: int, token: str, tag: str) -> None:
        for value, word in ((token, "token"), (tag, "tag")):
            if not value.strip():
                raise DataError(
                    f"{self.name}, line {line}: the {word} is empty; fill it in, or remove the line"
                )
        if not self.open:
            self.tokens.append([])
            self.tags.append([])
            self.lines.append(line)
            self.open = True
        self.tokens[-1].append(token)
        self.tags[-1].append(tag)

    def end(self) -> None:
        self.open = False

    def table(self, *, tagged: bool) -> Table:
        if not self.lines:
            raise DataError(f"{self.name} holds no sentence; give a file that holds tokens and tags")
        columns = {"tokens": self.tokens, "tags": self.tags} if tagged else {"tokens": self.tokens}
        frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.List(pl.String)))
        return Table(frame, self.name, np.array(self.lines, dtype=np.int64))
