"""The benchmark of stories as a command: it runs, and its claims are judged by the rows."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.memory import stories
from benchmarks.record import surroundings

from storyline.stories.benchmark import Run
from storyline.stories.results_file import run_into


def test_everything_runs_at_a_tiny_size(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys,
        "argv",
        ["stories", "--tiny", "--stories", "parity", "party", "adding", "--cells", "rnn", "transformer"],
    )
    stories.main()
    said = capsys.readouterr().out
    assert "adding transformer seed 0: 100: " in said
    assert "(0 left)" in said
    assert "party at 25,000: not measured" in said


def rows(*shares: float, story: str = "party-2-facts", distance: int = 25_000) -> list[dict[str, str]]:
    return [
        {"story": story, "cell": "lstm", "seed": str(seed), "distance": str(distance), "accuracy": str(share)}
        for seed, share in enumerate(shares)
    ]


def test_a_claim_holds_by_four_seeds_of_five() -> None:
    def verdict(*shares: float, **of: object) -> str:
        (line,) = [line for line in stories.judged(rows(*shares, **of)) if "not measured" not in line]  # type: ignore[arg-type]
        return line

    assert verdict(1, 0.95, 0.96, 1, 0.5) == (
        "party-2-facts at 25,000: 4 of 5 seeds reach 95% (100% 95% 96% 100% 50%): holds"
    )
    assert verdict(1, 0.94, 0.96, 1, 0.5).endswith("FALLS SHORT")
    assert verdict(1, 1, 0.995, 0.995, 1, story="parity", distance=1000).endswith("FALLS SHORT")
    # a seed that was trained again counts once, by its newest row
    (line,) = [each for each in stories.judged(rows(0, 0, 0) + rows(1, 1, 1)) if "not measured" not in each]
    assert line.endswith(": 3 of 3 seeds reach 95% (100% 100% 100%): holds")


@pytest.mark.parametrize("name", ["stories", "stories-quick", "stories-all-at-once", "remember"])
def test_the_rows_that_are_there_can_be_gone_on_with(name: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes((stories.RESULTS / f"{name}.csv").read_bytes())
    run_into(file, [], place=dict(surroundings()))


def test_the_quick_set_is_what_is_claimed() -> None:
    names = {stories.name_of(claim.story) for claim in stories.CLAIMS}
    assert names == {"party", "router", "john-he", "breakfast", "but-then", "chase", "books", "parity"}
    runs = stories.quick(5, examples=1)
    assert len(runs) == 5 * len(stories.CLAIMS)
    for claim in stories.CLAIMS:
        assert claim.distance in stories.planned(stories.name_of(claim.story))[1]
        asked = {run.distances for run in runs if stories.label(run.story) == claim.story}
        assert len(asked) == 1
        assert max(asked.pop()) == claim.distance


def test_a_story_has_the_budget_of_its_rows() -> None:
    budgets = {
        run.key[0]: run.learning.seconds
        for run in stories.listed(["party", "router"], ["lstm"], 1, examples=1)
    }
    assert budgets == {"party": 80.0, "party-2-facts": 240.0, "router": 300.0}
    again = stories.listed(["router"], ["lstm"], 1, 7.0, examples=1)
    assert {run.learning.seconds for run in again} == {7.0}


def test_what_the_quick_set_takes_is_a_row_when_all_of_it_ran(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def trained(file: Path, runs: list[Run], *, progress: Callable[..., None], **more: object) -> None:
        for run in runs:
            progress([{"story": run.story.name, "cell": "lstm", "seed": 0, "distance": 1, "asked": 0}], 0)

    held = rows(1.0, 1.0, 1.0, 0.95, 0.9)
    for name, value in (
        ("RESULTS", tmp_path),
        ("NOVELS", tmp_path),
        ("FILINGS", tmp_path),
        ("run_into", trained),
    ):
        monkeypatch.setattr(stories, name, value)
    monkeypatch.setattr(stories, "rows_of", lambda file, runs: held)
    monkeypatch.setattr(stories, "table", lambda rows: "")
    for more in ([], ["--seeds", "2"]):
        monkeypatch.setattr(sys, "argv", ["stories", "--quick", "--jobs", "2", *more])
        stories.main()
        assert ("no row of what all of it takes" in capsys.readouterr().out) == bool(more)
    with (tmp_path / "quick.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["trainings"], row["jobs"], row["claims"], row["holds"]) == ("45", "2", "9", "1")
