"""`python -m benchmarks.kernels COMMAND`; `long`: one step of training on a very long sequence."""

from __future__ import annotations

import argparse
import sys

from benchmarks.kernels import long


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    commands = parser.add_subparsers(required=True)
    long.add_to(commands)
    options = parser.parse_args()
    return int(options.run(options))


if __name__ == "__main__":
    sys.exit(main())
