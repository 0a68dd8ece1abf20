"""A row says on how many threads it ran and how many seeds ran beside it; README's row shows threads and seconds."""

from __future__ import annotations

import pytest
from benchmarks.tasks import table
from benchmarks.tasks.catalogue import BENCHMARKS
from benchmarks.tasks.harness import Outcome, summarise
from benchmarks.tasks.table import HEAD


def row_of(details: dict[str, float], jobs: int) -> dict[str, object]:
    outcome = Outcome(97.0, 12.0, 100, details)
    return summarise(BENCHMARKS["trec"], {"a baseline": 89.0}, 1.0, [0, 1], [outcome, outcome], jobs)


def test_a_row_tells_the_seeds_side_by_side() -> None:
    assert str(row_of({}, 3)["details"]) == "seeds side by side: 3"


@pytest.mark.parametrize(("details", "shown"), [({"cpu seconds": 34.0}, "34"), ({}, "")])
def test_a_readme_row_has_threads_and_seconds(
    details: dict[str, float], shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {name: str(value) for name, value in row_of(details, 1).items()} | {"threads": "7"}
    monkeypatch.setattr(table, "_newest", lambda benchmark: row)
    names = [cell.strip() for cell in HEAD.splitlines()[0].split("|")]
    cells = [cell.strip() for cell in table._row(BENCHMARKS["trec"]).split("|")]
    assert len(cells) == len(names)
    found = dict(zip(names, cells, strict=True))
    assert (found["threads"], found["s"], found["CPU s"]) == ("7", "12", shown)
