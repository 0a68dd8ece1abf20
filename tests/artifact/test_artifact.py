from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dying_disk import Died, disk
from storyline import artifact
from storyline.artifact import Artifact, ArtifactError

Model = dict[str, Any]


def a_model(number: int) -> Model:
    generator = torch.Generator().manual_seed(number)
    return {
        "config": {"task": "classify", "number": number, "rate": 0.1 + number / 3},
        "tensors": {
            "weight": torch.randn(40, 30, generator=generator),
            "bias": torch.randn(40, generator=generator),
        },
        "documents": {
            "vocabulary.json": f'["the", "ü", {number}]',
            f"only_in_{number}.bin": bytes([number, 0, 255]),
        },
    }


def is_model(found: Artifact, model: Model) -> bool:
    documents = {k: v.encode() if isinstance(v, str) else v for k, v in model["documents"].items()}
    return (
        found.config == model["config"]
        and found.documents == documents
        and found.tensors.keys() == model["tensors"].keys()
        and all(torch.equal(value, model["tensors"][name]) for name, value in found.tensors.items())
    )


def operations_of_a_save(folder: Path) -> list[str]:
    with disk(folder) as watched:
        artifact.save(folder, **a_model(2))
    return watched.operations


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    assert not artifact.exists(folder)
    artifact.save(folder, **a_model(1))
    found = artifact.load(folder)
    assert is_model(found, a_model(1))
    assert found.text("vocabulary.json") == '["the", "ü", 1]'
    assert artifact.exists(folder)
    artifact.save(folder, **a_model(2))
    assert is_model(artifact.load(folder), a_model(2))
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json", "manifest.json", "model.safetensors", "only_in_2.bin", "vocabulary.json",
    ]  # fmt: skip
    with pytest.raises(ArtifactError, match=r"no document 'words.txt'; it has \['only_in_2.bin'"):
        found.__class__({}, {}, {"only_in_2.bin": b""}).text("words.txt")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_every_kind_of_tensor_comes_back(tmp_path: Path, dtype: torch.dtype) -> None:
    whole = (torch.arange(24).reshape(4, 6) % 5).to(dtype)
    tensors = {
        "whole": whole,
        "tied": whole,
        "view": whole[1:3, ::2],
        "turned": whole.T,
        "scalar": whole[0, 1].clone(),
    }
    tensors["empty"] = whole[:0]
    artifact.save(tmp_path, config={}, tensors=tensors)
    found = artifact.load(tmp_path).tensors
    for name, tensor in tensors.items():
        assert found[name].dtype == dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name], tensor)
        assert found[name].data_ptr() % 64 == 0


def test_floats_of_the_config_come_back_exactly_and_nan_is_refused(tmp_path: Path) -> None:
    values = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0]
    artifact.save(tmp_path, config={"values": values}, tensors={})
    assert artifact.load(tmp_path).config == {"values": values}
    assert math.copysign(1, artifact.load(tmp_path).config["values"][-1]) == -1
    with pytest.raises(ValueError, match="JSON"):
        artifact.save(tmp_path, config={"value": math.nan}, tensors={})
    assert artifact.load(tmp_path).config == {"values": values}


@pytest.mark.parametrize(
    "name", ["", "a/b", "../up", ".hidden", "manifest.json", "config.json", "model.safetensors", "x.new"]
)
def test_a_document_needs_a_plain_name_of_its_own(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="cannot name a document"):
        artifact.save(tmp_path / "model", config={}, tensors={}, documents={name: ""})
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("half", [False, True], ids=["before", "half written"])
@pytest.mark.parametrize("old", [False, True], ids=["first save", "over an old model"])
def test_a_kill_at_any_operation_leaves_the_old_model_or_the_new(
    tmp_path: Path, old: bool, half: bool
) -> None:
    def prepared(name: str) -> Path:
        folder = tmp_path / name
        if old:
            artifact.save(folder, **a_model(1))
        return folder

    names = operations_of_a_save(prepared("whole"))
    assert names.count("write") == 5
    left = []
    for number, name in enumerate(names):
        if half and name != "write":
            continue
        folder = prepared(str(number))
        with disk(folder, die_at=number, half=half), pytest.raises(Died):
            artifact.save(folder, **a_model(2))
        if artifact.exists(folder):
            found = artifact.load(folder)
            left.append("new" if is_model(found, a_model(2)) else "old")
            assert is_model(found, a_model(1 if left[-1] == "old" else 2))
        else:
            left.append("none")
        assert artifact.exists(folder) or not old
        # And the next save, over whatever the kill left, is whole; nothing of the dead one stays.
        third = a_model(3) | {"documents": a_model(2)["documents"]}
        artifact.save(folder, **third)
        assert is_model(artifact.load(folder), third)
        assert not list(folder.glob("*.new"))
    before = "old" if old else "none"
    assert left == sorted(left, key=lambda state: state == "new")
    assert set(left) == ({before} if half else {before, "new"})


def test_a_second_kill_while_the_first_is_settled_loses_nothing(tmp_path: Path) -> None:
    artifact.save(tmp_path / "whole", **a_model(1))
    names = operations_of_a_save(tmp_path / "whole")
    committed = names.index("replace") + 2  # the manifest is in place, no other file is
    for second in range(len(names) + 8):
        folder = tmp_path / str(second)
        artifact.save(folder, **a_model(1))
        with disk(folder, die_at=committed), pytest.raises(Died):
            artifact.save(folder, **a_model(2))
        assert is_model(artifact.load(folder), a_model(2))
        assert (folder / "config.json.new").exists()
        with disk(folder, die_at=second) as watched:
            try:
                artifact.save(folder, **a_model(3))
            except Died:
                found = artifact.load(folder)
                assert is_model(found, a_model(2)) or is_model(found, a_model(3))
                continue
        assert second >= len(watched.operations)
        return
    pytest.fail("the save never came to its end")


POWER_CUTS: dict[str, Callable[[str], bool]] = {
    "all changes of entries kept": lambda name: True,
    "all lost": lambda name: False,
    "the manifest's lost": lambda name: name != "manifest.json",
    "all but the manifest's lost": lambda name: name == "manifest.json",
    "the weights' lost": lambda name: name != "model.safetensors",
    "all but the weights' lost": lambda name: name == "model.safetensors",
}


@pytest.mark.parametrize("survives", POWER_CUTS.values(), ids=POWER_CUTS)
def test_a_power_cut_at_any_operation_leaves_the_old_model_or_the_new(
    tmp_path: Path, survives: Callable[[str], bool]
) -> None:
    whole = tmp_path / "whole"
    artifact.save(whole, **a_model(1))
    states = set()
    for number in range(len(operations_of_a_save(whole)) + 1):
        folder = tmp_path / str(number)
        artifact.save(folder, **a_model(1))
        with disk(folder, die_at=number) as watched:
            try:
                artifact.save(folder, **a_model(2))
                done = True
            except Died:
                done = False
            left = watched.after_power_cut(tmp_path / f"{number} cut", survives=survives)
        found = artifact.load(left)
        states.add(is_model(found, a_model(2)))
        assert is_model(found, a_model(2)) or is_model(found, a_model(1))
        assert is_model(found, a_model(2)) or not done
    assert states == {False, True}


def test_a_full_disk_is_said_and_the_old_model_stays(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    artifact.save(whole, **a_model(1))
    names = operations_of_a_save(whole)
    for number in range(names.index("replace")):
        folder = tmp_path / str(number)
        artifact.save(folder, **a_model(1))
        before = sorted(path.name for path in folder.iterdir())
        with (
            disk(folder, full_at=number),
            pytest.raises(ArtifactError, match=r"the disk is full.*free some space"),
        ):
            artifact.save(folder, **a_model(2))
        assert is_model(artifact.load(folder), a_model(1))
        assert sorted(path.name for path in folder.iterdir()) == before


def test_a_limit_of_the_file_system_is_met_with_the_same_sentence(tmp_path: Path) -> None:
    program = f"""
import resource, torch
from storyline import artifact
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    artifact.save({str(tmp_path)!r}, config={{}}, tensors={{"weight": torch.zeros(50_000)}})
except artifact.ArtifactError as error:
    print(error)
"""
    artifact.save(tmp_path, **a_model(1))
    before = sorted(path.name for path in tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("the disk is full: ")
    assert is_model(artifact.load(tmp_path), a_model(1))
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000


def test_write_whole_takes_no_place_of_a_pipe_or_a_device(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ArtifactError, match="pipe is no file but a device or a pipe; name a file"):
        artifact.write_whole(pipe, "new")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_write_whole_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "file.txt"
    artifact.write_whole(path, "old")
    with disk(path.parent) as watched:
        artifact.write_whole(path, b"new")
    assert path.read_text() == "new"
    assert watched.operations == ["write", "fsync", "replace", "fsync"]
    for number in range(4):
        artifact.write_whole(path, "old")
        with disk(path.parent, die_at=number), pytest.raises(Died):
            artifact.write_whole(path, "new")
        assert path.read_text() == ("new" if number == 3 else "old")
    for number in range(2):
        artifact.write_whole(path, "old")
        with disk(path.parent, full_at=number), pytest.raises(ArtifactError, match="the disk is full"):
            artifact.write_whole(path, "new")
        assert [file.name for file in path.parent.iterdir()] == ["file.txt"]
        assert path.read_text() == "old"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocabulary.json", "only_in_1.bin"])
def test_damage_to_a_file_is_named(tmp_path: Path, name: str) -> None:
    artifact.save(tmp_path, **a_model(1))
    path = tmp_path / name
    data = path.read_bytes()
    for place in (0, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(ArtifactError, match=f"{name} was altered.*train again"):
            artifact.load(tmp_path)
    path.write_bytes(data[:-1])
    with pytest.raises(ArtifactError, match=rf"{name} is truncated: {len(data) - 1} bytes of {len(data)}"):
        artifact.load(tmp_path)
    path.unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        artifact.load(tmp_path)
    path.write_bytes(data)
    assert is_model(artifact.load(tmp_path), a_model(1))


def test_any_altered_letter_of_the_manifest_is_noticed(tmp_path: Path) -> None:
    artifact.save(tmp_path, **a_model(1))
    path = tmp_path / "manifest.json"
    data = path.read_bytes()
    for place in range(len(data)):
        if not chr(data[place]).isspace():
            path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            with pytest.raises(ArtifactError):
                artifact.load(tmp_path)
    for length in (0, 1, len(data) // 2):
        path.write_bytes(data[:length])
        with pytest.raises(ArtifactError, match=r"manifest\.json is damaged"):
            artifact.load(tmp_path)


def test_what_is_not_a_model_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="nowhere does not exist"):
        artifact.load(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match=r"not a model folder of storyline: it has no manifest\.json"):
        artifact.load(tmp_path)
    (tmp_path / "file").write_text("text")
    with pytest.raises(ArtifactError, match="file is a file; name the folder"):
        artifact.load(tmp_path / "file")
    with pytest.raises(ArtifactError, match="cannot be used"):
        artifact.save(tmp_path / "file", **a_model(1))
    (tmp_path / "manifest.json").write_text('{"name": "a web app", "icons": []}')
    with pytest.raises(ArtifactError, match="is another's or damaged"):
        artifact.load(tmp_path)


def test_a_format_of_the_future_asks_for_an_upgrade(tmp_path: Path) -> None:
    artifact.save(tmp_path, **a_model(1))
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 2, "storyline": "9.1"}))
    with pytest.raises(
        ArtifactError, match=r"format 2, written by storyline 9\.1; .* reads formats up to 1; upgrade"
    ):
        artifact.load(tmp_path)


def test_a_reader_beside_a_writer_sees_whole_models(tmp_path: Path) -> None:
    artifact.save(tmp_path, **a_model(1))
    failures: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                found = artifact.load(tmp_path)
                assert is_model(found, a_model(1)) or is_model(found, a_model(2))
            except BaseException as error:
                failures.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(40):
        artifact.save(tmp_path, **a_model(1 + number % 2))
    stop.set()
    reader.join()
    assert not failures


def test_a_locked_folder_names_its_holder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    program = f"""
from storyline import artifact
try:
    with artifact.locked({str(folder)!r}):
        print("taken")
except artifact.ArtifactError as error:
    print(error)
"""

    def other_process() -> str:
        command = [sys.executable, "-c", program]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    with artifact.locked(folder):
        with artifact.locked(folder):  # the same thread may
            pass
        told = other_process()
        assert told.startswith(f"{folder} is in use by another run (process {os.getpid()});")
        with pytest.raises(ArtifactError, match="in use"):
            in_a_thread(lambda: artifact.locked(folder).__enter__())
    assert other_process() == "taken"
    with pytest.raises(ArtifactError, match="cannot be used"), artifact.locked(folder / ".lock"):
        pass


def in_a_thread(call: Any) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def test_a_real_file_system_without_space(tmp_path: Path) -> None:
    """On a file system of 256 KiB, where this process may mount one; the simulated disks above need no rights."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", _ON_A_SMALL_DISK, str(small)], capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    if "no rights" in mounted.stdout or mounted.returncode == 1:
        pytest.skip("this process may not mount a file system")
    assert mounted.returncode == 0, mounted.stderr
    assert "the disk is full" in mounted.stdout
    assert "old model whole: True" in mounted.stdout


_ON_A_SMALL_DISK = """
import subprocess, sys
import torch
from storyline import artifact
folder = sys.argv[1]
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder]).returncode:
    print("no rights")
    sys.exit()
artifact.save(folder, config={}, tensors={"weight": torch.ones(20_000)})
try:
    artifact.save(folder, config={}, tensors={"weight": torch.zeros(60_000)})
except artifact.ArtifactError as error:
    print(error)
print("old model whole:", torch.equal(artifact.load(folder).tensors["weight"], torch.ones(20_000)))
"""
