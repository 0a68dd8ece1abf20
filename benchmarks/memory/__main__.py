"""`python -m benchmarks.memory COMMAND`.

`instruments`: the instruments against closed forms, against ablation, as black boxes; `overhead`: what they cost;
`diagnose`: planted faults found, and mended by their remedies; `report`: what a whole report costs;
`opening`: README's first answer and its picture; `agreement`: models of WikiText-2 on sets of grammar;
`readme`: README's tables from the rows.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.memory import agreement, diagnose, instruments, opening, overhead, readme, report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    commands = parser.add_subparsers(required=True)
    instruments.add_to(commands)
    overhead.add_to(commands)
    diagnose.add_to(commands)
    report.add_to(commands)
    opening.add_to(commands)
    agreement.add_to(commands)
    readme.add_to(commands)
    options = parser.parse_args()
    return int(options.run(options))


if __name__ == "__main__":
    sys.exit(main())
