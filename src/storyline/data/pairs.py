"""Pairs of texts, source and target, from one table or from two files that are aligned line by line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storyline.data.columns import texts_or_empty
from storyline.data.read import read_table
from storyline.data.source import DataError, checked_bytes, read_bytes
from storyline.data.table import Table

# How much better the lines must match behind a shift, in nats over all lines, before it is worth a word: two files
# of which one is cut off gain less than 3 by chance, and some 20 lines shifted by one lose this much.
_CLEAR = 5.0


@dataclass(frozen=True)
class Pairs:
    """Texts and what they became, row by row; a side may be empty (`filled_pairs` says where none is)."""

    sources: list[str]
    targets: list[str]

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def empty(self) -> int:
        """How many pairs have an empty or blank side: nothing can be learned from them."""
        return len(self) - len(filled_pairs(self.sources, self.targets))


def table_pairs(table: Table, source: str = "source", target: str = "target") -> Pairs:
    """The pairs of two columns of text. A cell that is null, empty or blank is an empty text, and is kept."""
    return Pairs(texts_or_empty(table, source), texts_or_empty(table, target))


def aligned_pairs(source: str | Path, target: str | Path) -> Pairs:
    """The pairs of two plain files, line i of one with line i of the other (any suffix; `.gz` unpacked).

    DataError where one has more lines: it names both counts, the line at which the shorter one ends and, where the
    lengths of the lines show it, the line from which they no longer match.
    """
    sources, targets = read_lines(source), read_lines(target)
    if len(sources) != len(targets):
        shorter, longer = (source, target) if len(sources) < len(targets) else (target, source)
        least, most = sorted((len(sources), len(targets)))
        raise DataError(
            f"{source} has {len(sources)} lines and {target} {len(targets)}: {shorter} ends at line {least}, where "
            f"{longer} goes on to line {most}{_hint(sources, targets)}; give each line its translation, be it empty"
        )
    return Pairs(sources, targets)


def read_lines(path: str | Path) -> list[str]:
    """The lines of a plain UTF-8 file, empty ones included, also at the end: LF or CRLF ends a line, nothing else."""
    text = checked_bytes(str(path), read_bytes(path)).decode("utf-8")
    lines = text.replace("\r\n", "\n").split("\n")
    # The last line end is an end, not the beginning of a line.
    return lines[:-1] if lines[-1] == "" and len(lines) > 1 else lines


def lines_table(path: str | Path, column: str = "text") -> Table:
    """The lines of a plain file as a table of one column, empty ones included."""
    lines = read_lines(path)
    frame = pl.DataFrame({column: lines}, schema={column: pl.String})
    return Table(frame, str(path), range(1, len(lines) + 1))


def read_pairs(
    path: str | Path, other: str | Path | None = None, *, source: str = "source", target: str = "target"
) -> Pairs:
    """Pairs from the columns `source` and `target` of a table, or from two files aligned line by line."""
    if other is not None:
        return aligned_pairs(path, other)
    return table_pairs(read_table(path), source, target)


def filled_pairs(sources: Sequence[str], targets: Sequence[str]) -> NDArray[np.int64]:
    """The rows (rising) of which neither side is empty or blank; the rest teaches nothing and is to be counted."""
    full = [
        row
        for row, (source, target) in enumerate(zip(sources, targets, strict=True))
        if source.strip() and target.strip()
    ]
    return np.array(full, dtype=np.int64)


def _hint(sources: list[str], targets: list[str]) -> str:
    first = _shift(sources, targets)
    return (
        "" if first is None else f" (by their lengths, the lines no longer match from about line {first} on)"
    )


def _shift(sources: list[str], targets: list[str]) -> int | None:
    """The line, from 1, from which the longer file seems to hold lines that the shorter lacks; None: no such place.

    The lines before it are matched with the same line, those from it on with the line as many further as the files
    differ by, so that the logarithms of the ratios of their lengths spread least: one sum from either end.
    """
    short, long = sorted((sources, targets), key=len)
    few, gap = len(short), len(long) - len(short)
    lengths = [np.log1p([float(len(line)) for line in lines]) for lines in (short, long)]
    same, shifted = lengths[0] - lengths[1][:few], lengths[0] - lengths[1][gap:]
    # Lines of as many letters as in the other language stand at 0 after this.
    usual = float(np.median(np.concatenate([same[: few // 2], shifted[few // 2 :]])))
    before = np.concatenate([[0.0], np.cumsum(np.abs(same - usual))])
    after = np.concatenate([np.cumsum(np.abs(shifted - usual)[::-1])[::-1], [0.0]])
    spread = before + after
    place = int(spread.argmin())
    return place + 1 if spread[few] - spread[place] > _CLEAR and place < few else None
