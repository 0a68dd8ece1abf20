"""Settings of the wrong type, from a file or from --set."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Command


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("text = 3", 'has text = 3; a text was wanted, such as text = "..."'),
        ("out = 3", "has out = 3; a text was wanted"),
        ('label = ""', "has label = ''; a text was wanted"),
        ('validation = ["a.csv"]', "has validation = ['a.csv']; a text was wanted"),
        ('header = "maybe"', "has header = 'maybe'; true or false was wanted"),
        ("channels = [1, 2]", "has channels = [1, 2]; names of columns were wanted"),
        ("channels = []", "has channels = []; names of columns were wanted"),
    ],
)
def test_wrong_types(storyline: Command, questions: Path, tmp_path: Path, line: str, said: str) -> None:
    config, out = tmp_path / "settings.toml", tmp_path / "model"
    config.write_text(line + "\n", encoding="utf-8")
    for source, options in {str(config): ("--config", config), "--set": ("--set", line)}.items():
        result = storyline("train", "classify", questions, *options, "--out", out)
        assert result.exit_code == 2
        assert result.output.startswith(f"error: {source} {said}")
        assert not out.exists()


def test_bare_words_and_none(storyline: Command, questions: Path, tmp_path: Path) -> None:
    for assignment, said in {
        "header=maybe": "'maybe'",
        "text=none": "text = None",
        "series=": "series = ''",
    }.items():
        result = storyline("train", "classify", questions, "--set", assignment, "--out", tmp_path / "model")
        assert result.exit_code == 2
        assert said in result.output
