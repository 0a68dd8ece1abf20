"""`python -m benchmarks.kernels COMMAND`.

`random`: the native kernels on random cases; `long`: one step of training on a very long sequence.
"""

from __future__ import annotations

import argparse
import os
import sys

if sys.argv[1:2] == ["random"]:
    # One thread, from before torch is loaded, for the reference; the kernels are given what each case says.
    os.environ["OMP_NUM_THREADS"] = "1"
    # Between two small cases a thread that spins takes its core from the others.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

from benchmarks.kernels import cases, long


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    commands = parser.add_subparsers(required=True)
    cases.add_to(commands)
    long.add_to(commands)
    options = parser.parse_args()
    return int(options.run(options))


if __name__ == "__main__":
    sys.exit(main())
