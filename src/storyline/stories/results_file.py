"""A file of a benchmark's results: runs made side by side, whose rows are appended as soon as they are finished."""

from __future__ import annotations

import csv
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from multiprocessing.pool import Pool
from pathlib import Path

import torch

from storyline.stories.benchmark import KEY, MEASURED, SETTINGS, SPENT, Row, Run, measure, surroundings
from storyline.stories.parent import end_with_parent


def run_all(runs: Sequence[Run], *, jobs: int = 1, place: Row | None = None) -> Iterator[list[Row]]:
    """The rows of each run as soon as it is done; `jobs` of them side by side, each on one thread.

    Closing the iterator (or Ctrl-C) ends those that have not finished.
    """
    if jobs == 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield from (measure(run, place) for run in runs)
        finally:
            torch.set_num_threads(threads)
        return
    with _started(jobs) as pool:
        yield from pool.imap_unordered(_measured, [(run, place) for run in runs])


def _started(jobs: int) -> Pool:
    """Processes that leave Ctrl-C to this one, which ends them: from their first moment, when they still import."""
    context = torch.multiprocessing.get_context("spawn")
    if threading.current_thread() is not threading.main_thread():
        return context.Pool(jobs, initializer=_alone)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return context.Pool(jobs, initializer=_alone)
    finally:
        signal.signal(signal.SIGINT, before)


def _alone() -> None:
    """One thread a process; Ctrl-C is the parent's, and if that is killed they end by themselves."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def _measured(given: tuple[Run, Row | None]) -> list[Row]:
    return measure(*given)


def read_rows(file: Path) -> list[dict[str, str]]:
    """The rows of a file of results; none where there is no file."""
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def rows_of(file: Path, runs: Sequence[Run]) -> list[dict[str, str]]:
    """The rows of a file that belong to these runs; of a run that was made at two commits, both, the newer last."""
    told = _told(_columns(file))
    keys = {run.key[: len(told)] for run in runs}
    return [row for row in read_rows(file) if tuple(row[name] for name in told) in keys]


def run_into(
    file: Path,
    runs: Sequence[Run],
    *,
    jobs: int = 1,
    place: Row | None = None,
    progress: Callable[[list[Row], int], None] = lambda rows, left: None,
) -> None:
    """Append the rows of every run that `file` does not hold yet; what is finished stays, whatever comes after.

    A run is held where there is a row for each of its distances; where some are missing it is made anew, and its
    newer rows count. A last line that was cut short (by a full disk) is taken away.

    place     machine, commit, python and torch, as `surroundings` has them; rows of another commit do not count
    progress  is told the rows of a run just finished, and how many are left
    Raises ValueError where the file has other columns than the rows that would be appended; that of the settings may be
    missing, in a file from before there was one, unless runs differ in it alone.
    """
    place = place or surroundings()
    told: tuple[str, ...] = (*KEY, SETTINGS)
    if columns := _columns(file):
        told = _told(columns)
        wanted = (*told, "distance", *MEASURED, *SPENT, *place)
        if different := sorted(set(columns) ^ set(wanted)):
            raise ValueError(
                f"{file} has the columns {columns}, which are not a benchmark's of today: {', '.join(different)} "
                "differ; name another file"
            )
        if len({run.key[: len(told)] for run in runs}) < len({run.key for run in runs}):
            raise ValueError(
                f"{file} has no column {SETTINGS}, and of the runs some differ in those settings alone, so that their "
                "rows could not be told apart; name another file"
            )
        _take_torn_line_away(file)
    held = {(*(row[name] for name in told), row["commit"], row["distance"]) for row in read_rows(file)}
    missing = [
        run
        for run in runs
        if not {(*run.key[: len(told)], str(place["commit"]), str(k)) for k in run.asked} <= held
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    finished = 0
    with closing(run_all(missing, jobs=jobs, place=place)) as results:  # type: ignore[type-var]
        for rows in results:
            _append(file, rows)
            finished += 1
            progress(rows, len(missing) - finished)


def _told(columns: Sequence[str]) -> tuple[str, ...]:
    """The columns that say which run a row is of, as far as the file has them."""
    return (*KEY, SETTINGS) if SETTINGS in columns else KEY


def _columns(file: Path) -> list[str]:
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as opened:
        return next(csv.reader(opened), [])


def _take_torn_line_away(file: Path) -> None:
    """What is appended behind half a line would be lost with it."""
    content = file.read_bytes()
    if content.endswith(b"\n"):
        return
    rows = read_rows(file)
    whole = bool(rows) and None not in rows[-1].values()
    file.write_bytes(content + b"\n" if whole else content[: content.rfind(b"\n") + 1])


def _append(file: Path, rows: list[Row]) -> None:
    new = not file.is_file() or file.stat().st_size == 0
    columns = list(rows[0]) if new else _columns(file)
    with file.open("a", newline="", encoding="utf-8") as opened:
        # All that a file may lack is the settings.
        writer = csv.DictWriter(opened, columns, lineterminator="\n", extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerows(rows)
