"""A folder kept to one run, with flock."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storyline.artifact.disk import ArtifactError, StrPath, explained, make_folder

_LOCK = ".lock"


_held: dict[tuple[str, int, int], int] = {}


@contextmanager
def locked(folder: StrPath) -> Iterator[None]:
    """Keep `folder` (made where absent) to this run; a thread that holds it may take it again.

    Errors: ArtifactError naming the process that holds it.
    """
    target = Path(folder)
    key = (os.path.realpath(target), os.getpid(), threading.get_ident())
    if _held.get(key, 0):
        _held[key] += 1
        try:
            yield
        finally:
            _held[key] -= 1
        return
    with explained(target):
        make_folder(target)
        descriptor = os.open(target / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with explained(target):
            _take(descriptor, target)
        _held[key] = 1
        try:
            yield
        finally:
            del _held[key]
    finally:
        os.close(descriptor)


def _take(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(descriptor)
        raise ArtifactError(
            f"{folder} is in use by another run (process {holder}); wait for it, or name another folder"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def _holder(descriptor: int) -> str:
    """The process id in the lock file; its owner may be about to write it, so wait up to half a second."""
    for _ in range(50):
        text = os.pread(descriptor, 32, 0).decode("ascii", "replace")
        if text:
            return text
        time.sleep(0.01)
    return "unknown"
