from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dying_disk import Died, disk
from storyline import artifact
from storyline.artifact import ArtifactError


def save(folder: Path, text: str) -> None:
    artifact.save(folder, config={}, tensors={"weight": torch.ones(3)}, documents={"notes.txt": text})


def test_one_document_is_read_under_its_checksum_and_no_other_file(tmp_path: Path) -> None:
    save(tmp_path, "old")
    (tmp_path / "model.safetensors").unlink()
    assert artifact.read_document(tmp_path, "notes.txt") == b"old"
    assert artifact.read_document(tmp_path, "words.txt") is None
    (tmp_path / "notes.txt").write_text("odd")
    with pytest.raises(ArtifactError, match=r"notes\.txt was altered"):
        artifact.read_document(tmp_path, "notes.txt")


def test_a_kill_in_a_save_leaves_the_document_of_the_model_that_counts(tmp_path: Path) -> None:
    save(tmp_path / "whole", "old")
    with disk(tmp_path / "whole") as watched:
        save(tmp_path / "whole", "new")
    found = []
    for number in range(len(watched.operations)):
        folder = tmp_path / str(number)
        save(folder, "old")
        with disk(folder, die_at=number), pytest.raises(Died):
            save(folder, "new")
        found.append(artifact.read_document(folder, "notes.txt"))
    committed = watched.operations.index("replace") + 1
    assert found == [b"old"] * committed + [b"new"] * (len(found) - committed)
