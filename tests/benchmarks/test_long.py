"""The benchmark of very long sequences, on a short one."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from benchmarks.kernels.__main__ import main
from benchmarks.kernels.long import STATUS

pytestmark = pytest.mark.skipif(not STATUS.is_file(), reason="peaks are measured on Linux only")


def test_both_cases_train_alike(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    threads = str(torch.get_num_threads())
    arguments = ["kernels", "long", "--steps", "300", "--hidden", "8", "--threads", threads, "--one"]
    measured = []
    for every in ("0", "70"):
        monkeypatch.setattr(sys, "argv", [*arguments, every])
        assert main() == 0
        measured.append(json.loads(capsys.readouterr().out))
    plain, chunked = measured
    assert chunked["gradient_norm"] == pytest.approx(plain["gradient_norm"], rel=1e-5)
    assert plain["gradient_norm"] > 0
    assert plain["peak_mb"] >= plain["mb_before"] > 50
    assert plain["seconds"] >= plain["forward_s"]


def test_what_does_not_fit_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither case is run: the plain one for want of memory, the other since its process is not started here."""
    monkeypatch.setattr(sys, "argv", ["kernels", "long", "--steps", str(10**12), "--no-record"])

    def no_process(*_: object, **__: object) -> None:
        raise FileNotFoundError("started")

    monkeypatch.setattr("subprocess.run", no_process)
    monkeypatch.setattr("benchmarks.kernels.long.surroundings", dict)
    with pytest.raises(FileNotFoundError, match="started"):
        main()
    assert "plain: not run, since" in capsys.readouterr().out
