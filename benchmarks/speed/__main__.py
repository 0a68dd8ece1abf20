"""`python -m benchmarks.speed CASE ... [--threads 2 1]`; CASE `all` runs every one, `readme` writes README's table.

A CASE may hold wildcards: 'lstm-inference-*'. Each runs in a process of its own, started with its number of threads.
"""

from __future__ import annotations

import argparse
import difflib
import fnmatch
import subprocess
import sys

from benchmarks.speed.cases import CASES
from benchmarks.speed.threads import environment


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, epilog=f"cases: {', '.join(CASES)}"
    )
    parser.add_argument("cases", nargs="+", metavar="CASE")
    parser.add_argument("--threads", nargs="+", type=int, default=[2, 1])
    parser.add_argument("--rounds", type=int, default=9, help="samples of each implementation; 9 or more")
    parser.add_argument("--without", nargs="+", default=[], metavar="PEER", help="peers to leave out")
    parser.add_argument("--tiny", action="store_true", help="milliseconds; the figures mean nothing, no row")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cases == ["readme"]:
        from benchmarks.speed.table import write_readme

        write_readme()
        return 0
    names = _chosen(arguments.cases, parser)
    if arguments.rounds < 9:
        parser.error(f"--rounds is {arguments.rounds}; quartiles need 9 or more")
    if arguments.here:
        return _run_here(names[0], arguments)
    failed = [
        f"{name} with {threads} threads"
        for name in names
        for threads in arguments.threads
        if not _run(name, threads, arguments)
    ]
    if failed:
        print(f"no row of: {', '.join(failed)}; the reasons stand above", file=sys.stderr)
    return 1 if failed else 0


def _chosen(patterns: list[str], parser: argparse.ArgumentParser) -> list[str]:
    names: dict[str, None] = {}
    for pattern in patterns:
        found = fnmatch.filter(CASES, "*" if pattern == "all" else pattern)
        if not found:
            nearest = difflib.get_close_matches(pattern, CASES, 1, 0)[0]
            parser.error(f"there is no case {pattern!r}; the nearest is {nearest!r}")
        names.update(dict.fromkeys(found))
    return list(names)


def _run(name: str, threads: int, arguments: argparse.Namespace) -> bool:
    command = [sys.executable, "-m", "benchmarks.speed", name, "--here", "--threads", str(threads)]
    command += ["--rounds", str(arguments.rounds)]
    command += ["--tiny"] if arguments.tiny else []
    command += ["--without", *arguments.without] if arguments.without else []
    return subprocess.run(command, env=environment(threads), check=False).returncode == 0


def _run_here(name: str, arguments: argparse.Namespace) -> int:
    from benchmarks.speed.measure import NotTimedError, measure

    try:
        measure(
            CASES[name],
            arguments.threads[0],
            tiny=arguments.tiny,
            rounds=arguments.rounds,
            without=frozenset(arguments.without),
        )
    except NotTimedError as error:
        print(f"{name}: not timed: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
