"""README shows what the results say."""

from __future__ import annotations

import csv

from benchmarks.memory.readme import with_blocks
from benchmarks.tasks.catalogue import BENCHMARKS
from benchmarks.tasks.harness import RESULTS
from benchmarks.tasks.table import README, with_tables


def test_the_tables_are_those_of_the_results() -> None:
    text = README.read_text(encoding="utf-8")
    assert "<!-- results -->" in text
    assert "<!-- demo -->" in text
    assert "<!-- data -->" in text
    assert with_tables(text) == text, "run `python -m benchmarks.tasks readme`"


def test_every_row_says_where_it_comes_from() -> None:
    paths = sorted(RESULTS.glob("*.csv"))
    assert len(paths) >= 10
    for path in paths:
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


def test_choices_say_where_they_come_from() -> None:
    for path in sorted((RESULTS / "choices").glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for column in ("machine", "commit", "folds", "values", "threads"):
                    assert row[column], f"{path.name}: {column} is empty"
                assert not row["commit"].endswith("+"), f"{path.name}: measured on code that is not committed"


def test_the_page_on_results_shows_the_choices() -> None:
    page = (README.parent / "docs" / "results.md").read_text(encoding="utf-8")
    with (RESULTS / "choices" / "japanese_vowels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for noise, name in (("0.0", "0"), ("0.1", ".1"), ("0.3", ".3")):
        means = [float(row["mean"]) for row in rows if row["noise"] == noise]
        assert f"| {name} | {' | '.join(f'{mean:.2f}' for mean in means)} |\n" in page


def newest(name: str) -> dict[str, str]:
    with (RESULTS / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))[-1]


def test_the_page_on_results_lists_every_aim_not_reached_with_its_newest_figure() -> None:
    """But for the RNN that reads pixels, which shares the line of the LSTM."""
    lines = (README.parent / "docs" / "results.md").read_text(encoding="utf-8").splitlines()
    short = []
    for name, benchmark in BENCHMARKS.items():
        if benchmark.aim is not None and name != "digit_pixels_rnn":
            mean = float(newest(name)["mean"])
            if mean < benchmark.aim if benchmark.higher_is_better else mean > benchmark.aim:
                short.append(
                    (f"{mean:.4f}" if name == "shakespeare" else f"{mean:.1f}", f"{benchmark.aim:g}")
                )
    table = lines[lines.index("## Aims not reached") :]
    found = [tuple(line.split(" | ")[1:3]) for line in table if " | " in line][1:]
    assert sorted(found) == sorted(short), "bring docs/results.md up to date"
    assert f"reaches {float(newest('digit_pixels_rnn')['mean']):.1f} " in "\n".join(table)


def test_the_sentence_on_decoding_has_the_newest_figures() -> None:
    with (README.parent / "benchmarks" / "decoding" / "results" / "decoding.csv").open(
        newline="", encoding="utf-8"
    ) as file:
        row = [row for row in csv.DictReader(file) if row["threads"] == "2"][-1]
    text = " ".join(README.read_text(encoding="utf-8").split())
    speed = float(row["sentences_a_second"].split(";")[0].removeprefix("storyline: "))
    assert f"writes {speed:.0f} sentences a second, {float(row['ratio']):.2f} times" in text
    assert f"would take {row['cores_for_4.5e9_a_day']} cores" in text


def test_the_tables_of_memory_are_those_of_the_results() -> None:
    text = README.read_text(encoding="utf-8")
    assert with_blocks(text) == text, "run `python -m benchmarks.memory readme`"
