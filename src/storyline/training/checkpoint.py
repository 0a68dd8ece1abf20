"""Checkpoints of a run: FOLDER/checkpoints/STEP/ in the artifact format, two generations, a manifest last."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from storyline import artifact
from storyline.artifact import Artifact, ArtifactError
from storyline.training.errors import TrainingError

CHECKPOINTS, METRICS = "checkpoints", "metrics.jsonl"
_MANIFEST, _REMOVED = "manifest.json", "checkpoints.removed"
_GENERATIONS = 2


@dataclass(frozen=True)
class FoundRun:
    """A run that left checkpoints: its newest readable step, whether its training finished, its settings."""

    step: int
    finished: bool
    settings: dict[str, Any]


def save_checkpoint(
    folder: Path, step: int, *, config: Mapping[str, Any], tensors: Mapping[str, Tensor], metrics: str
) -> Path:
    """Write generation `step`, then the manifest, then metrics.jsonl, then drop older generations.

    A kill leaves a readable generation; a full disk raises ArtifactError and leaves the old ones.
    """
    root = folder / CHECKPOINTS
    target = root / str(step)
    older = [known for known in _generations(root) if known < step]
    was_there = target.exists()
    try:
        artifact.save(target, config=config, tensors=tensors, documents={METRICS: metrics})
    except BaseException:
        if not was_there and not artifact.exists(target):
            shutil.rmtree(target, ignore_errors=True)
        raise
    kept = [step, *older][:_GENERATIONS]
    artifact.write_whole(root / _MANIFEST, json.dumps({"generations": kept}) + "\n")
    artifact.write_whole(folder / METRICS, metrics)
    for path in root.iterdir():
        if path.is_dir() and path.name not in map(str, kept):
            shutil.rmtree(path)
    return target


def load_checkpoint(folder: Path, say: Callable[[str], None]) -> Artifact | None:
    """The newest generation that reads whole; each damaged one before it is said. None where there is none.

    Errors: TrainingError when there are generations and all are damaged.
    """
    root = folder / CHECKPOINTS
    if not (root / _MANIFEST).exists():
        say = _nothing  # the very first save was cut short: half of a checkpoint there is no damage
    refused = []
    for step in _generations(root):
        try:
            return artifact.load(root / str(step))
        except ArtifactError as error:
            refused.append(str(error))
            say(f"the checkpoint of step {step} cannot be used ({error}); the one before it is taken")
    if refused and (root / _MANIFEST).exists():
        raise TrainingError(
            f"no checkpoint in {root} can be used ({refused[-1]}); remove {root} to train from the beginning"
        )
    return None


def find_run(folder: str | os.PathLike[str]) -> FoundRun | None:
    """The run that `train(..., resume=True)` would go on with; None where the folder holds none."""
    found = load_checkpoint(Path(folder), _nothing)
    if found is None:
        return None
    counters = found.config["counters"]
    return FoundRun(counters["step"], counters["finished"], found.config["settings"])


def remove_checkpoints(folder: str | os.PathLike[str]) -> None:
    """Drop a run's checkpoints, when its model is saved or to train anew; one rename, so never half."""
    root, removed = Path(folder) / CHECKPOINTS, Path(folder) / _REMOVED
    if removed.exists():
        shutil.rmtree(removed)
    if root.exists():
        root.replace(removed)
        artifact.sync_folder(Path(folder))
        shutil.rmtree(removed)


def _nothing(message: str) -> None:
    """Say nothing."""


def _generations(root: Path) -> list[int]:
    """Steps, newest first: the manifest's, or the folders' own where it is missing or damaged."""
    try:
        steps = [int(step) for step in json.loads((root / _MANIFEST).read_bytes())["generations"]]
    except (OSError, ValueError, KeyError, TypeError):
        steps = [int(path.name) for path in root.glob("*") if path.name.isdigit()]
    return sorted(steps, reverse=True)
