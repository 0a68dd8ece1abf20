"""`python -m benchmarks.kernels random --cases 100000`: the native kernels against the reference on random cases.

Prints the worst error of each layer as a share of what is allowed (see `judging.py`), adds a row to
results/random.csv, and exits with 1 where a case fails, after a line that runs the group of that case alone.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

# One thread, from before torch is loaded, for the reference; the kernels are given what each case says.
os.environ["OMP_NUM_THREADS"] = "1"
# Between two small cases a thread that spins takes its core from the others.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import torch

from benchmarks.kernels.drawing import draw_group
from benchmarks.kernels.judging import judge
from benchmarks.kernels.running import share_out_every_call
from benchmarks.kernels.tally import Tally
from benchmarks.record import append_row, surroundings
from storyline.kernels import native


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("what", choices=["random"])
    parser.add_argument("--cases", type=int, default=100_000, help="at least so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--group", type=int, help="only the group of cases of this number")
    parser.add_argument("--no-record", action="store_true", help="write no row")
    options = parser.parse_args()
    if native.missing is not None:
        parser.exit(1, f"nothing to judge: {native.missing}\n")
    torch.set_num_threads(1)
    share_out_every_call()
    place, begun, tally = surroundings(), time.perf_counter(), Tally()
    index = 0 if options.group is None else options.group
    while sum(tally.cases.values()) < (options.cases if options.group is None else 1):
        group = draw_group(options.seed, index)
        for failure in tally.add(group, judge(group)):
            print(
                f"FAILED {failure}; again:\n  STORYLINE_TARGET={native.target()} "
                f"python -m benchmarks.kernels random --seed {options.seed} --group {index} --no-record",
                flush=True,
            )
        index += 1
    seconds = time.perf_counter() - begun
    print(tally.table())
    print(
        f"{sum(tally.cases.values())} cases on {native.target()} in {seconds:.0f} s: "
        f"{tally.failures} failures, {tally.doubts} results in doubt where a derivative jumps"
    )
    if not options.no_record and options.group is None:
        row: dict[str, object] = {**place, "target": native.target(), "seed": options.seed, **tally.row()}
        append_row(Path(__file__).parent / "results" / "random.csv", {**row, "seconds": round(seconds, 1)})
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
