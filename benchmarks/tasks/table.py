"""README's table of results, made from the newest row of each results/*.csv; nothing in it is typed by hand."""

from __future__ import annotations

import csv

from benchmarks.tasks.catalogue import BENCHMARKS
from benchmarks.tasks.harness import RESULTS, Benchmark

HEAD = (
    "| data | trivial baseline, same run | must | measured (mean of the seeds ± spread) | aim | s a seed | model |\n"
    "|---|---|---|---|---|---|---|"
)


def markdown() -> str:
    """A row a benchmark; one that was not run says so."""
    return "\n".join([HEAD, *(_row(benchmark) for benchmark in BENCHMARKS.values())])


def _row(benchmark: Benchmark) -> str:
    path = RESULTS / f"{benchmark.name}.csv"
    if not path.is_file():
        return f"| {benchmark.title} | | | not measured | | | |"
    with path.open(newline="", encoding="utf-8") as file:
        row = list(csv.DictReader(file))[-1]
    mean, must = float(row["mean"]), float(row["must"])
    reached = mean >= must if benchmark.higher_is_better else mean <= must
    baselines = ", ".join(
        f"{name} {float(value):.4g}"
        for name, value in (part.rsplit(": ", 1) for part in row["baselines"].split("; "))
    )
    measured = f"**{mean:.4g}** ± {float(row['spread']):.2g}" + ("" if reached else " (falls short)")
    sign = "≥" if benchmark.higher_is_better else "≤"
    return (
        f"| {benchmark.title}, {row['metric']} | {baselines} | {sign} {must:.4g} | {measured} | {row['aim']} "
        f"| {float(row['seconds_per_seed']):.0f} | {row['model']} |"
    )
