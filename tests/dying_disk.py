"""A disk that fails at a chosen operation: the process dies, the space runs out, or the power goes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_CHANGES = ("mkdir", "write", "fsync", "replace", "unlink", "rmdir")


class Died(BaseException):
    """The process was killed: no handler of it does anything on the disk any more."""


@contextmanager
def disk(folder: Path, **named: Any) -> Iterator[Disk]:
    """Within it the process works on such a disk, looked at from `folder`."""
    with pytest.MonkeyPatch.context() as patch:
        watched = Disk(patch, folder, **named)
        try:
            yield watched
        finally:
            watched.close()


class Disk:
    """Counts operations; from number `die_at` on nothing reaches the disk, from `full_at` on no byte more does.

    It also follows what is durable: contents and folder entries as their last fsync left them.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        folder: Path,
        *,
        die_at: int | None = None,
        full_at: int | None = None,
        half: bool = False,
    ):
        self.folder, self.die_at, self.full_at, self.half = folder, die_at, full_at, half
        self.operations: list[str] = []
        self.original = {name: getattr(os, name) for name in (*_CHANGES, "open", "close")}
        self.contents: dict[int, bytes] = {}
        self.entries: dict[str, int] = {}
        self.kept_open: list[int] = []
        if folder.is_dir():
            for path in folder.iterdir():
                if path.is_file():
                    self._keep(path)
                    self.contents[path.stat().st_ino] = path.read_bytes()
            self._note_entries()
        for name in _CHANGES:
            monkeypatch.setattr(os, name, self._watched(name))
        monkeypatch.setattr(os, "open", self._open)

    def after_power_cut(self, place: Path, *, survives: Callable[[str], bool]) -> Path:
        """What a power cut now would leave: contents not synced are lost.

        A change of an entry that its folder's fsync has not covered is there where its name `survives`: a file
        system may bring changes to the disk in any order. A rename is one change, so NAME and NAME.new share a fate.
        """
        live = {path.name: path.stat().st_ino for path in self.folder.iterdir() if path.is_file()}
        self.original["mkdir"](place)
        for name in live.keys() | self.entries.keys():
            inode = (live if survives(name.removesuffix(".new")) else self.entries).get(name)
            if inode is not None:
                (place / name).write_bytes(self.contents.get(inode, b""))
        return place

    def close(self) -> None:
        for descriptor in self.kept_open:
            self.original["close"](descriptor)

    def _watched(self, name: str) -> Callable[..., Any]:
        def operation(*arguments: Any, **named: Any) -> Any:
            number = len(self.operations)
            self.operations.append(name)
            if self.die_at is not None and number >= self.die_at:
                if self.half and name == "write" and number == self.die_at:
                    self.original["write"](arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise Died
            if self.full_at is not None and number >= self.full_at and name in ("mkdir", "write", "fsync"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            answer = self.original[name](*arguments, **named)
            if name == "fsync":
                self._synced(arguments[0])
            return answer

        return operation

    def _open(self, path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if self.die_at is not None and len(self.operations) > self.die_at:
            raise Died
        descriptor: int = self.original["open"](path, flags, *arguments, **named)
        if flags & os.O_TRUNC:
            self.contents[os.fstat(descriptor).st_ino] = b""
            self._keep(Path(path))
        return descriptor

    def _keep(self, path: Path) -> None:
        """An inode that is held open is not given to another file, so that its number stays its name."""
        self.kept_open.append(self.original["open"](path, os.O_RDONLY))

    def _synced(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if not stat.S_ISDIR(status.st_mode):
            self.contents[status.st_ino] = path.read_bytes()
        elif path == self.folder.resolve():
            self._note_entries()

    def _note_entries(self) -> None:
        self.entries = {path.name: path.stat().st_ino for path in self.folder.iterdir()}
