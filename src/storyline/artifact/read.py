"""A model read back, every byte of it checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from storyline.artifact.disk import ArtifactError, StrPath, explained
from storyline.artifact.manifest import CONFIG, MANIFEST, TENSORS, read_manifest, read_verified


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


def load(folder: StrPath) -> Artifact:
    """Read the model in `folder`, checking the format's version and every file's size and SHA-256.

    Errors: ArtifactError naming what is wrong: no such folder, not a model folder, a file that is missing,
    truncated or altered, or a format that is newer than this version of storyline.
    """
    contents = _verified(Path(folder))
    # The copies give every tensor torch's own alignment: the fused kernels' last bits may depend on it.
    tensors = {name: tensor.clone() for name, tensor in safetensors.torch.load(contents.pop(TENSORS)).items()}
    config: dict[str, Any] = json.loads(contents.pop(CONFIG))
    return Artifact(config, tensors, contents)


def read_document(folder: StrPath, name: str) -> bytes | None:
    """A document of the model in `folder`, checked as `load` checks it; no other file is read.

    None where the model has no such document. Errors: ArtifactError as in `load`.
    """
    return _verified(Path(folder), only=name).get(name)


def exists(folder: StrPath) -> bool:
    """Whether `folder` holds a committed model (its files are not checked: `load` does that)."""
    return (Path(folder) / MANIFEST).is_file()


def _verified(folder: Path, only: str | None = None) -> dict[str, bytes]:
    """The files that the manifest names (or one of them), each what the manifest says."""
    failed = None
    with explained(folder):
        while True:
            text, files = read_manifest(folder)
            wanted = files if only is None else {name: files[name] for name in (only,) if name in files}
            try:
                return {name: read_verified(folder, name, entry) for name, entry in wanted.items()}
            except ArtifactError:
                # Another process may be saving: a second look finds its renames done. Under the same manifest
                # they are done once, so that what fails twice is damaged.
                if text == failed:
                    raise
                failed = text
