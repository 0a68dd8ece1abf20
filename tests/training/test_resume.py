"""Real processes, really killed: SIGKILL at random times and at every operation of a save, and Ctrl-C."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_runs_killed_at_any_time_end_in_the_bits_of_runs_never_killed(tmp_path: Path) -> None:
    # In memory where there is such a file system: kills do not ask for a real disk, and fsync is what takes the time.
    memory = Path("/dev/shm")
    folder = memory if memory.is_dir() and os.access(memory, os.W_OK) else tmp_path
    command = [sys.executable, "-W", "error", "-m", "benchmarks.resume", "--kills", "50", "--saves", "1"]
    done = subprocess.run(
        [*command, "--no-record", "--folder", str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=400,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    counted = json.loads(done.stdout.splitlines()[-1])
    assert counted["mismatches"] == 0
    assert counted["at_random_times"] >= 50
    assert counted["at_operations"] >= 50
