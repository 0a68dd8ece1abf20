"""A benchmark without its data says in one sentence what is missing and where it comes from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from benchmarks.tasks import __main__, choose_vowels
from benchmarks.tasks.catalogue import BENCHMARKS
from benchmarks.tasks.sources import SOURCES, MissingDataError, data_file

from benchmarks import record


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit) as stopped:
        __main__.main()
    return int(str(stopped.value.code))


@pytest.mark.parametrize("name", [name for name, benchmark in BENCHMARKS.items() if benchmark.data])
def test_no_data(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "DATA", tmp_path)
    assert run(monkeypatch, name, "--tiny") == 1
    said = capsys.readouterr()
    folder = BENCHMARKS[name].data[0]
    assert said.err == f"no {tmp_path / folder}; put {SOURCES[folder][0]} there, from {SOURCES[folder][2]}\n"
    assert not said.out  # nothing was trained before


def test_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(record, "DATA", tmp_path)
    (tmp_path / "sst2").mkdir()
    with pytest.raises(MissingDataError, match=r"no .*sst2/train\.t\*; put SST-2.* there, from https://"):
        data_file("sst2", "train.t*")


def test_the_choice_of_noise_and_dropout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "DATA", tmp_path)
    monkeypatch.setattr(sys, "argv", ["choose_vowels"])
    with pytest.raises(SystemExit, match="1"):
        choose_vowels.main()
    assert "put JapaneseVowels" in capsys.readouterr().err
