"""Helpers of the benchmark end with a parent that was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storyline.stories import parent, results_file

# The file alone, so that no process waits for torch.
SCRIPT = """
import importlib.util, multiprocessing, os, sys, time

def work(_):
    spec = importlib.util.spec_from_file_location("parent", sys.argv[1])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.end_with_parent()
    print(os.getpid(), flush=True)
    time.sleep(60)

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(work, range(2), chunksize=1)
"""


def alive(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    # "Z": one that has ended and that nobody has asked after yet
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="reads /proc")
def test_helpers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, script, parent.__file__], stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        helpers = [int(killed.stdout.readline()) for _ in range(2)]
        assert all(map(alive, helpers))
        killed.send_signal(signal.SIGKILL)
    until = time.monotonic() + 20
    while any(map(alive, helpers)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(map(alive, helpers))


def test_every_helper_of_the_benchmark_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[str] = []
    monkeypatch.setattr(results_file, "end_with_parent", lambda: watched.append("parent"))
    monkeypatch.setattr("signal.signal", lambda *_: watched.append("signal"))
    monkeypatch.setattr("torch.set_num_threads", lambda _: None)
    results_file._alone()
    assert watched == ["parent", "signal"]
    parent.end_with_parent()  # this process has no such parent
