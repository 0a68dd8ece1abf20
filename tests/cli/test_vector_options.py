"""`storyline train ... --vectors file`: a model starts from word vectors, says so, and needs the file no more."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Command

VECTORS = "who 0.1 0.2\nwhere -0.3 0.4\nriver 0.5 0.6\nriver 1 1\ndragon 1 2\nthe 0.1 0.2\ncat 0.3 0.1\n"
SMALL = ("--hidden-size", "8", "--epochs", "1", "--threads", "1")


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    path = tmp_path / "vectors.txt"
    path.write_text(VECTORS, encoding="utf-8")
    return path


def test_a_classifier_starts_from_a_file(
    storyline: Command, questions: Path, vectors: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    result = storyline(
        "train", "classify", questions, "--text", "question", "--label", "kind", "--vectors", vectors,
        "--set", "freeze_vectors=true", "--out", out, *SMALL,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    # who, where, river, and beside them dragon, the, cat.
    assert "given vectors share" in result.output
    assert (
        f"note: 1 lines of {vectors} hold a word that an earlier line holds; the first counts"
        in result.output
    )
    vectors.unlink()
    result = storyline("evaluate", out, questions)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(("task", "data"), [("language", "tale"), ("tag", "sentences")])
def test_other_tasks_start_from_a_file(
    storyline: Command, vectors: Path, tmp_path: Path, request: pytest.FixtureRequest, task: str, data: str
) -> None:
    level = ("--level", "word") if task == "language" else ()
    result = storyline(
        "train",
        task,
        request.getfixturevalue(data),
        *level,
        "--vectors",
        vectors,
        "--out",
        tmp_path / "model",
        *SMALL,
    )
    assert result.exit_code == 0, result.output
    assert "given vectors share" in result.output


def test_what_does_not_fit_is_refused(
    storyline: Command, readings: Path, questions: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.txt"
    broken.write_text("a 1 2\nb 1\nc 1 2\n", encoding="utf-8")
    out = ("--out", tmp_path / "model", *SMALL)
    columns = ("--text", "question", "--label", "kind")
    for arguments, message in (
        (
            (readings, "--series", "sensor", "--label", "kind"),
            "--vectors is for texts, and --series reads series",
        ),
        ((questions, *columns), "broken.txt, line 2: 1 numbers behind 'b', where the others have 2"),
    ):
        result = storyline("train", "classify", *arguments, "--vectors", broken, *out)
        assert result.exit_code == 2, result.output
        assert message in result.output.replace("\n", " ")
        assert not (tmp_path / "model").exists()


def test_a_translator_starts_from_files_of_both_sides(
    storyline: Command, vectors: Path, tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("source,target\n" + "who is the cat,where the river\n" * 30, encoding="utf-8")
    result = storyline(
        "train", "translate", pairs, "--level", "word", "--vectors", vectors, "--target-vectors", vectors,
        "--out", tmp_path / "model", *SMALL,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "target given vectors" in result.output
