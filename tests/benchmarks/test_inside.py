"""The benchmark of the instruments that look inside a layer: its stories, and a tiny run."""

from __future__ import annotations

import csv
from pathlib import Path

import torch
from benchmarks.inside.__main__ import main
from benchmarks.inside.two_facts import accuracies, stories, trained, words


def test_a_story_holds_two_facts_and_asks_for_both() -> None:
    x, facts, places, first = stories(50, 20, 0)
    for row in range(50):
        text = words(x[row])
        assert [text[place] for place in places[row]] == [f"A{facts[row, 0]}", f"B{facts[row, 1]}"]
        assert text[-2:] == (["A?", "B?"] if first[row] == 0 else ["B?", "A?"])
        assert sum(word.startswith("filling") for word in text) == 16
    assert int(places.max()) < 6
    assert not torch.equal(stories(50, 20, 1)[1], facts)


def test_an_untrained_network_answers_at_chance() -> None:
    lstm, head = trained(0, 14, 1)
    assert all(0.15 < share < 0.35 for share in accuracies(lstm, head, 14, 9, None))


def test_a_tiny_run_writes_its_rows(tmp_path: Path) -> None:
    arguments = ["--seeds", "1", "--updates", "3", "--jobs", "forgetting", "events"]
    main([*arguments, "--out", str(tmp_path)])
    with (tmp_path / "inside.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["job"] for row in rows] == ["forgetting"] * 8 + ["events"] * 2
    assert all(0 <= float(row["value"]) <= 1 and row["machine"] and row["commit"] for row in rows)
