"""`python -m benchmarks.decoding [--threads 2 1] [--model FOLDER]`: times a translator; trains it if there is none."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.decoding.measure import measure
from benchmarks.record import ROOT
from benchmarks.tasks.sources import MissingDataError, check


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description=__doc__)
    parser.add_argument("--threads", nargs="+", type=int, default=[2, 1])
    parser.add_argument(
        "--model", type=Path, default=ROOT / "build" / "multi30k-en-de", help="a saved Translator"
    )
    parser.add_argument(
        "--epochs", type=int, default=5, help="of the translator that is trained where there is none"
    )
    parser.add_argument("--rounds", type=int, default=9, help="samples of each implementation")
    parser.add_argument("--tiny", action="store_true", help="seconds; the figures mean nothing, no row")
    arguments = parser.parse_args()
    try:
        check(["multi30k"])
    except MissingDataError as error:
        parser.exit(1, f"{error}\n")
    for threads in arguments.threads:
        measure(
            arguments.model, threads, rounds=arguments.rounds, epochs=arguments.epochs, tiny=arguments.tiny
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
