"""Files small enough to train on in a second, and a way to run the command line in this process."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
from command_line import Command
from typer.testing import CliRunner, Result

from storyline.cli.app import app


@pytest.fixture
def storyline() -> Command:
    """Run a command; the result has exit_code and output (standard output and error together)."""

    def run(*arguments: str | os.PathLike[str]) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """A CSV of questions whose first word tells their kind."""
    generator = random.Random(0)
    words = ["river", "city", "king", "war", "song", "star", "tree", "ship"]
    rows = ["question,kind"]
    for _ in range(60):
        rest = " ".join(generator.choices(words, k=generator.randint(2, 6)))
        first, kind = generator.choice([("who", "person"), ("where", "place")])
        rows.append(f"{first} {rest},{kind}")
    path = tmp_path / "questions.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def readings(tmp_path: Path) -> Path:
    """A long frame of two channels: 20 series of 5 to 9 steps, rising or falling."""
    rows = ["sensor,second,a,b,kind"]
    for number in range(20):
        rising = number % 2 == 0
        for second in range(5 + number % 5):
            level = second if rising else -second
            rows.append(f"s{number},{second},{level},{level * 0.5},{'up' if rising else 'down'}")
    path = tmp_path / "readings.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def tale(tmp_path: Path) -> Path:
    path = tmp_path / "tale.txt"
    path.write_text("the cat sat on the mat and the dog sat on the log. " * 60, encoding="utf-8")
    return path


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    """JSONL with a list of tokens and a list of tags a line."""
    generator = random.Random(0)
    tag_of = {"the": "DET", "dog": "NOUN", "cat": "NOUN", "runs": "VERB", "sleeps": "VERB"}
    lines = []
    for _ in range(40):
        tokens = ["the", generator.choice(["dog", "cat"]), generator.choice(["runs", "sleeps"])]
        lines.append(json.dumps({"tokens": tokens, "tags": [tag_of[token] for token in tokens]}))
    path = tmp_path / "sentences.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
