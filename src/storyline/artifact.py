"""A trained model on disk: config.json, model.safetensors, documents, and the manifest that makes them one.

Every file is first written whole as NAME.new; then manifest.json, with the size and SHA-256 of each, is
renamed into place. That rename is the commit point: before it the folder is the old model, after it the new
one. A file counts where NAME or NAME.new is what the manifest says, so a kill leaves one or the other.
Folders are locked with flock, so Linux and macOS. No pickle is written or read.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from storyline import __version__

FORMAT_VERSION = 1
_MANIFEST, _CONFIG, _TENSORS, _LOCK = "manifest.json", "config.json", "model.safetensors", ".lock"
_NEW = ".new"
_WRITE_BYTES = 1 << 20

StrPath = str | os.PathLike[str]


class ArtifactError(ValueError):
    """A model folder that cannot be read, written or locked; the message says why and what to do."""


@dataclass(frozen=True)
class Artifact:
    """What `load` returns: settings, weights (contiguous, on the CPU) and the documents as bytes by name."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    documents: dict[str, bytes]

    def text(self, name: str) -> str:
        """A document as text (UTF-8)."""
        if name not in self.documents:
            raise ArtifactError(f"the model has no document {name!r}; it has {sorted(self.documents)}")
        return self.documents[name].decode("utf-8")


def save(
    folder: StrPath,
    *,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    documents: Mapping[str, str | bytes] | None = None,
) -> None:
    """Write a model into `folder` (made where absent, parents too), replacing the one that is there.

    A kill or a full disk at any moment leaves exactly the old model or exactly the new one. Hold
    `locked(folder)` around it where another process may write.

    config     JSON-able; floats come back exactly
    tensors    weights by name, on any device
    documents  further files by plain file name (vocabularies and the like)
    Errors: ArtifactError when the disk is full or not writable, or a document's name is not a plain one.
    """
    target = Path(folder)
    contents = _contents(config, tensors, documents or {})
    manifest = _manifest(contents)
    with _explained(target):
        make_folder(target)
        obsolete = _settle(target) - set(contents)
        try:
            for name, data in contents.items():
                _write_synced(target / f"{name}{_NEW}", data)
            _write_synced(target / f"{_MANIFEST}{_NEW}", manifest)
            sync_folder(target)
        except BaseException:
            for name in (*contents, _MANIFEST):
                with suppress(OSError):
                    (target / f"{name}{_NEW}").unlink(missing_ok=True)
            raise
        (target / f"{_MANIFEST}{_NEW}").replace(target / _MANIFEST)
        sync_folder(target)
        for name in contents:
            (target / f"{name}{_NEW}").replace(target / name)
        for name in obsolete:
            (target / name).unlink(missing_ok=True)
        sync_folder(target)


def load(folder: StrPath) -> Artifact:
    """Read the model in `folder`, checking the format's version and every file's size and SHA-256.

    Errors: ArtifactError naming what is wrong: no such folder, not a model folder, a file that is missing,
    truncated or altered, or a format that is newer than this version of storyline.
    """
    target = Path(folder)
    failed = None
    with _explained(target):
        while True:
            text, files = _read_manifest(target)
            try:
                contents = {name: _read_verified(target, name, entry) for name, entry in files.items()}
                break
            except ArtifactError:
                # Another process may be saving: a second look finds its renames done. Under the same manifest
                # they are done once, so that what fails twice is damaged.
                if text == failed:
                    raise
                failed = text
    # The copies give every tensor torch's own alignment: the fused kernels' last bits may depend on it.
    tensors = {
        name: tensor.clone() for name, tensor in safetensors.torch.load(contents.pop(_TENSORS)).items()
    }
    config: dict[str, Any] = json.loads(contents.pop(_CONFIG))
    return Artifact(config, tensors, contents)


def exists(folder: StrPath) -> bool:
    """Whether `folder` holds a committed model (its files are not checked: `load` does that)."""
    return (Path(folder) / _MANIFEST).is_file()


def write_whole(path: StrPath, data: str | bytes) -> None:
    """Write a single file so that a kill leaves the old one or the new one, whole; parents are made.

    Errors: ArtifactError when the disk is full or not writable; then nothing of the new file is left.
    """
    target = Path(path)
    temporary = target.with_name(f"{target.name}{_NEW}")
    with _explained(target):
        make_folder(target.parent)
        try:
            _write_synced(temporary, data.encode("utf-8") if isinstance(data, str) else data)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        temporary.replace(target)
        sync_folder(target.parent)


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
    with _explained(target):
        make_folder(target)
        descriptor = os.open(target / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with _explained(target):
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


def _contents(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], documents: Mapping[str, str | bytes]
) -> dict[str, bytes]:
    # Tied weights share memory, which safetensors refuses; each name gets its own copy where that is so.
    plain: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        storage = value.untyped_storage()
        shared = storage.data_ptr() in seen or storage.nbytes() != value.numel() * value.element_size()
        plain[name] = value.clone() if shared else value
        seen.add(storage.data_ptr())
    contents = {_CONFIG: (json.dumps(config, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode()}
    for name, document in documents.items():
        if not _is_plain(name) or name in contents:
            raise ArtifactError(
                f"{name!r} cannot name a document; wanted a plain file name that is not taken"
            )
        contents[name] = document.encode("utf-8") if isinstance(document, str) else document
    contents[_TENSORS] = safetensors.torch.save(plain)
    return contents


def _is_plain(name: str) -> bool:
    reserved = name in (_MANIFEST, _TENSORS) or name.endswith(_NEW) or name.startswith(".")
    return bool(name) and "/" not in name and "\0" not in name and not reserved


def _manifest(contents: Mapping[str, bytes]) -> bytes:
    files = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in contents.items()
    }
    body = {"format": "storyline", "format_version": FORMAT_VERSION, "storyline": __version__, "files": files}
    return (json.dumps(body | {"sha256": _digest(body)}, indent=2) + "\n").encode()


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _read_manifest(folder: Path) -> tuple[bytes, dict[str, dict[str, Any]]]:
    if not folder.exists():
        raise ArtifactError(f"{folder} does not exist; name the folder of a trained model")
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is a file; name the folder of a trained model")
    path = folder / _MANIFEST
    if not path.is_file():
        raise ArtifactError(f"{folder} is not a model folder of storyline: it has no {_MANIFEST}")
    text = path.read_bytes()
    damaged = ArtifactError(f"{path} is damaged; restore the folder from a copy or train again")
    try:
        body = json.loads(text)
    except ValueError:
        raise damaged from None
    if not isinstance(body, dict) or body.get("format") != "storyline":
        raise ArtifactError(
            f"{folder} is not a model folder of storyline: its {_MANIFEST} is another's or damaged"
        )
    version = body.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ArtifactError(
            f"{folder} has format {version}, written by storyline {body.get('storyline')}; "
            f"this is storyline {__version__}, which reads formats up to {FORMAT_VERSION}; upgrade storyline"
        )
    if body.pop("sha256", None) != _digest(body):
        raise damaged
    files: dict[str, dict[str, Any]] = body["files"]
    return text, files


def _read_verified(folder: Path, name: str, entry: Mapping[str, Any]) -> bytes:
    """The bytes of NAME, or of NAME.new where a kill came between the commit and the rename."""
    found: list[bytes] = []
    for path in (folder / name, folder / f"{name}{_NEW}"):
        with suppress(FileNotFoundError):
            found.append(path.read_bytes())
            if hashlib.sha256(found[-1]).hexdigest() == entry["sha256"]:
                return found[-1]
    advice = "restore the folder from a copy or train again"
    if not found:
        raise ArtifactError(f"{folder / name} is missing; {advice}")
    if len(found[0]) < entry["bytes"]:
        raise ArtifactError(
            f"{folder / name} is truncated: {len(found[0])} bytes of {entry['bytes']}; {advice}"
        )
    raise ArtifactError(f"{folder / name} was altered: its SHA-256 is not the manifest's; {advice}")


def _settle(folder: Path) -> set[str]:
    """Finish the renames that a kill left over, so that NAME.new is free; gives the old model's names."""
    try:
        _, files = _read_manifest(folder)
    except ArtifactError:
        return set()  # no model yet, or one that cannot be read: it is replaced whole
    for name, entry in files.items():
        new = folder / f"{name}{_NEW}"
        if new.is_file() and hashlib.sha256(new.read_bytes()).hexdigest() == entry["sha256"]:
            new.replace(folder / name)
    sync_folder(folder)
    return set(files)


def _write_synced(path: Path, data: bytes) -> None:
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
def _explained(path: Path) -> Iterator[None]:
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
