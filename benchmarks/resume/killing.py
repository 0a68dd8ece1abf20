"""A child process for a run, and the ways to kill it: after a time, or at its n-th operation on the disk."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.resume.programs import CASES
from storyline import artifact
from storyline.training import CheckpointEvent, Event, Listener, train

OPERATIONS = ("mkdir", "write", "fsync", "replace", "unlink", "rmdir")


@dataclass(frozen=True)
class Kill:
    """When to kill: after `seconds`, or at operation number `operation` (before it, or a write half done)."""

    seconds: float | None = None
    operation: int | None = None
    half: bool = False


def run_once(case: str, folder: Path, *, resume: bool, kill: Kill | None, count: Path | None = None) -> bool:
    """Train in a forked child; True where it came to its end, False where it was killed.

    The child trains, then saves the model, as a task does. `count` gets, as JSON, the names of its operations on
    the disk, a list for each checkpoint and one for the model.
    """
    child = os.fork()
    if child == 0:
        _child(case, folder, resume, kill, count)
    if kill is not None and kill.seconds is not None:
        time.sleep(kill.seconds)
        os.kill(child, signal.SIGKILL)  # a child that has ended is a zombie until it is waited for
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    if status != 0:
        raise RuntimeError(f"the run failed with status {status}; its traceback is above")
    return True


def outcome(folder: Path) -> dict[str, str]:
    """Digests by name of all that a run left: model, averaged and best weights, optimizer, generators, metrics.

    Of seconds nothing is taken: neither the field in metrics.jsonl nor the counter.
    """
    generation = max((folder / "checkpoints").glob("[0-9]*"), key=lambda path: int(path.name))
    left: dict[str, str] = {}
    for place, part in (("checkpoint", artifact.load(generation)), ("saved", artifact.load(folder))):
        for name, tensor in part.tensors.items():
            kind = f"{tensor.dtype} {tuple(tensor.shape)}".encode()
            left[f"{place}: {name}"] = hashlib.sha256(kind + tensor.numpy().tobytes()).hexdigest()
        config = dict(part.config)
        if "counters" in config:
            config["counters"] = {k: v for k, v in config["counters"].items() if k != "seconds"}
        left |= {f"{place}: {name}": json.dumps(value, sort_keys=True) for name, value in config.items()}
    for number, line in enumerate((folder / "metrics.jsonl").read_text().splitlines(), 1):
        kept = {k: v for k, v in json.loads(line).items() if k != "seconds"}
        left[f"metrics.jsonl, line {number}"] = json.dumps(kept)
    return left


def _child(case: str, folder: Path, resume: bool, kill: Kill | None, count: Path | None) -> None:
    status = 1
    try:
        names: list[str] = []
        ends: list[int] = []
        if count is not None or (kill is not None and kill.operation is not None):
            _watch_operations(names, kill)
        make, settings = CASES[case]
        program = make()
        result = train(program, settings, folder=folder, resume=resume, events=[_ends_of_saves(names, ends)])
        # History's seconds vary; what else the result says is compared by way of the saved model.
        config = {"steps": result.steps, "best": result.best, "clipped_share": result.clipped_share}
        with artifact.locked(folder):
            artifact.save(folder, config=config, tensors=program.module.state_dict())
        if count is not None:
            ends.append(len(names))
            count.write_text(json.dumps([names[a:b] for a, b in pairwise([0, *ends])]))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _ends_of_saves(names: list[str], ends: list[int]) -> Listener:
    def note(event: Event) -> None:
        if isinstance(event, CheckpointEvent):
            ends.append(len(names))

    return note


def _watch_operations(names: list[str], kill: Kill | None) -> None:
    """Count the operations on the disk, and die at the chosen one."""

    def watched(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **named: Any) -> Any:
            names.append(name)
            if kill is not None and kill.operation == len(names) - 1:
                if kill.half and name == "write":
                    descriptor, data = arguments
                    original(descriptor, data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **named)

        return operation

    for name in OPERATIONS:
        setattr(os, name, watched(name, getattr(os, name)))
