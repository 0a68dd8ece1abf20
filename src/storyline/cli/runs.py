"""A run: which file, which columns, which settings. Kept in the model folder and read again by --resume, evaluate,
predict and memory, so that all of them parse the data in one way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

TASKS = ("classify", "language", "tag", "translate", "summarise", "answer", "chat")
FINISHED = "run.json"  # a document of the saved model, under its checksums
UNFINISHED = "unfinished.json"  # there while a run is not finished; the model it will replace stays untouched


@dataclass(frozen=True)
class Run:
    """What `storyline train` was asked to do.

    `files` maps a role (train, validation, unlabelled, vectors; train_target and validation_target, where the targets
    stand in a file of their own) to a path or URI, `checksums` the same role to the sha256 of a local file; `columns`
    are the names the parser needs; `settings` the estimator's arguments.
    """

    task: str
    files: dict[str, str]
    columns: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    def located(self) -> Self:
        """The same run with absolute paths, so that it is found again from any working directory."""
        files = {role: located(source) for role, source in self.files.items()}
        return replace(self, files=files)

    @classmethod
    def unfinished(cls, folder: Path) -> Self:
        """The run that was interrupted in a folder; ValueError where there is none."""
        from storyline import artifact

        path = folder / UNFINISHED
        if path.is_file():
            return cls._parse(path.read_bytes(), path)
        if artifact.exists(folder):
            raise ValueError(f"the run in {folder} is finished; there is nothing to resume")
        raise ValueError(f"{folder} holds no run to resume; check the path")

    @classmethod
    def finished(cls, folder: Path) -> Self:
        """The run that trained the model of a folder; ValueError where `storyline train` did not write it."""
        from storyline import artifact

        text = artifact.read_document(folder, FINISHED)
        if text is None:
            raise ValueError(
                f"{folder} has no {FINISHED}: it was not written by `storyline train`, so the columns are not known; "
                f"use it from Python, with storyline.load({str(folder)!r})"
            )
        return cls._parse(text, folder / FINISHED)

    @classmethod
    def _parse(cls, text: bytes, path: Path) -> Self:
        try:
            given = json.loads(text)
        except ValueError as problem:
            wrong: str | None = str(problem)
        else:
            wrong = _fault(given)
        if wrong is not None:
            raise ValueError(
                f"{path} is damaged ({wrong}); train again with --overwrite, or into a new folder"
            )
        return cls(**given)


def _fault(given: Any) -> str | None:
    """What is wrong with the JSON of a run; None where nothing is."""
    if not isinstance(given, dict):
        return f"it holds a JSON {type(given).__name__}, not an object"
    if unknown := given.keys() - {field.name for field in fields(Run)}:
        return f"unknown {min(unknown)!r}"
    if given.get("task") not in TASKS:
        return f"task is {given.get('task')!r}, not one of {', '.join(TASKS)}"
    for name in ("files", "columns", "settings", "checksums"):
        if not isinstance(given.get(name, {}), dict):
            return f"{name} is {given[name]!r}, not an object"
    if wrong := column_fault(given.get("columns", {})):
        return f"columns.{wrong}"
    files, checksums = given.get("files", {}), given.get("checksums", {})
    if "train" not in files:
        return "files names no train"
    for name, found in (("files", files), ("checksums", checksums)):
        for role, value in found.items():
            if not isinstance(value, str):
                return f"{name}.{role} is {value!r}, not a string"
    if unnamed := checksums.keys() - files.keys():
        return f"checksums has {min(unnamed)!r}, which files has not"
    return None


def column_fault(columns: Mapping[str, Any]) -> str | None:
    """What is wrong with the first column that is given as something else than names; None where none is."""
    for name, value in columns.items():
        if name == "header":
            if not isinstance(value, bool):
                return f"{name} is {value!r}, neither true nor false"
        elif not all(isinstance(part, str) for part in (value if isinstance(value, list) else [value])):
            return f"{name} is {value!r}, not a name, nor a list of names"
    return None


def located(source: str) -> str:
    """An absolute path for a relative one; a URI as it is."""
    return source if "://" in source else str(Path(source).absolute())


def checksum(source: str) -> str | None:
    """sha256 of a local file, None for a URI (which is not checked on resume)."""
    path = Path(source)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums(files: Mapping[str, str]) -> dict[str, str]:
    found = {role: checksum(source) for role, source in files.items()}
    return {role: digest for role, digest in found.items() if digest is not None}


def refuse_changed_data(run: Run) -> None:
    """Raise ValueError if a file differs from the one the run began with: no resume could equal it then."""
    for role, digest in run.checksums.items():
        now = checksum(run.files[role])
        if now != digest:
            what = "is gone" if now is None else "has changed"
            raise ValueError(
                f"{run.files[role]} {what} since the run began, so resuming cannot give the same model; "
                f"restore the file, or train again with --overwrite"
            )
