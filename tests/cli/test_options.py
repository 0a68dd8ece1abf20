"""Options that would not be looked at are refused, with what to do instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import QUICK, Command

SERIES = ("--series", "sensor", "--label", "kind")


def refusal(storyline: Command, *arguments: str | Path) -> str:
    result = storyline(*arguments)
    assert result.exit_code == 2, result.output
    assert result.output.startswith("error: ")
    assert len(result.output.strip().splitlines()) == 1
    return result.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((*SERIES, "--text", "a"), "--text is for texts, and --series reads series of numbers"),
        ((*SERIES, "--level", "char"), "--level is for texts, and --series reads"),
        ((*SERIES, "--unlabelled", "x.txt"), "--unlabelled is for texts, and --series reads"),
        (("--channels", "a", "--text", "a"), "--text is for texts, and --channels reads"),
        (("--text", "sensor", "--order", "second"), "--order sorts the steps of series; name the column"),
        (("--channels", "a,b", "--label", "kind"), "name the column that tells with --series"),
    ],
)
def test_options_of_texts_and_of_series(
    storyline: Command, readings: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    out = tmp_path / "model"
    assert said in refusal(storyline, "train", "classify", readings, *options, "--out", out)
    assert not out.exists()


@pytest.mark.parametrize("option", [("--no-header",), ("--separator", ";")])
def test_options_of_csv(storyline: Command, sentences: Path, tmp_path: Path, option: tuple[str, ...]) -> None:
    said = refusal(storyline, "train", "classify", sentences, *option, "--out", tmp_path / "model")
    assert "is for .csv and .tsv, and " in said


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_table_for_a_language_model(storyline: Command, tmp_path: Path, suffix: str) -> None:
    import polars as pl

    frame, path = pl.DataFrame({"id": ["1", "2"], "story": ["once", "upon"]}), tmp_path / f"tale{suffix}"
    if suffix == ".parquet":
        frame.write_parquet(path)
    elif suffix == ".jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_csv(path, separator="," if suffix == ".csv" else "\t")
    said = refusal(storyline, "train", "language", path, "--out", tmp_path / "model")
    assert f"{path} is a table; name the column of its text with --text: it has 'id', 'story'" in said


def test_options_that_a_trained_model_does_not_read(
    storyline: Command, readings: Path, sentences: Path, tale: Path, tmp_path: Path
) -> None:
    series, language = tmp_path / "series", tmp_path / "language"
    assert (
        storyline(
            "train", "classify", readings, *SERIES, "--channels", "a", "--out", series, *QUICK
        ).exit_code
        == 0
    )
    assert storyline("train", "language", tale, "--out", language, *QUICK).exit_code == 0
    for command in ("evaluate", "predict", "memory"):
        said = refusal(storyline, command, series, readings, "--text", "a")
        assert f"{series} is a model of series of numbers and reads no --text; leave it out" in said
    said = refusal(storyline, "evaluate", language, tale, "--label", "a")
    assert "is a model of plain text and reads no --label; leave it out" in said
    for option in (("--top-k", "2"), ("--length", "400"), ("--seed", "0")):
        said = refusal(storyline, "generate", language, "--prompt", "the", "--suggest", "2", *option)
        assert f"{option[0]} steers the drawing of a text, and --suggest draws none" in said
    said = refusal(storyline, "evaluate", series, sentences, "--separator", ";")
    assert "--separator is for .csv and .tsv, and " in said
