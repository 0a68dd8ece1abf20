"""A run: which file, which columns, which settings. Kept in the model folder and read again by --resume, evaluate,
predict and memory, so that all of them parse the data in one way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FINISHED = "run.json"  # a document of the saved model, under its checksums
UNFINISHED = "unfinished.json"  # there while a run is not finished; the model it will replace stays untouched


@dataclass(frozen=True)
class Run:
    """What `storyline train` was asked to do.

    `files` maps a role (train, validation, unlabelled) to a path or URI, `checksums` the same role to the sha256 of
    a local file; `columns` are the names the parser needs; `settings` the estimator's arguments.
    """

    task: str
    files: dict[str, str]
    columns: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def unfinished(cls, folder: Path) -> Run:
        """The run that was interrupted in a folder; ValueError where there is none."""
        path = folder / UNFINISHED
        if not path.is_file():
            if (folder / FINISHED).is_file():
                raise ValueError(f"the run in {folder} is finished; there is nothing to resume")
            raise ValueError(f"{folder} holds no run to resume; check the path")
        return cls._parse(path)

    @classmethod
    def finished(cls, folder: Path) -> Run:
        """The run that trained the model of a folder; ValueError where `storyline train` did not write it."""
        path = folder / FINISHED
        if not path.is_file():
            raise ValueError(
                f"{folder} has no {FINISHED}: it was not written by `storyline train`, so the columns are not known; "
                f"use it from Python, with storyline.load({str(folder)!r})"
            )
        return cls._parse(path)

    @classmethod
    def _parse(cls, path: Path) -> Run:
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as problem:
            raise ValueError(f"{path} is damaged ({problem}); train again into a new folder") from None


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
