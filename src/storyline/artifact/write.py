"""A model written whole, or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from storyline.artifact.disk import (
    NEW,
    ArtifactError,
    StrPath,
    explained,
    make_folder,
    sync_folder,
    write_synced,
)
from storyline.artifact.manifest import CONFIG, MANIFEST, TENSORS, manifest_of, read_manifest


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
    manifest = manifest_of(contents)
    with explained(target):
        make_folder(target)
        obsolete = _settle(target) - set(contents)
        try:
            for name, data in contents.items():
                write_synced(target / f"{name}{NEW}", data)
            write_synced(target / f"{MANIFEST}{NEW}", manifest)
            sync_folder(target)
        except BaseException:
            for name in (*contents, MANIFEST):
                with suppress(OSError):
                    (target / f"{name}{NEW}").unlink(missing_ok=True)
            raise
        (target / f"{MANIFEST}{NEW}").replace(target / MANIFEST)
        sync_folder(target)
        for name in contents:
            (target / f"{name}{NEW}").replace(target / name)
        for name in obsolete:
            (target / name).unlink(missing_ok=True)
        sync_folder(target)


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
    contents = {CONFIG: (json.dumps(config, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode()}
    for name, document in documents.items():
        if not _is_plain(name) or name in contents:
            raise ArtifactError(
                f"{name!r} cannot name a document; wanted a plain file name that is not taken"
            )
        contents[name] = document.encode("utf-8") if isinstance(document, str) else document
    contents[TENSORS] = safetensors.torch.save(plain)
    return contents


def _is_plain(name: str) -> bool:
    reserved = name in (MANIFEST, TENSORS) or name.endswith(NEW) or name.startswith(".")
    return bool(name) and "/" not in name and "\0" not in name and not reserved


def _settle(folder: Path) -> set[str]:
    """Finish the renames that a kill left over, so that NAME.new is free; gives the old model's names."""
    try:
        _, files = read_manifest(folder)
    except ArtifactError:
        return set()  # no model yet, or one that cannot be read: it is replaced whole
    for name, entry in files.items():
        new = folder / f"{name}{NEW}"
        if new.is_file() and hashlib.sha256(new.read_bytes()).hexdigest() == entry["sha256"]:
            new.replace(folder / name)
    sync_folder(folder)
    return set(files)
