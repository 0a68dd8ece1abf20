"""README shows what the results say."""

from __future__ import annotations

import csv

from benchmarks.tasks.harness import RESULTS
from benchmarks.tasks.table import README, with_tables


def test_the_tables_are_those_of_the_results() -> None:
    text = README.read_text(encoding="utf-8")
    assert "<!-- results -->" in text
    assert "<!-- demo -->" in text
    assert with_tables(text) == text, "run `python -m benchmarks.tasks readme`"


def test_every_row_says_where_it_comes_from() -> None:
    for path in sorted(RESULTS.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for column in (
                    "machine",
                    "commit",
                    "seeds",
                    "values",
                    "baselines",
                    "seconds_per_seed",
                    "threads",
                ):
                    assert row[column], f"{path.name}: {column} is empty"
                assert not row["commit"].endswith("+"), f"{path.name}: measured on code that is not committed"
