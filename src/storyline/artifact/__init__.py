"""A trained model on disk: config.json, model.safetensors, documents, and the manifest that makes them one.

Every file is first written whole as NAME.new; then manifest.json, with the size and SHA-256 of each, is
renamed into place. That rename is the commit point: before it the folder is the old model, after it the new
one. A file counts where NAME or NAME.new is what the manifest says, so a kill leaves one or the other.
Folders are locked with flock, so Linux and macOS. No pickle is written or read.
"""

from storyline.artifact.disk import ArtifactError, StrPath, make_folder, sync_folder, write_whole
from storyline.artifact.lock import locked
from storyline.artifact.manifest import FORMAT_VERSION
from storyline.artifact.read import Artifact, exists, load, read_document
from storyline.artifact.write import save

__all__ = [
    "FORMAT_VERSION",
    "Artifact",
    "ArtifactError",
    "StrPath",
    "exists",
    "load",
    "locked",
    "make_folder",
    "read_document",
    "save",
    "sync_folder",
    "write_whole",
]
