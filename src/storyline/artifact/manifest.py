"""manifest.json: which files make a model, with the size and SHA-256 of each, and its own SHA-256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from storyline import __version__
from storyline.artifact.disk import NEW, ArtifactError

FORMAT_VERSION = 1
MANIFEST, CONFIG, TENSORS = "manifest.json", "config.json", "model.safetensors"


def manifest_of(contents: Mapping[str, bytes]) -> bytes:
    """The manifest of these files."""
    files = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in contents.items()
    }
    body = {"format": "storyline", "format_version": FORMAT_VERSION, "storyline": __version__, "files": files}
    return (json.dumps(body | {"sha256": _digest(body)}, indent=2) + "\n").encode()


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path) -> tuple[bytes, dict[str, dict[str, Any]]]:
    """Its bytes, and by file name what it says; ArtifactError where it is missing, damaged or of another format."""
    if not folder.exists():
        raise ArtifactError(f"{folder} does not exist; name the folder of a trained model")
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is a file; name the folder of a trained model")
    path = folder / MANIFEST
    if not path.is_file():
        raise ArtifactError(f"{folder} is not a model folder of storyline: it has no {MANIFEST}")
    text = path.read_bytes()
    damaged = ArtifactError(f"{path} is damaged; restore the folder from a copy or train again")
    try:
        body = json.loads(text)
    except ValueError:
        raise damaged from None
    if not isinstance(body, dict) or body.get("format") != "storyline":
        raise ArtifactError(
            f"{folder} is not a model folder of storyline: its {MANIFEST} is another's or damaged"
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


def read_verified(folder: Path, name: str, entry: Mapping[str, Any]) -> bytes:
    """The bytes of NAME, or of NAME.new where a kill came between the commit and the rename."""
    found: list[bytes] = []
    for path in (folder / name, folder / f"{name}{NEW}"):
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
