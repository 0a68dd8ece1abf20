"""Each command, from a file to an answer, through the command line that users type."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from command_line import QUICK, Command

TEXT = ("--text", "question", "--label", "kind")


@pytest.fixture
def classifier(storyline: Command, questions: Path, tmp_path: Path) -> Path:
    out = tmp_path / "model"
    result = storyline("train", "classify", questions, *TEXT, "--out", out, *QUICK)
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_predict_keeps_the_columns_and_adds_its_answers(
    storyline: Command, classifier: Path, questions: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"predictions{suffix}"
    result = storyline("predict", classifier, questions, "--out", out)
    assert result.exit_code == 0, result.output
    read = {".csv": pl.read_csv, ".parquet": pl.read_parquet, ".jsonl": pl.read_ndjson}[suffix]
    frame = read(out)
    assert frame.columns == ["question", "kind", "prediction", "probability"]
    assert len(frame) == 60
    assert set(frame["prediction"]) <= {"person", "place"}
    assert frame["probability"].is_between(0.5, 1.0).all()


def test_evaluate_agrees_with_predict(
    storyline: Command, classifier: Path, questions: Path, tmp_path: Path
) -> None:
    metrics = json.loads(storyline("evaluate", classifier, questions, "--json").stdout)
    out = tmp_path / "predictions.csv"
    storyline("predict", classifier, questions, "--out", out)
    frame = pl.read_csv(out)
    assert metrics["accuracy"] == pytest.approx((frame["prediction"] == frame["kind"]).mean(), abs=1e-12)


def test_predict_counts_unknown_words(storyline: Command, classifier: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    new.write_text("question\nwho zyzzyva river\n", encoding="utf-8")
    result = storyline("predict", classifier, new)
    assert result.exit_code == 0, result.output
    assert "1 of 3 words" in result.output
    assert "<unk>" in result.output


def test_memory_writes_a_page(storyline: Command, classifier: Path, questions: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    result = storyline("memory", classifier, questions, "--out", out)
    assert result.exit_code == 0, result.output
    page = out.read_text(encoding="utf-8")
    assert "gradient" in result.output
    assert page.count("<svg") >= 2
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_series_from_a_long_frame(storyline: Command, readings: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    columns = ("--series", "sensor", "--order", "second", "--channels", "a,b", "--label", "kind")
    result = storyline("train", "classify", readings, *columns, "--out", out, *QUICK)
    assert result.exit_code == 0, result.output
    answers = tmp_path / "answers.csv"
    result = storyline("predict", out, readings, "--out", answers)
    assert result.exit_code == 0, result.output
    assert pl.read_csv(answers)["sequence"].to_list() == [f"s{number}" for number in range(20)]


def test_language_model_from_a_text(storyline: Command, tale: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    result = storyline("train", "language", tale, "--level", "char", "--out", out, *QUICK)
    assert result.exit_code == 0, result.output
    written = storyline("generate", out, "--prompt", "the cat", "--length", "20", "--seed", "1")
    assert written.stdout.startswith("the cat")
    assert len(written.stdout.rstrip("\n")) == len("the cat") + 20
    assert (
        written.stdout
        == storyline("generate", out, "--prompt", "the cat", "--length", "20", "--seed", "1").stdout
    )
    suggestions = storyline("generate", out, "--prompt", "the ca", "--suggest", "3").stdout.splitlines()
    assert len(suggestions) == 3
    assert storyline("evaluate", out, tale).exit_code == 0
    assert storyline("memory", out, tale).exit_code == 0


def test_tagger_from_lists(storyline: Command, sentences: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    result = storyline("train", "tag", sentences, "--out", out, *QUICK)
    assert result.exit_code == 0, result.output
    tagged = tmp_path / "tagged.jsonl"
    assert storyline("predict", out, sentences, "--out", tagged).exit_code == 0
    lines = [json.loads(line) for line in tagged.read_text(encoding="utf-8").splitlines()]
    assert all(len(line["predicted_tags"]) == len(line["tokens"]) for line in lines)


def test_settings_from_a_file_and_the_command_line_wins(
    storyline: Command, questions: Path, tmp_path: Path
) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(
        'text = "question"\nlabel = "kind"\nhidden_size = 8\nepochs = 1\nseed = 5\n', encoding="utf-8"
    )
    out = tmp_path / "model"
    result = storyline("train", "classify", questions, "--config", config, "--out", out, "--seed", "7")
    assert result.exit_code == 0, result.output
    settings = json.loads((out / "config.json").read_text(encoding="utf-8"))["settings"]
    assert (settings["hidden_size"], settings["seed"]) == (8, 7)


def test_same_command_same_weights(storyline: Command, questions: Path, tmp_path: Path) -> None:
    weights = []
    for name in ("one", "two"):
        storyline("train", "classify", questions, *TEXT, "--out", tmp_path / name, *QUICK)
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
