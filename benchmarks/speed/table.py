"""README's table of speeds, made from the newest row of each case and number of threads."""

from __future__ import annotations

import csv
import math

from benchmarks.readme import README, between_marks, pairs
from benchmarks.speed.cases import CASES, GRID_AIM, OTHERS, PEAK, SMALL_IS_GOOD, Case
from benchmarks.speed.measure import RESULTS

Rows = dict[tuple[str, int], dict[str, str]]
# The bars of the table are for this many threads; with one, the ratio stands beside it.
THREADS = 2
HEAD = (
    "| case | ours | the fastest other | measured, 2 threads | must | aim | 1 thread | % of the peak |\n"
    "|---|---|---|---|---|---|---|---|"
)
NOTHING = "Not measured yet: `make bench-speed` measures it, and writes the table."


def write_readme() -> None:
    """Put the table between its marks in README.md."""
    README.write_text(with_speed(README.read_text(encoding="utf-8")), encoding="utf-8")


def with_speed(text: str) -> str:
    return between_marks(text, {"speed": speed_table(newest_rows())})


def newest_rows() -> Rows:
    """By case and threads; rows are appended, so the last one is the newest."""
    rows: Rows = {}
    for path in sorted(RESULTS.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows |= {(row["case"], int(row["threads"])): row for row in csv.DictReader(file)}
    return rows


def speed_table(rows: Rows) -> str:
    """A line a case, one for the whole grid, and where they were measured; a case that was not run says so."""
    if not rows:
        return NOTHING
    lines = [HEAD]
    grid = [case for case in CASES.values() if case.group == "grid"]
    for case in CASES.values():
        if case.group != "grid":
            lines.append(_line(case, rows))
        elif case is grid[-1]:
            lines.append(_grid_line(grid, rows))
    # Rows may come from several runs; each kind of machine and each commit is named.
    places = dict.fromkeys(
        f"{row['machine']} ({row['features']}), commit {row['commit']}, torch {row['torch']}, {row['versions']}"
        + f", peak by {row['peak_by']}"
        for row in rows.values()
    )
    others = max((float(row["others_cores"]) for row in rows.values() if row["others_cores"]), default=None)
    beside = "." if others is None else f"; other processes kept at most {others:.2g} cores busy meanwhile."
    return "\n".join([*lines, "", "Measured on " + "; ".join(places) + beside])


def _line(case: Case, rows: Rows) -> str:
    row, alone = rows.get((case.name, THREADS)), rows.get((case.name, 1))
    if row is None:
        return f"| {case.title} | | | not measured | | | | |"
    must, aim, measured = (pairs(row[name]) for name in ("must", "aim", "measured"))
    other = f"{row['best_other']}, {_seconds(row['best_other_seconds'])}" if row["best_other"] else ""
    cells = [
        case.title,
        f"{_seconds(row['median_seconds'])} ({_seconds(row['q1_seconds'])} to {_seconds(row['q3_seconds'])})",
        other,
        "; ".join(_measured(name, value, must.get(name)) for name, value in measured.items()),
        "; ".join(_figure(name, value) for name, value in must.items()),
        "; ".join(_figure(name, value) for name, value in aim.items()),
        "" if alone is None else "; ".join(_figure(*pair) for pair in pairs(alone["measured"]).items()),
        f"{float(row['share_of_peak_percent']):.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _grid_line(grid: list[Case], rows: Rows) -> str:
    title = "LSTM inference, T100, B1 to 64, H64 to 512"
    ratios = {threads: _ratios(grid, rows, threads) for threads in (THREADS, 1)}
    if len(ratios[THREADS]) < len(grid):
        return f"| {title} | | | not measured: {len(ratios[THREADS])} of {len(grid)} shapes | | | | |"
    worst = min(ratios[THREADS], key=lambda name: ratios[THREADS][name])
    low, mean = ratios[THREADS][worst], _mean(ratios[THREADS])
    row = rows[worst, THREADS]
    alone = ratios[1]
    cells = [
        f"{title}: {len(grid)} shapes",
        f"worst: {CASES[worst].title.split(', ')[1]}, {_seconds(row['median_seconds'])}",
        f"there {row['best_other']}, {_seconds(row['best_other_seconds'])}",
        f"{_measured(OTHERS, low, 1.0)} at worst; {_figure(OTHERS, mean)} in the mean",
        f"{_figure(OTHERS, 1.0)} at worst",
        f"{_figure(OTHERS, GRID_AIM)} in the mean",
        f"{_figure(OTHERS, min(alone.values()))}; {_figure(OTHERS, _mean(alone))}" if alone else "",
        f"{float(row['share_of_peak_percent']):.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _ratios(grid: list[Case], rows: Rows, threads: int) -> dict[str, float]:
    return {
        case.name: float(rows[case.name, threads]["ratio"]) for case in grid if (case.name, threads) in rows
    }


def _mean(ratios: dict[str, float]) -> float:
    """The geometric one: twice as fast here and half as fast there is no gain."""
    return math.exp(sum(map(math.log, ratios.values())) / len(ratios))


def _measured(name: str, value: float, must: float | None) -> str:
    reached = must is None or (value <= must if name in SMALL_IS_GOOD else value >= must)
    return f"**{_figure(name, value)}**" + ("" if reached else ", falls short")


def _figure(name: str, value: float) -> str:
    if name == PEAK:
        return f"{value:.0f} {name}"
    if name in SMALL_IS_GOOD:
        return f"{value:.2f} {name}"
    return f"{value:.3g}x" + ("" if name == OTHERS else f" {name}")


def _seconds(text: str) -> str:
    seconds = float(text)
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
