from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import torch
from small import Small, newest, same, settings, weights, without_seconds

from dying_disk import Died, disk
from storyline import artifact
from storyline.artifact import ArtifactError
from storyline.training import (
    Event,
    ResumeEvent,
    TrainingError,
    TrainingResult,
    WarningEvent,
    find_run,
    remove_checkpoints,
    train,
)
from storyline.training.checkpoint import load_checkpoint, save_checkpoint


class Dies(Small):
    """Its process dies in step `at`."""

    at, times = 23, 0

    def loss(self, item, carry):  # type: ignore[no-untyped-def]
        self.times += self.module.training
        if self.times == self.at:
            raise Died
        return super().loss(item, carry)


def dead_run(folder: Path, at: int = 23) -> None:
    program = Dies()
    program.at = at
    with pytest.raises(Died):
        train(program, settings(checkpoint_every=5, average=0.9), folder=folder)


def finished_like_one_never_stopped(folder: Path) -> list[Event]:
    """Resume, compare with a run never stopped, and give the resumed run's events."""
    events: list[Event] = []
    resumed, never = Small(), Small()
    one = train(
        resumed, settings(checkpoint_every=5, average=0.9), folder=folder, resume=True, events=[events.append]
    )
    other_folder = folder.with_name(f"{folder.name} never stopped")
    other = train(never, settings(checkpoint_every=5, average=0.9), folder=other_folder)
    assert same(weights(resumed), weights(never))
    assert same(newest(folder).tensors, newest(other_folder).tensors)
    assert comparable(one) == comparable(other)
    return events


def comparable(result: TrainingResult) -> tuple[object, ...]:
    history = without_seconds(result.history)
    norms = result.clipped_share, result.gradient_norm
    return result.steps, result.epochs, history, result.best, norms, result.stopped_early


def test_two_generations_are_kept_and_the_older_serves_where_the_newer_is_damaged(tmp_path: Path) -> None:
    run = tmp_path / "run"
    dead_run(run)
    root = run / "checkpoints"
    assert sorted(path.name for path in root.iterdir()) == ["15", "20", "manifest.json"]
    damaged = root / "20" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-7])
    found = find_run(run)
    assert found is not None
    assert (found.step, found.finished, found.settings["learning_rate"]) == (15, False, 0.01)
    events = finished_like_one_never_stopped(run)
    warnings = [event.message for event in events if isinstance(event, WarningEvent)]
    assert len(warnings) == 1
    assert "the checkpoint of step 20 cannot be used" in warnings[0]
    assert "is truncated" in warnings[0]
    assert ResumeEvent(15, False) in events


@pytest.mark.parametrize("text", [None, "", "{}", '{"generations": "x"}'])
def test_without_a_readable_manifest_the_folders_speak(tmp_path: Path, text: str | None) -> None:
    run = tmp_path / "run"
    dead_run(run)
    manifest = run / "checkpoints" / "manifest.json"
    manifest.unlink() if text is None else manifest.write_text(text)
    assert ResumeEvent(20, False) in finished_like_one_never_stopped(run)


def test_where_every_generation_is_damaged_it_is_said(tmp_path: Path) -> None:
    dead_run(tmp_path / "run")
    for config in (tmp_path / "run" / "checkpoints").glob("*/config.json"):
        config.write_text("{}")
    with pytest.raises(TrainingError, match=r"no checkpoint in .* can be used .*; remove .* to train from"):
        train(Small(), settings(checkpoint_every=5, average=0.9), folder=tmp_path / "run", resume=True)


@pytest.mark.parametrize("at", [1, 2])
def test_a_death_before_the_first_steps_is_a_beginning(tmp_path: Path, at: int) -> None:
    dead_run(tmp_path / "run", at=at)
    assert ResumeEvent(0, False) in finished_like_one_never_stopped(tmp_path / "run")


def test_a_death_at_any_operation_of_the_last_save_leaves_metrics_and_model_whole(tmp_path: Path) -> None:
    now = settings(max_steps=4, log_every=2)
    never = Small()
    whole = train(never, now, folder=tmp_path / "never stopped")
    with disk(tmp_path / "counted") as watched:
        train(Small(), now, folder=tmp_path / "counted")
    last_save = watched.operations.index(
        "mkdir", 3
    )  # the folder, checkpoints/ and checkpoints/0/ come before
    for number in range(last_save, len(watched.operations)):
        folder, resumed = tmp_path / str(number), Small()
        with disk(folder, die_at=number), pytest.raises(Died):
            train(Small(), now, folder=folder)
        result = train(resumed, now, folder=folder, resume=True)
        assert comparable(result) == comparable(whole)
        assert same(weights(resumed), weights(never))
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert lines == result.history


class Worsens(Dies):
    """By its own measure the first validation is the best, so that patience runs out."""

    mode: Literal["max"] = "max"


def test_a_death_in_any_step_changes_nothing_of_early_stopping(tmp_path: Path) -> None:
    now = settings(epochs=9, patience=3, checkpoint_every=3, average=0.9, validate_every=7, clip_norm=0.4)
    never = Worsens()
    never.at = 0
    whole = train(never, now, folder=tmp_path / "never stopped")
    assert (whole.steps, whole.stopped_early) == (28, True)
    for at in range(1, 29, 3):
        folder = tmp_path / str(at)
        dying, resumed = Worsens(), Worsens()
        dying.at, resumed.at = at, 0
        with pytest.raises(Died):
            train(dying, now, folder=folder)
        assert comparable(train(resumed, now, folder=folder, resume=True)) == comparable(whole)
        assert same(weights(resumed), weights(never))
        assert same(newest(folder).tensors, newest(tmp_path / "never stopped").tensors)


@pytest.mark.parametrize("average", [None, 0.9])
def test_a_death_in_any_step_changes_nothing_of_the_mean_weights(
    tmp_path: Path, average: float | None
) -> None:
    now = settings(average_last=3, checkpoint_every=3, average=average, validate_every=7, restore_best=False)
    never = Small()
    whole = train(never, now, folder=tmp_path / "never stopped")
    assert "averaged_loss" in whole.history[-1]
    assert whole.best == {"loss": whole.history[-1]["averaged_loss"]}
    for at in (1, 8, 15, 16, 22, 28, 30):
        folder = tmp_path / str(at)
        dying, resumed = Dies(), Small()
        dying.at = at
        with pytest.raises(Died):
            train(dying, now, folder=folder)
        assert comparable(train(resumed, now, folder=folder, resume=True)) == comparable(whole)
        assert same(weights(resumed), weights(never))
        assert same(newest(folder).tensors, newest(tmp_path / "never stopped").tensors)
    again = Small()
    assert comparable(train(again, now, folder=folder, resume=True)) == comparable(whole)
    assert same(weights(again), weights(never))


def test_resuming_what_was_never_begun_begins_it(tmp_path: Path) -> None:
    assert find_run(tmp_path / "run") is None
    assert ResumeEvent(0, False) in finished_like_one_never_stopped(tmp_path / "run")


def test_a_finished_run_is_not_run_again_until_its_checkpoints_are_gone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    first, second = Small(), Small()
    one = train(first, settings(average=0.9), folder=run)
    events: list[Event] = []
    other = train(second, settings(average=0.9), folder=run, resume=True, events=[events.append])
    assert events == [ResumeEvent(30, True)]
    assert other == one
    assert same(weights(first), weights(second))
    assert len(second.losses) == 0
    with pytest.raises(
        TrainingError, match=r"holds the checkpoints of a run \(step 30\); resume it, or remove"
    ):
        train(Small(), settings(average=0.9), folder=run)
    artifact.save(run, config={}, tensors=first.module.state_dict())
    remove_checkpoints(run)
    remove_checkpoints(run)
    assert sorted(path.name for path in run.iterdir()) == [
        ".lock", "config.json", "manifest.json", "metrics.jsonl", "model.safetensors",
    ]  # fmt: skip
    with pytest.raises(TrainingError, match="a finished model and no checkpoint; there is nothing to resume"):
        train(Small(), settings(average=0.9), folder=run, resume=True)
    assert comparable(train(Small(), settings(average=0.9), folder=run)) == comparable(one)


def test_another_program_or_setting_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    dead_run(run)
    now = {"checkpoint_every": 5, "average": 0.9}
    with pytest.raises(
        TrainingError, match=r"has learning_rate = 0\.01, now it is 0\.02; resume with the same"
    ):
        train(Small(), settings(**now, learning_rate=0.02), folder=run, resume=True)
    fewer = Small()
    fewer.chunks = fewer.chunks[1:]
    with pytest.raises(TrainingError, match="batches_per_epoch = 10, now it is 9"):
        train(fewer, settings(**now), folder=run, resume=True)
    larger = Small()
    larger.module["head"] = torch.nn.Linear(6, 8)
    with pytest.raises(TrainingError, match=r"the checkpoint is of another model.*head\.weight"):
        train(larger, settings(**now), folder=run, resume=True)
    # None of the refusals touched the run; what decides only when something is kept may change.
    resumed = train(Small(), settings(average=0.9, checkpoint_seconds=1000.0), folder=run, resume=True)
    assert resumed.steps == 30


def test_other_threads_are_said(tmp_path: Path) -> None:
    dead_run(tmp_path / "run")
    events: list[Event] = []
    now = settings(checkpoint_every=5, average=0.9, threads=2)
    assert train(Small(), now, folder=tmp_path / "run", resume=True, events=[events.append]).steps == 30
    said = [event.message for event in events if isinstance(event, WarningEvent)]
    assert len(said) == 1
    assert said[0].startswith(
        "the run began with threads 1, now it is 2: it goes on, but its last bits may differ"
    )


def test_a_second_run_on_the_folder_is_refused_with_the_first_one_s_process(tmp_path: Path) -> None:
    program = f"""
import sys
from storyline import artifact
with artifact.locked({str(tmp_path)!r}):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ArtifactError, match=rf"in use by another run \(process {holder.pid}\)"):
            train(Small(), settings(), folder=tmp_path)
        holder.communicate()
    assert train(Small(), settings(max_steps=1), folder=tmp_path).steps == 1


def tensors_of(step: int) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((50,), float(step))}


def save(folder: Path, step: int) -> None:
    save_checkpoint(folder, step, config={"step": step}, tensors=tensors_of(step), metrics=f"{step}\n")


def test_a_death_at_any_operation_of_a_save_leaves_the_generation_before_or_the_new(tmp_path: Path) -> None:
    def prepared(name: str) -> Path:
        for step in (5, 10):
            save(tmp_path / name, step)
        return tmp_path / name

    with disk(prepared("whole")) as watched:
        save(tmp_path / "whole", 15)
    assert {"mkdir", "write", "fsync", "replace", "unlink", "rmdir"} <= set(watched.operations)
    found_steps = []
    for number in range(len(watched.operations)):
        folder = prepared(str(number))
        with disk(folder, die_at=number), pytest.raises(Died):
            save(folder, 15)
        said: list[str] = []
        found = load_checkpoint(folder, said.append)
        assert found is not None
        assert said == []
        found_steps.append(found.config["step"])
        assert torch.equal(found.tensors["weight"], tensors_of(found_steps[-1])["weight"])
        save(folder, 15)
        save(folder, 20)
        assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
            "15",
            "20",
            "manifest.json",
        ]
    assert found_steps == sorted(found_steps)
    assert set(found_steps) == {10, 15}


def test_a_full_disk_in_a_save_leaves_the_generations_that_were_there(tmp_path: Path) -> None:
    def prepared(name: str) -> Path:
        for step in (5, 10):
            save(tmp_path / name, step)
        return tmp_path / name

    with disk(prepared("whole")) as watched:
        save(tmp_path / "whole", 15)
    for number in range(watched.operations.index("replace")):
        folder = prepared(str(number))
        with (
            disk(folder, full_at=number),
            pytest.raises(ArtifactError, match=r"the disk is full.*free some space"),
        ):
            save(folder, 15)
        found = load_checkpoint(folder, lambda message: None)
        assert found is not None
        assert found.config["step"] == 10
        left = sorted(path.name for path in (folder / "checkpoints").iterdir())
        assert left == ["10", "5", "manifest.json"]
        assert not list(folder.rglob("*.new"))


def test_a_death_while_checkpoints_are_removed_leaves_all_or_none(tmp_path: Path) -> None:
    states = set()
    for number in range(40):
        folder = tmp_path / str(number)
        for step in (5, 10):
            save(folder, step)
        with disk(folder, die_at=number):
            try:
                remove_checkpoints(folder)
                done = True
            except Died:
                done = False
        found = load_checkpoint(folder, lambda message: None)
        states.add(found is None)
        assert found is None or found.config["step"] == 10
        remove_checkpoints(folder)
        assert [path.name for path in folder.iterdir()] == ["metrics.jsonl"]
        if done:
            break
    assert done
    assert states == {False, True}


def test_checkpoints_hold_no_pickle_and_exact_numbers(tmp_path: Path) -> None:
    dead_run(tmp_path / "run")
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".jsonl", ".safetensors", ""}  # "": the lock
    found = newest(tmp_path / "run")
    assert found.tensors["random.cpu"].dtype == torch.uint8
    assert found.config["environment"] == {"threads": "1", "torch": torch.__version__, "device": "cpu"}
    assert found.config["optimizer"][0]["betas"] == [0.9, 0.999]
    assert json.loads(json.dumps(found.config)) == found.config
    kinds = {name.split(".")[0] for name in found.tensors}
    assert kinds == {"model", "average", "best", "optimizer", "random"}  # step 20 is an epoch's end: no carry
    dead_run(tmp_path / "other", at=18)
    assert {"carry.h", "carry.c"} <= newest(tmp_path / "other").tensors.keys()
    assert os.path.getsize(tmp_path / "other" / ".lock") > 0  # noqa: PTH202
