"""A file of results: rows that stay, and a run that goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from storyline.stories import Story, results_file
from storyline.stories.benchmark import Row, Run, measure, share, surroundings
from storyline.stories.learning import Learning
from storyline.stories.picture import curves
from storyline.stories.results_file import read_rows, rows_of, run_into

TINY = Learning(seconds=None, batches=3, hidden_size=8, embedding_size=4, sharpenings=(1.0,))


def runs(cells: tuple[str, ...] = ("rnn", "lstm"), seeds: int = 2) -> list[Run]:
    story = Story("parity", 6)
    return [Run(story, cell, seed, (3, 12), TINY, 10) for cell in cells for seed in range(seeds)]


def test_what_was_not_asked_is_a_row_that_says_so(tmp_path: Path) -> None:
    story, file = Story("parity", 6), tmp_path / "stories.csv"
    run = Run(story, "rnn", 0, (3, 12, 1_000_000), TINY, 4, asking_seconds=1e-4)
    run_into(file, [run])
    rows = read_rows(file)
    assert [row["distance"] for row in rows] == ["3", "12", "1000000"]
    assert (rows[2]["asked"], rows[2]["accuracy"]) == ("0", "")
    assert share(measure(run)[2]) == "not asked, it would take too long"
    assert curves(rows, "parity")[0].distances[-1] < 1_000_000
    run_into(file, [run], progress=lambda *_: pytest.fail("it was held already"))


def test_what_is_finished_stays_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "results" / "stories.csv"
    begun: list[Run] = []

    def interrupted(run: Run, place: Row | None = None) -> list[Row]:
        begun.append(run)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return measure(run, place)

    monkeypatch.setattr(results_file, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_into(file, runs())
    assert len(read_rows(file)) == 4
    left: list[int] = []
    run_into(file, runs(), progress=lambda rows, more: left.append(more))
    assert left == [1, 0]  # the two that were finished are not trained again
    rows = read_rows(file)
    assert [(row["cell"], row["seed"], row["distance"]) for row in rows] == [
        (cell, seed, distance) for cell in ("rnn", "lstm") for seed in "01" for distance in ("3", "12")
    ]
    run_into(file, runs())
    assert read_rows(file) == rows == rows_of(file, runs())
    # What another commit measured is measured anew, and the newer rows stand last.
    run_into(file, runs(("rnn",), 1), place=surroundings() | {"commit": "abc"})
    assert [row["commit"] for row in rows_of(file, runs(("rnn",), 1))] == [rows[0]["commit"]] * 2 + [
        "abc"
    ] * 2
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"other.csv has the columns \['a', 'b'\]"):
        run_into(tmp_path / "other.csv", runs())


def test_rows_stand_under_the_columns_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "stories.csv"
    run_into(file, runs(("rnn",), 1))
    whole = read_rows(file)
    turned = list(reversed(whole[0]))
    file.write_text(",".join(turned) + "\n", encoding="utf-8")
    run_into(file, runs(("rnn",), 1))
    assert [row["distance"] for row in read_rows(file)] == ["3", "12"]
    # a column that is wanting would be lost in silence
    file.write_text(",".join(name for name in turned if name != "chance") + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="not a benchmark's of today: chance differ"):
        run_into(file, runs(("rnn",), 1))


def test_runs_that_differ_in_how_they_learn_alone_are_not_the_same(tmp_path: Path) -> None:
    file, left = tmp_path / "stories.csv", []
    usual = runs(("rnn",), 1)[0]
    others = [
        replace(usual, learning=replace(TINY, **changed))
        for changed in (
            {"rest": None},
            {"curriculum": False},
            {"perturbation": None},
            {"sharpenings": (2.0,)},
        )
    ]
    assert len({run.key for run in (usual, *others)}) == 5
    run_into(file, [usual])
    run_into(file, [usual, *others], progress=lambda rows, more: left.append(more))
    assert left == [3, 2, 1, 0]
    assert [row["settings"] for row in rows_of(file, others[:2])[::2]] == [
        "embedding_size=4, rest=None, sharpenings=(1.0,)",
        "embedding_size=4, curriculum=False, sharpenings=(1.0,)",
    ]
    assert (Run(usual.story, "rnn", 0, (3,)).key[-1], replace(others[0], cell="bag").key[-1]) == ("", "")


def test_a_file_from_before_the_settings_were_kept_goes_on_without_them(tmp_path: Path) -> None:
    file = tmp_path / "stories.csv"
    usual, more = runs(("rnn",), 2)
    run_into(file, [usual])
    kept = read_rows(file)
    columns = [name for name in kept[0] if name != "settings"]
    lines = [",".join(columns), *(",".join(row[name] for name in columns) for row in kept)]
    file.write_text("\n".join(lines).replace(kept[0]["machine"], "elsewhere") + "\n", encoding="utf-8")
    run_into(file, [usual, more])
    assert [row["seed"] for row in read_rows(file)] == ["0", "0", "1", "1"]
    assert read_rows(file) == rows_of(file, [usual, more])
    assert "settings" not in read_rows(file)[0]
    told = replace(more, learning=replace(TINY, rest=None))
    with pytest.raises(
        ValueError, match="no column settings, and of the runs some differ in those settings alone"
    ):
        run_into(file, [more, told])


def test_a_run_is_finished_only_with_all_of_its_distances(tmp_path: Path) -> None:
    file, left = tmp_path / "stories.csv", []
    far = runs(("rnn",), 1)
    near = [replace(run, distances=run.distances[:1]) for run in far]
    run_into(file, near)
    run_into(file, far, progress=lambda rows, more: left.append(more))
    assert left == [0]
    run_into(file, near, progress=lambda rows, more: left.append(more))
    assert left == [0]  # of the longer run nothing is missing
    assert {row["distance"] for row in rows_of(file, far)} == {"3", "12"}


def test_a_line_cut_short_is_measured_anew(tmp_path: Path) -> None:
    file = tmp_path / "stories.csv"
    run_into(file, runs(("rnn",), 1))
    whole = file.read_text(encoding="utf-8")
    # within the quotes of the machine's name, which would swallow whatever is appended
    file.write_text(whole[: whole.rindex('"') - 3], encoding="utf-8")
    run_into(file, runs(("rnn",), 1))
    assert [row["distance"] for row in read_rows(file)] == ["3", "3", "12"]
    # a last line that only lacks its end is whole
    file.write_text(whole.removesuffix("\n"), encoding="utf-8")
    run_into(file, runs(("rnn",), 1))
    assert file.read_text(encoding="utf-8") == whole


def test_another_file_is_refused_without_a_row_too(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"other.csv has the columns \['a', 'b'\]"):
        run_into(tmp_path / "other.csv", runs(("rnn",), 1))
    assert (tmp_path / "other.csv").read_text(encoding="utf-8") == "a,b\n"


def test_side_by_side_is_the_same(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone.csv", tmp_path / "together.csv"
    run_into(alone, runs(("lstm",)))
    run_into(together, runs(("lstm",)), jobs=2)
    timed = {"training_seconds", "asking_seconds"}

    def told(file: Path) -> list[tuple[str, ...]]:
        return sorted(
            tuple(value for name, value in row.items() if name not in timed) for row in read_rows(file)
        )

    assert told(alone) == told(together)
