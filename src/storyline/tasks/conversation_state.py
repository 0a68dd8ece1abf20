"""What a conversation remembers, and its file: tensors and a little JSON in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from storyline.artifact import ArtifactError, StrPath, write_whole
from storyline.training.identity import digest

_FORMAT, _VERSION = "storyline conversation", 1
_CARRY = "carry."


@dataclass(frozen=True)
class ConversationState:
    """A conversation between two turns.

    carry      the network's state, by name, after the <end> of the last turn, or of none: one row
    generator  of what is drawn: the state of a torch.Generator, uint8
    turns      how many turns there were, of both sides
    tokens     how many tokens the network has read
    """

    carry: Mapping[str, Tensor]
    generator: Tensor
    turns: int
    tokens: int

    def save(self, path: StrPath, model: str) -> None:
        """Write the file, so that a kill leaves the old one or the new one; ArtifactError where that cannot be.

        model  the fingerprint of the network and its vocabulary: the file is of no use to another
        """
        tensors = {f"{_CARRY}{name}": value.contiguous() for name, value in self.carry.items()}
        tensors["generator"] = self.generator
        about = {"model": model, "turns": self.turns, "tokens": self.tokens}
        header = {
            "format": _FORMAT,
            "version": str(_VERSION),
            "about": json.dumps(about),
            "sha256": digest([about, tensors]),
        }
        write_whole(path, safetensors.torch.save(tensors, metadata=header))

    @classmethod
    def load(cls, path: StrPath, model: str) -> ConversationState:
        """What `save` wrote, bit for bit; ArtifactError for a file that is missing, damaged, or another model's."""
        header, tensors = _read(Path(path))
        if header.get("format") != _FORMAT:
            raise ArtifactError(f"{path} holds no conversation; name a file that a conversation was saved to")
        if header.get("version") != str(_VERSION):
            raise ArtifactError(
                f"{path} is a conversation of version {header.get('version')}, and this storyline reads {_VERSION}; "
                "use the storyline that wrote it, or begin anew"
            )
        about = json.loads(header["about"])
        if digest([about, tensors]) != header["sha256"]:
            raise ArtifactError(
                f"{path} was altered: its SHA-256 is not what it says; begin a new conversation"
            )
        if about["model"] != model:
            raise ArtifactError(
                f"{path} is a conversation with another model, whose state means nothing to this one; use that model, "
                "or begin a new conversation"
            )
        carry = {
            name.removeprefix(_CARRY): value for name, value in tensors.items() if name.startswith(_CARRY)
        }
        return cls(carry, tensors["generator"], about["turns"], about["tokens"])


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ArtifactError(f"{path} {what}; name a file that a conversation was saved to")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            # The copies have torch's own alignment, on which the last bits of a kernel may depend.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return file.metadata() or {}, tensors
    except (safetensors.SafetensorError, OSError) as error:
        raise ArtifactError(
            f"{path} is no conversation, or a damaged one ({error}); begin a new conversation"
        ) from None
