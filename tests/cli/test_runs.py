"""What a run keeps in its folder, and how it is found there again: after a kill, from elsewhere, damaged."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from command_line import QUICK, Command

from dying_disk import Died, disk
from storyline import artifact
from storyline.cli.runs import FINISHED, UNFINISHED, Run

TEXT = ("--text", "question", "--label", "kind")
RUN = Run("classify", {"train": "questions.csv"}, {"text": "question", "label": "kind"})

# The network is made before the first checkpoint, as word vectors are.
BEFORE_THE_FIRST_CHECKPOINT = """
import os, sys
from storyline.cli import main
from storyline.tasks import classifier
classifier.new_classifier = lambda *arguments: os.kill(os.getpid(), {signal})
sys.argv = ["storyline", *sys.argv[1:]]
main()
"""


def stopped(number: signal.Signals, *arguments: str | Path, cwd: Path | None = None) -> tuple[int, str]:
    """Exit code and standard error of a command that gets a signal before its first checkpoint."""
    code = BEFORE_THE_FIRST_CHECKPOINT.format(signal=int(number))
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture
def whole(storyline: Command, questions: Path, tmp_path: Path) -> Path:
    """The model of a run that nothing stopped."""
    out = tmp_path / "whole"
    assert storyline("train", "classify", questions, *TEXT, "--out", out, *QUICK).exit_code == 0
    return out


def test_overwriting_killed_before_its_first_checkpoint_is_resumed_from_the_beginning(
    storyline: Command, questions: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    train = ("train", "classify", questions, *TEXT, "--out", out, *QUICK)
    assert storyline(*train, "--seed", "3").exit_code == 0
    old = weights(out)
    assert stopped(signal.SIGKILL, *train, "--overwrite")[0] == -signal.SIGKILL
    assert weights(out) == old
    assert (out / UNFINISHED).is_file()
    resumed = storyline("train", "--resume", out)
    assert resumed.exit_code == 0, resumed.output
    assert weights(out) == weights(whole) != old
    assert not (out / UNFINISHED).exists()
    assert "is finished; there is nothing to resume" in storyline("train", "--resume", out).output


def test_a_run_is_resumed_from_another_working_directory(
    storyline: Command, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = (
        "train",
        "classify",
        questions.name,
        *TEXT,
        "--out",
        "model",
        *QUICK,
        "--validation",
        questions.name,
    )
    assert stopped(signal.SIGKILL, *train, cwd=tmp_path)[0] == -signal.SIGKILL
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    resumed = storyline("train", "--resume", "../model")
    assert resumed.exit_code == 0, resumed.output
    files = Run.finished(tmp_path / "model").files
    assert files == {"train": str(questions), "validation": str(questions)}


def test_ctrl_c_before_the_first_checkpoint_says_how_to_go_on(questions: Path, tmp_path: Path) -> None:
    out = tmp_path / "a model"
    code, said = stopped(signal.SIGINT, "train", "classify", questions, *TEXT, "--out", out, *QUICK)
    assert code == 130
    assert said == (
        f"error: interrupted: before its first checkpoint; `storyline train --resume '{out}'` begins it again\n"
    )
    assert (out / UNFINISHED).is_file()


def test_a_folder_that_another_run_took_meanwhile_is_refused_under_the_lock(
    storyline: Command, questions: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from storyline.cli import estimators

    out, read = tmp_path / "model", estimators.read_examples

    def slowly(*arguments: Any, **named: Any) -> Any:
        if not out.exists():
            whole.rename(out)  # another run finishes while this one reads its data
        return read(*arguments, **named)

    monkeypatch.setattr(estimators, "read_examples", slowly)
    before = weights(whole)
    result = storyline("train", "classify", questions, *TEXT, "--out", out, *QUICK, "--seed", "3")
    assert result.exit_code == 2
    assert "already holds a model; pass --overwrite" in result.output
    assert weights(out) == before
    assert not (out / UNFINISHED).exists()


def test_a_run_that_finished_or_changed_meanwhile_is_not_resumed(
    storyline: Command, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from storyline.cli import estimators

    out, read = tmp_path / "model", estimators.read_examples
    train = ("train", "classify", questions, *TEXT, "--out", out, *QUICK)
    assert stopped(signal.SIGKILL, *train)[0] == -signal.SIGKILL
    begun = (out / UNFINISHED).read_bytes()

    def slowly(*arguments: Any, **named: Any) -> Any:
        (out / UNFINISHED).write_bytes(begun.replace(b'"hidden_size": 8', b'"hidden_size": 9'))
        return read(*arguments, **named)

    monkeypatch.setattr(estimators, "read_examples", slowly)
    result = storyline("train", "--resume", out)
    assert result.exit_code == 2
    assert "another run was begun" in result.output
    assert not artifact.exists(out)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ("[1]", "it holds a JSON list, not an object"),
        ('{"task": "classify", "files": {}}', "files names no train"),
        ('{"task": "classify", "files": "a.csv"}', "files is 'a.csv', not an object"),
        ('{"task": "classify", "files": {"train": 5}}', "files.train is 5, not a string"),
        (
            '{"task": "sing", "files": {"train": "a.csv"}}',
            "task is 'sing', not one of classify, language, tag",
        ),
        ('{"files": {"train": "a.csv"}}', "task is None, not one of"),
        ('{"task": "tag", "files": {"train": "a"}, "settings": [1]}', "settings is [1], not an object"),
        ('{"task": "tag", "files": {"train": "a"}, "columns": {"tags": 5}}', "columns.tags is 5, not a name"),
        (
            '{"task": "tag", "files": {"train": "a"}, "checksums": {"test": "b"}}',
            "checksums has 'test', which",
        ),
        ('{"task": "tag", "files": {"train": "a"}, "date": 1}', "unknown 'date'"),
    ],
)
def test_a_damaged_unfinished_run_is_refused_in_a_sentence(
    storyline: Command, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / UNFINISHED).write_text(text, encoding="utf-8")
    result = storyline("train", "--resume", tmp_path)
    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 1
    assert f"{UNFINISHED} is damaged ({said}" in result.output
    assert result.output.endswith("); train again with --overwrite, or into a new folder\n")


def test_a_setting_that_no_task_has_is_refused(storyline: Command, questions: Path, tmp_path: Path) -> None:
    run = json.loads(RUN.to_json()) | {"files": {"train": str(questions)}, "settings": {"hiden_size": 8}}
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / UNFINISHED).write_text(json.dumps(run), encoding="utf-8")
    result = storyline("train", "--resume", tmp_path / "model")
    assert result.exit_code == 2
    assert "unknown setting 'hiden_size'; did you mean 'hidden_size'?" in result.output


def test_a_kill_while_the_model_is_saved_leaves_the_run_that_belongs_to_it(tmp_path: Path) -> None:
    old, new = RUN, Run("tag", {"train": "sentences.jsonl"})

    def save(folder: Path, run: Run) -> None:
        artifact.save(
            folder, config={}, tensors={"weight": torch.ones(2)}, documents={FINISHED: run.to_json()}
        )

    save(tmp_path / "whole", old)
    with disk(tmp_path / "whole") as watched:
        save(tmp_path / "whole", new)
    for number in range(len(watched.operations)):
        folder = tmp_path / str(number)
        save(folder, old)
        with disk(folder, die_at=number), pytest.raises(Died):
            save(folder, new)
        assert Run.finished(folder) == (new if number > watched.operations.index("replace") else old)
    (folder / FINISHED).write_text(old.to_json(), encoding="utf-8")
    with pytest.raises(artifact.ArtifactError, match=r"run\.json (was altered|is truncated)"):
        Run.finished(folder)


@pytest.mark.parametrize("module", ["typer", "torch", "lightning_fabric", "storyline.training.loop"])
def test_ctrl_c_while_modules_are_imported_is_a_sentence(
    module: str, questions: Path, tmp_path: Path
) -> None:
    code = f"""
import sys
class Pressed:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Pressed())
from storyline.cli import main
sys.argv = ["storyline", *sys.argv[1:]]
main()
"""
    out = tmp_path / "model"
    command = [sys.executable, "-c", code, "train", "classify", str(questions), *TEXT, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert done.stderr.startswith("error: interrupted: the command did not ")
    assert len(done.stderr.splitlines()) == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("run_trial", "nothing was written"),
        ("save", "not all of the results are in {out}; run the demo again"),
    ],
)
def test_ctrl_c_in_the_demo_says_what_was_written(
    storyline: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, said: str
) -> None:
    from storyline.cli import demo, demo_report
    from storyline.training import Interrupted

    def pressed(*arguments: Any, **named: Any) -> Any:
        raise Interrupted(7, None)

    trial = SimpleNamespace(model=None)
    monkeypatch.setattr(demo, "SEQUENCES", 100)
    monkeypatch.setattr(demo, "run_trial", lambda *given, **named: trial)
    monkeypatch.setattr(demo, "first_digit_alone", lambda *pools: 0.5)
    monkeypatch.setattr(demo_report, "print_results", lambda *shown: None)
    monkeypatch.setattr(demo, place, pressed)
    out = tmp_path / "demo"
    result = storyline("demo", "--out", out)
    assert result.exit_code == 130
    assert result.output.endswith(f"error: interrupted: {said.format(out=out)}\n")
    assert not out.exists()
