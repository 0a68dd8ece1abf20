"""What cannot be used is refused in one sentence that says where and what to do; nothing is half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from command_line import QUICK, Command

TEXT = ("--text", "question", "--label", "kind")

FILES = {
    "empty file": (b"", "empty"),
    "header only": (b"question,kind\n", "questions.csv"),
    "wrong column": (b"quesion,kind\nwho,person\nwhere,place\n", "quesion"),
    "broken UTF-8": (b"question,kind\nwho,person\nwh\xff\xfere,place\n", "line 3"),
    "unclosed quote": (b'question,kind\nwho,person\n"where,place\n', "line 3"),
    "NUL byte": (b"question,kind\nwho,person\nwh\x00ere,place\n", "line 3"),
    "one class only": (
        b"question,kind\nwho is he,person\nwho is she,person\n",
        "questions.csv, column 'kind': the only label is 'person'; a classifier needs at least two",
    ),
    "control blank": (b"question,kind\nwho,person\n\x1c,place\n", "line 3, column 'question': an empty text"),
    "empty text": (b"question,kind\nwho,person\n,place\n", "line 3"),
    "missing label": (b"question,kind\nwho,person\nwhere,\n", "line 3"),
    "field too many": (b"question,kind\nwho,person\nwhere,place,far\n", "line 3"),
}


@pytest.mark.parametrize(("content", "fragment"), FILES.values(), ids=FILES.keys())
def test_unusable_files(storyline: Command, tmp_path: Path, content: bytes, fragment: str) -> None:
    path = tmp_path / "questions.csv"
    path.write_bytes(content)
    out = tmp_path / "model"
    result = storyline("train", "classify", path, *TEXT, "--out", out, *QUICK)
    assert result.exit_code == 2, result.output
    assert result.output.startswith("error: ")
    assert len(result.output.strip().splitlines()) == 1
    assert fragment in result.output
    assert not out.exists()


def test_a_missing_file(storyline: Command, tmp_path: Path) -> None:
    result = storyline("train", "classify", tmp_path / "nowhere.csv", *TEXT, "--out", tmp_path / "model")
    assert result.exit_code == 2
    assert "nowhere.csv" in result.output
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("cell", ["nan", "warm", ""])
def test_numbers_that_are_none(storyline: Command, readings: Path, tmp_path: Path, cell: str) -> None:
    lines = readings.read_text(encoding="utf-8").splitlines()
    lines[3] = f"s0,2,{cell},1.0,up"
    readings.write_text("\n".join(lines) + "\n", encoding="utf-8")
    columns = ("--series", "sensor", "--order", "second", "--channels", "a,b", "--label", "kind")
    result = storyline("train", "classify", readings, *columns, "--out", tmp_path / "model", *QUICK)
    assert result.exit_code == 2
    assert "line 4" in result.output
    assert "'a'" in result.output


def test_unknown_settings_name_their_neighbour(storyline: Command, questions: Path, tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text("hiden_size = 8\n", encoding="utf-8")
    result = storyline("train", "classify", questions, *TEXT, "--config", config, "--out", tmp_path / "model")
    assert result.exit_code == 2
    assert "did you mean 'hidden_size'?" in result.output
    result = storyline(
        "train", "classify", questions, *TEXT, "--set", "dropuot=0.1", "--out", tmp_path / "model"
    )
    assert "did you mean 'dropout'?" in result.output


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("text=5", "--set has text = 5; a text was wanted"),
        ("channels=[1]", "--set has channels = [1]; names of columns were wanted"),
        ("header='no'", "--set has header = 'no'; true or false was wanted"),
    ],
)
def test_a_column_that_is_no_name(
    storyline: Command, questions: Path, tmp_path: Path, given: str, said: str
) -> None:
    result = storyline("train", "classify", questions, "--set", given, "--out", tmp_path / "model", *QUICK)
    assert result.exit_code == 2
    assert result.output.startswith(f"error: {said}")
    assert not (tmp_path / "model").exists()


@pytest.fixture
def model(storyline: Command, questions: Path, tmp_path: Path) -> Path:
    out = tmp_path / "model"
    assert storyline("train", "classify", questions, *TEXT, "--out", out, *QUICK).exit_code == 0
    return out


def test_a_model_is_not_replaced_unasked(storyline: Command, questions: Path, model: Path) -> None:
    before = (model / "model.safetensors").read_bytes()
    result = storyline("train", "classify", questions, *TEXT, "--out", model, *QUICK, "--seed", "3")
    assert result.exit_code == 2
    assert "--overwrite" in result.output
    assert (model / "model.safetensors").read_bytes() == before
    result = storyline(
        "train", "classify", questions, *TEXT, "--out", model, *QUICK, "--seed", "3", "--overwrite"
    )
    assert result.exit_code == 0
    assert (model / "model.safetensors").read_bytes() != before


def test_damaged_model_folders(storyline: Command, questions: Path, model: Path) -> None:
    weights = model / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-10])
    assert "truncated" in storyline("evaluate", model, questions).output
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    result = storyline("evaluate", model, questions)
    assert result.exit_code == 2
    assert "altered" in result.output
    weights.unlink()
    assert "missing" in storyline("evaluate", model, questions).output


def test_an_unseen_label(storyline: Command, questions: Path, model: Path, tmp_path: Path) -> None:
    test = tmp_path / "test.csv"
    test.write_text("question,kind\nwhen was it,time\n", encoding="utf-8")
    result = storyline("evaluate", model, test)
    assert result.exit_code == 2
    assert "time" in result.output
    assert "person" in result.output


def test_a_label_that_only_the_validation_file_has(
    storyline: Command, questions: Path, tmp_path: Path
) -> None:
    held_out = tmp_path / "held_out.csv"
    held_out.write_text("question,kind\nwho was it,person\nwhen was it,time\n", encoding="utf-8")
    more = ("--validation", held_out, "--out", tmp_path / "model")
    result = storyline("train", "classify", questions, *TEXT, *more, *QUICK)
    assert result.exit_code == 2
    assert "held_out.csv, line 3, column 'kind': the label 'time' was not seen in training" in result.output
    assert not (tmp_path / "model").exists()


def test_tags_that_do_not_fit(storyline: Command, sentences: Path, tmp_path: Path) -> None:
    new, out = tmp_path / "new.jsonl", tmp_path / "model"
    new.write_text('{"tokens": ["the"], "tags": ["DET"]}\n{"tokens": ["the", "dog"], "tags": ["DET", "N"]}\n')
    said = "new.jsonl, line 2, column 'tags', step 2 ('dog'): the tag 'N' was not seen in training"
    result = storyline("train", "tag", sentences, "--validation", new, "--out", out, *QUICK)
    assert result.exit_code == 2
    assert said in result.output
    assert storyline("train", "tag", sentences, "--out", out, *QUICK).exit_code == 0
    result = storyline("evaluate", out, new)
    assert result.exit_code == 2
    assert said in result.output
    assert "reads no --text" in storyline("predict", out, new, "--text", "tokens").output
    new.write_text('{"tokens": ["the", "the"], "tags": ["DET", "DET"]}\n')
    result = storyline("train", "tag", new, "--out", tmp_path / "other")
    assert "new.jsonl, column 'tags': the only tag is 'DET'; a tagger needs at least two" in result.output


def test_a_table_that_cannot_be_handled(
    storyline: Command, model: Path, questions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bytes:
        raise pl.exceptions.ComputeError("no such type\n\nConsider another.")

    monkeypatch.setattr("storyline.cli.predict.encoded", broken)
    result = storyline("predict", model, questions)
    assert result.exit_code == 2
    assert result.output.startswith("error: the table cannot be handled: no such type; ")
    assert len(result.output.strip().splitlines()) == 1


def test_a_wrong_kind_of_model(storyline: Command, questions: Path, model: Path) -> None:
    assert "classify" in storyline("generate", model, "--prompt", "who").output
    result = storyline("predict", model, questions, "--out", "answers.xlsx")
    assert result.exit_code == 2
    assert ".parquet" in result.output


def test_nothing_to_resume(storyline: Command, model: Path, tmp_path: Path) -> None:
    assert "finished" in storyline("train", "--resume", model).output
    assert "no run to resume" in storyline("train", "--resume", tmp_path / "nowhere").output


def start(questions: Path, out: Path) -> subprocess.Popen[str]:
    """The same training long enough to be stopped in its middle, in a process of its own."""
    settings = ("--epochs", "200", "--hidden-size", "8", "--threads", "1", "--set", "checkpoint_every=5")
    command = [
        sys.executable,
        "-m",
        "storyline",
        "train",
        "classify",
        str(questions),
        *TEXT,
        "--out",
        str(out),
        *settings,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_checkpoint(process: subprocess.Popen[str], out: Path) -> None:
    until = time.monotonic() + 60
    while not (out / "checkpoints" / "manifest.json").exists():
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < until
        time.sleep(0.02)


def test_stopped_killed_and_resumed_is_the_same_model(
    storyline: Command, questions: Path, tmp_path: Path
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    undisturbed = start(questions, whole)
    process = start(questions, stopped)
    wait_for_checkpoint(process, stopped)
    busy = storyline("train", "classify", questions, *TEXT, "--out", stopped, *QUICK, "--overwrite")
    assert busy.exit_code == 2
    assert f"process {process.pid}" in busy.output
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert f"storyline train --resume {stopped}" in said
    assert "unfinished" in storyline("train", "classify", questions, *TEXT, "--out", stopped, *QUICK).output

    command = [sys.executable, "-m", "storyline", "train", "--resume", str(stopped)]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    time.sleep(float(os.environ.get("STORYLINE_KILL_AFTER", "3")))
    killed.kill()
    killed.communicate()
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    said, _ = undisturbed.communicate(timeout=120)
    assert undisturbed.returncode == 0, said
    if finished.returncode != 0:  # the second run was quick enough to finish before its kill
        assert "finished" in finished.stderr
    assert (stopped / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert not (stopped / "checkpoints").exists()

    def timeless(folder: Path) -> list[dict[str, object]]:
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]

    assert timeless(stopped) == timeless(whole)


def test_changed_data_is_not_resumed(storyline: Command, questions: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    process = start(questions, out)
    wait_for_checkpoint(process, out)
    process.kill()
    process.communicate()
    questions.write_text(questions.read_text(encoding="utf-8") + "who else,person\n", encoding="utf-8")
    result = storyline("train", "--resume", out)
    assert result.exit_code == 2
    assert "has changed" in result.output


def test_help_is_quick_and_loads_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['storyline', '--help']\n"
        "from storyline.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
