"""`python -m benchmarks.tasks NAME ... [--seeds 0 1 2]`; NAME `all` runs every one, `readme` writes README's tables."""

from __future__ import annotations

import argparse

from benchmarks.tasks import table
from benchmarks.tasks.catalogue import BENCHMARKS
from benchmarks.tasks.harness import measure
from benchmarks.tasks.sources import MissingDataError, check


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks", description=__doc__)
    parser.add_argument("names", nargs="+", choices=[*BENCHMARKS, "all", "readme"], metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1, help="of one seed")
    parser.add_argument("--jobs", type=int, default=1, help="seeds that run side by side")
    parser.add_argument(
        "--tiny", action="store_true", help="seconds instead of minutes; the numbers mean nothing"
    )
    arguments = parser.parse_args()
    names = list(BENCHMARKS) if "all" in arguments.names else arguments.names
    try:
        check(folder for name in names if name != "readme" for folder in BENCHMARKS[name].data)
    except MissingDataError as error:
        parser.exit(1, f"{error}\n")
    for name in names:
        if name == "readme":
            table.write_readme()
        else:
            measure(
                BENCHMARKS[name],
                arguments.seeds,
                threads=arguments.threads,
                jobs=arguments.jobs,
                tiny=arguments.tiny,
            )


if __name__ == "__main__":
    main()
