"""What a whole report costs: a classifier of questions, 1,800 sentences, one thread; results/report.csv."""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import append_row, surroundings
from storyline import Classifier
from storyline.memory import measure

RESULTS = Path(__file__).parent / "results" / "report.csv"
DATA = Path(__file__).parents[2].parent / "shared" / "data" / "trec" / "train.txt"
SENTENCES, MUST = 1800, 20.0


def add_to(commands: Any) -> None:
    parser = commands.add_parser("report", description=__doc__, help="seconds of `storyline memory`")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-record", action="store_true", help="write no row")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    lines = [line.split(" ", 1) for line in DATA.read_text(encoding="latin1").splitlines()]
    texts, labels = [line[1] for line in lines], [line[0].split(":")[0] for line in lines]
    model = Classifier(epochs=2, threads=1, seed=0).fit(texts, labels)
    seconds = []
    for seed in range(options.repeats):
        begun = time.perf_counter()
        with torch.no_grad():
            report = measure(model.memory_probe(texts[:SENTENCES], labels[:SENTENCES]), seed=seed)
        page = report.to_html()
        seconds.append(time.perf_counter() - begun)
    row = {
        "case": f"Classifier on TREC, {SENTENCES} sentences",
        "measured": report.sequences[0],
        "seconds": round(statistics.median(seconds), 2),
        "lowest": round(min(seconds), 2),
        "highest": round(max(seconds), 2),
        "page_kilobytes": len(page) // 1000,
        "seeds": options.repeats,
        "must": MUST,
        **surroundings(),
    }
    print(
        f"{row['case']}: {row['seconds']} s ({row['lowest']} to {row['highest']}), {row['measured']} measured"
    )
    if not options.no_record:
        append_row(RESULTS, row)
    return int(statistics.median(seconds) > MUST)
