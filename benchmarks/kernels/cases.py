"""The native kernels against the reference on random cases.

Prints the worst error of each layer as a share of what is allowed (see `judging.py`), adds a row to
results/random.csv, and exits with 1 where a case fails, after a line that runs the group of that case alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.kernels.drawing import draw_group
from benchmarks.kernels.judging import judge
from benchmarks.kernels.running import share_out_every_call
from benchmarks.kernels.tally import Tally
from benchmarks.record import append_row, surroundings
from storyline.kernels import native


def add_to(commands: Any) -> None:
    parser = commands.add_parser("random", description=__doc__, help="the native kernels on random cases")
    parser.add_argument("--cases", type=int, default=100_000, help="at least so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--group", type=int, help="only the group of cases of this number")
    parser.add_argument("--no-record", action="store_true", help="write no row")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if native.missing is not None:
        sys.exit(f"nothing to judge: {native.missing}")
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
