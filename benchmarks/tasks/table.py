"""README's tables, made from the newest row of each results/*.csv and the sources; nothing in them is typed by hand."""

from __future__ import annotations

import csv

from benchmarks.readme import README, between_marks, pairs
from benchmarks.tasks.catalogue import BENCHMARKS
from benchmarks.tasks.harness import RESULTS, Benchmark
from benchmarks.tasks.sources import data_table
from storyline.cli.demo import DISTRACTORS

HEAD = (
    "| data, metric | trivial baseline, same run | must | measured, mean ± spread or (95 %) | aim "
    "| threads | s | CPU s | model |\n"
    "|---|---|---|---|---|---|---|---|---|"
)
# What the benchmarks of one seed call the ends of their bootstrap interval over the examples.
INTERVALS = (
    ("from", "to"),
    ("lower bound, 95 %", "upper bound, 95 %"),
    ("F1 low", "F1 high"),
    ("low", "high"),
)
DEMO = ("first_of_31_rnn", "first_of_31_lstm_torch", "first_of_31_lstm_remember")


def results_table() -> str:
    """A row a benchmark; one that was not run says so."""
    return "\n".join([HEAD, *(_row(benchmark) for benchmark in BENCHMARKS.values())])


def demo_table() -> str:
    """Accuracy over the number of distractors, and the reach of the gradient, of the three models of the demo."""
    names = [*(f"N={distractors}" for distractors in DISTRACTORS), "reach before", "reach after"]
    lines = ["| model | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for name in DEMO:
        row = _newest(BENCHMARKS[name])
        if row is None:
            return "not measured"
        details = pairs(row["details"])
        cells = " | ".join(
            f"{details[column]:.1f}" if column[0] == "N" else f"{details[column]:.0f}" for column in names
        )
        lines.append(f"| {row['model']} | {cells} |")
    for name, value in pairs(row["baselines"]).items():
        label = {"logistic regression": "logistic regression on the first digit alone"}.get(name, name)
        lines.append(f"| {label} | " + " | ".join(f"{value:.1f}" for _ in DISTRACTORS) + " | | |")
    return "\n".join(lines)


def write_readme() -> None:
    """Put the tables between their marks in README.md."""
    README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")


def with_tables(text: str) -> str:
    return between_marks(text, {"results": results_table(), "demo": demo_table(), "data": data_table()})


def _newest(benchmark: Benchmark) -> dict[str, str] | None:
    path = RESULTS / f"{benchmark.name}.csv"
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))[-1]


def _row(benchmark: Benchmark) -> str:
    row = _newest(benchmark)
    if row is None:
        return f"| {benchmark.title} | | | not measured | | | | | |"
    mean, sign = float(row["mean"]), "≥" if benchmark.higher_is_better else "≤"
    short, wanted = "", ""
    if row["must"]:
        must = float(row["must"])
        reached = mean >= must if benchmark.higher_is_better else mean <= must
        short, wanted = "" if reached else ", falls short", f"{sign} {must:.4g}"
    baselines = ", ".join(f"{name} {value:.4g}" for name, value in pairs(row["baselines"]).items())
    measured = f"**{mean:.4g}** {_spread(row)}{short}"
    cpu = pairs(row["details"]).get("cpu seconds")
    processor = "" if cpu is None else f"{cpu:.0f}"
    title = f"{benchmark.title}; {row['metric'].replace('|', ', ')}"
    aim = "" if benchmark.aim is None else benchmark.aim
    seconds = f"{float(row['seconds_per_seed']):.0f}"
    return (
        f"| {title} | {baselines} | {wanted} | {measured} | {aim} | {row['threads']} | {seconds} | {processor} "
        f"| {row['model']} |"
    )


def _spread(row: dict[str, str]) -> str:
    """Of several seeds half the distance between them; of one the interval over the examples, if there is one."""
    details = pairs(row["details"])
    if len(row["seeds"].split()) > 1:
        return f"± {float(row['spread']):.2g}"
    for low, high in INTERVALS:
        if low in details and high in details:
            return f"({details[low]:.4g} to {details[high]:.4g})"
    around = next((value for name, value in details.items() if name.endswith("95 % interval ±")), None)
    return "(one seed)" if around is None else f"(± {around:.2g})"
