"""`python -m benchmarks.resume --kills 500`: kills, mismatches and seconds, as a row of results/kills.csv."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

# One thread, from before torch is loaded: a process without threads can be forked at will.
os.environ["OMP_NUM_THREADS"] = "1"

import torch

from benchmarks.record import append_row, surroundings
from benchmarks.resume.campaign import campaign


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resume", description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="at random times")
    parser.add_argument(
        "--saves", type=int, default=3, help="saves of each case to be killed at every operation"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder", type=Path, default=None, help="where the runs live; default: the temporary folder"
    )
    parser.add_argument("--no-record", action="store_true", help="write no row")
    options = parser.parse_args()
    torch.set_num_threads(1)
    place = surroundings()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        file_system = _file_system(Path(folder))
        tally = campaign(
            options.kills, options.saves, options.seed, Path(folder), lambda text: print(text, flush=True)
        )
    row: dict[str, object] = {
        **place,
        "file_system": file_system,
        "kills": tally.kills,
        "at_operations": tally.operation_kills,
        "at_random_times": tally.timed_kills,
        "runs": tally.runs,
        "mismatches": len(tally.mismatches),
        "seconds": round(time.perf_counter() - begun, 1),
    }
    for mismatch in tally.mismatches:
        print("MISMATCH", mismatch)
    print(json.dumps(row))
    if not options.no_record:
        append_row(Path(__file__).parent / "results" / "kills.csv", row)
    return 1 if tally.mismatches else 0


def _file_system(folder: Path) -> str:
    """The kind of file system that the runs live on: on one in memory, fsync costs nothing."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    under = [(len(place), kind) for _, place, kind, *_ in mounts if folder.resolve().is_relative_to(place)]
    return max(under)[1]


if __name__ == "__main__":
    sys.exit(main())
