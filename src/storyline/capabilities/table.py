"""The table: every capability tried on every subject, as text and as JSON."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from storyline.capabilities.rows import ROWS, Probe
from storyline.capabilities.subject import KINDS, Subject
from storyline.kernels import BACKENDS

_LONGEST_REASON = 160


@dataclass(frozen=True)
class Result:
    """One cell of the table: whether it went and the numbers were right; why not; which backend served."""

    can: bool
    why_not: str | None
    backend: str | None


@dataclass(frozen=True)
class Table:
    """What the layers of one kind can do; results by row, then by column."""

    kind: str
    columns: tuple[str, ...]
    results: dict[str, dict[str, Result]]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: {"kind", "columns", "results": {row: {column: {"can", "why_not", "backend"}}}}."""
        return asdict(self)

    def __str__(self) -> str:
        """The table, and below it a numbered reason for every no."""
        reasons: dict[str, int] = {}
        lines = [["", *self.columns]]
        for row, results in self.results.items():
            lines.append([row, *(_text(results[name], name, reasons) for name in self.columns)])
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
        ]
        notes = [f"[{number}] {reason}" for reason, number in reasons.items()]
        return "\n".join(line.rstrip() for line in [*text, *notes])


def try_capabilities(
    kinds: Sequence[str] = KINDS,
    rows: Sequence[str] | None = None,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Table]:
    """Try every capability on torch.nn's layer and on ours, with each backend; a table a kind.

    Every yes has been run and its numbers, gradients too, compared with the plain loop in float64 (see
    `Subject.agree`). Half a minute, most of it spent by the compiler of torch.compile.

    kinds: of "RNN", "LSTM", "GRU". rows: of `ROWS`, all if None. progress: called with what is tried next.
    Raises ValueError for a kind or a row that there is not.
    """
    for asked, known in ((kinds, KINDS), (rows or (), tuple(ROWS))):
        for name in asked:
            if name not in known:
                raise ValueError(f"{name!r} is not known; it must be one of {', '.join(known)}")
    tables = []
    with _quiet():
        for kind in kinds:
            subjects = [Subject(kind, backend) for backend in (None, "auto", *BACKENDS)]
            results: dict[str, dict[str, Result]] = {}
            for row in ROWS if rows is None else rows:
                progress(f"{kind}: {row}")
                results[row] = {subject.name: _try(ROWS[row], subject) for subject in subjects}
            tables.append(Table(kind, tuple(subject.name for subject in subjects), results))
    return tables


def _try(probe: Probe, subject: Subject) -> Result:
    try:
        return Result(True, None, probe(subject))
    except Exception as problem:
        # Whatever torch raises is the finding; a missing compiler too.
        said = next((line for line in str(problem).splitlines() if line.strip()), "")
        reason = f"{type(problem).__name__}: {said.strip()}"
        cut = f"{reason[:_LONGEST_REASON]}..." if len(reason) > _LONGEST_REASON else reason
        return Result(False, cut, None)


def _text(result: Result, column: str, reasons: dict[str, int]) -> str:
    if result.why_not is not None:
        return f"no [{reasons.setdefault(result.why_not, len(reasons) + 1)}]"
    return f"yes, {result.backend}" if column == "auto" and result.backend else "yes"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's warnings and logs, of what is expected to fail, out of the table."""
    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(before)
