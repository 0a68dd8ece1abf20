"""Bytes brought to the disk: a file whole or not at all, folders, and in words why it could not be done."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NEW = ".new"  # what a file is called until it takes its place
_WRITE_BYTES = 1 << 20

StrPath = str | os.PathLike[str]


class ArtifactError(ValueError):
    """A model folder that cannot be read, written or locked; the message says why and what to do."""


def write_whole(path: StrPath, data: str | bytes) -> None:
    """Write a single file so that a kill leaves the old one or the new one, whole; parents are made.

    Errors: ArtifactError when the disk is full or not writable; then nothing of the new file is left; and where a
    device or a pipe stands in its place, which would be replaced by a file.
    """
    target = Path(path)
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise ArtifactError(f"{target} is no file but a device or a pipe; name a file")
    temporary = target.with_name(f"{target.name}{NEW}")
    with explained(target):
        make_folder(target.parent)
        try:
            write_synced(temporary, data.encode("utf-8") if isinstance(data, str) else data)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        temporary.replace(target)
        sync_folder(target.parent)


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and bring its bytes to the disk; its entry in the folder is not synced."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view[:_WRITE_BYTES]) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make `folder` and its parents, each entry synced to the disk."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for child in reversed(missing):
        child.mkdir(exist_ok=True)
        sync_folder(child.parent)


def sync_folder(folder: Path) -> None:
    """Bring the folder's entries (new names, renames, removals) to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the operating system says about `path` into one sentence for the user."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise ArtifactError(
                f"the disk is full: {path} could not be written ({os.strerror(error.errno)}); "
                "what was there is unchanged; free some space and try again"
            ) from error
        where = error.filename or path
        raise ArtifactError(f"{path} cannot be used: {where}: {error.strerror or error}") from error
