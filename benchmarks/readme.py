"""README's tables stand between marks, and are written from the results alone."""

from __future__ import annotations

import re
from collections.abc import Mapping

from benchmarks.record import ROOT

README = ROOT / "README.md"


def between_marks(text: str, tables: Mapping[str, str]) -> str:
    """`text` with each table between `<!-- its mark -->` and `<!-- /its mark -->`; a missing mark is an error."""
    for mark, table in tables.items():
        text, found = re.subn(
            rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)",
            lambda marks, t=table: f"{marks[1]}{t}\n{marks[2]}",
            text,
            flags=re.S,
        )
        if found != 1:
            raise ValueError(f"{README.name} has {found} places marked <!-- {mark} -->; it must have one")
    return text


def pairs(text: str) -> dict[str, float]:
    """A column of the form `name: 1.5; other name: 2` as numbers; empty where the text is."""
    parts = (part.rsplit(": ", 1) for part in text.split("; ") if part)
    return {name: float(value) for name, value in parts}
