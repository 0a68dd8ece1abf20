"""`storyline bench memory`: rows, pictures and headlines from one command; refusals before any training."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from command_line import Command


def test_bench_memory_writes_rows_and_pictures(storyline: Command, tmp_path: Path) -> None:
    out = tmp_path / "results"
    asked = ("bench", "memory", "--out", out, "--cells", "rnn,lstm", "--stories", "parity,chase", "--seeds", 2,
             "--seconds", 0.2, "--examples", 4, "--quick")  # fmt: skip
    result = storyline(*asked)
    assert result.exit_code == 0, result.output
    with (out / "stories.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(row["story"], row["cell"], row["seed"]) for row in rows} == {
        (story, cell, seed)
        for story in ("parity", "chase")
        for cell, seeds in (("bag", "0"), ("rnn", "01"), ("lstm", "01"))
        for seed in seeds
    }
    for name in ("parity", "chase"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "parity lstm seed 1: 10: " in result.output
    assert "(0 left)" in result.output
    assert "no --filling" not in result.output  # neither story has any
    again = storyline(*asked)
    assert "left)" not in again.output  # all of it is there


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--cells", "lstm,lsmt"), "--cells names lsmt; choose from rnn, gru, lstm"),
        (("--stories", "partie"), "--stories names partie; choose from party"),
        (("--cells", ","), "--cells names nothing"),
        (("--filling", "/nowhere"), "/nowhere does not exist"),
        (("--filling", "/nowhere", "--stories", "chase"), "none of these stories has words there"),
    ],
)
def test_bench_refuses_before_it_trains(
    storyline: Command, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    result = storyline("bench", "memory", "--out", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "out" / "stories.csv").exists()
