"""`python -m benchmarks.memory.stories [--quick]`: what each cell recalls of stories, over which distance.

Rows go to results/stories.csv as they are finished; the same command again goes on. `--quick` trains the LSTM alone,
and asks no further than what is claimed of it; its rows go to results/stories-quick.csv, and what all of it took to
results/quick.csv. `--all-at-once` tells the facts of every variety from the first batch, for comparison; its rows go to
results/stories-all-at-once.csv. `--claims` judges the rows that are there against what they must show. `--tiny` takes
seconds and records nothing that means anything.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.record import DATA, append_row, surroundings
from storyline.memory.report.figures import to_png
from storyline.stories import STORIES
from storyline.stories.benchmark import BAG, Row, Run, label, planned, share
from storyline.stories.learning import Learning
from storyline.stories.picture import curves, recall_picture, table
from storyline.stories.results_file import read_rows, rows_of, run_into

RESULTS = Path(__file__).parent / "results"
NOVELS, FILINGS = DATA / "english_novels", DATA / "sec_10k_mda"
CELLS = ("lstm", "slstm", "gru", "rnn", "transformer")
# Stories whose question is asked of a second fact too.
TWICE = {"party": 2}
SEEDS, EXAMPLES = 5, 100
# Seconds of a training; those by their label need longer for what they ask.
SECONDS = 80.0
LONGER = {"party-2-facts": 240.0, "router": 300.0, "anna": 420.0, "theme": 240.0}
# What is claimed needs less than what is asked beyond it: of the quick set, the seconds of the others, and how much
# longer a training goes on than the way to the full distance took.
QUICK_SECONDS, QUICK_REST = 60.0, 2.0


@dataclass(frozen=True)
class Claim:
    """At least `must` of a story's facts at a distance, by at least `seeds` of the seeds of the LSTM."""

    story: str
    distance: int
    must: float = 0.95
    seeds: float = 0.8


CLAIMS = (
    Claim("party", 25_000),
    Claim("party-2-facts", 25_000),
    Claim("router", 1_500),
    *(Claim(story, 900) for story in ("john-he", "breakfast", "but-then")),
    *(Claim(story, 16) for story in ("chase", "books")),
    Claim("parity", 1_000, must=1.0),
)


def listed(
    stories: list[str], cells: list[str], seeds: int, seconds: float | None = None, *, examples: int
) -> list[Run]:
    """The runs of stories and cells, the bag of words first; seconds of a training, None: the story's own."""
    runs = []
    for name in stories:
        filling = str(FILINGS if name == "filing" else NOVELS)
        for facts in (None, TWICE[name]) if name in TWICE else (None,):
            story, distances = planned(name, filling=filling, facts=facts)
            learning = Learning(seconds=seconds or LONGER.get(label(story), SECONDS))
            runs.append(Run(story, BAG, 0, distances, learning, examples))
            runs += [
                Run(story, cell, seed, distances, learning, examples)
                for cell in cells
                for seed in range(seeds)
            ]
    return runs


def quick(seeds: int, seconds: float | None = None, *, examples: int) -> list[Run]:
    """The runs of the LSTM that the claims are about, asked at the trained and at the claimed distance."""
    claimed = {claim.story: claim.distance for claim in CLAIMS}
    runs = listed(list(dict.fromkeys(map(name_of, claimed))), ["lstm"], seeds, seconds, examples=examples)
    return [
        replace(
            run,
            distances=(run.story.distance, claimed[label(run.story)]),
            learning=replace(
                run.learning, seconds=seconds or LONGER.get(label(run.story), QUICK_SECONDS), rest=QUICK_REST
            ),
        )
        for run in runs
        if run.cell != BAG
    ]


def newest(rows: list[dict[str, str]], *keys: str) -> list[dict[str, str]]:
    """Of each value of the keys the row that stands last."""
    return list({tuple(row[key] for key in keys): row for row in rows}.values())


def judged(rows: list[dict[str, str]]) -> list[str]:
    """A line a claim: what was measured, and whether it holds; of a seed that was trained again, the newest row."""
    rows = newest(rows, "story", "cell", "seed", "distance")
    lines = []
    for claim in CLAIMS:
        own = [
            row for row in rows if (row["story"], row["cell"]) == (claim.story, "lstm") and row["accuracy"]
        ]
        shares = [float(row["accuracy"]) for row in own if int(row["distance"]) == claim.distance]
        if not shares:
            lines.append(f"{claim.story} at {claim.distance:,}: not measured")
            continue
        holds = sum(share >= claim.must for share in shares)
        verdict = "holds" if holds >= claim.seeds * len(shares) else "FALLS SHORT"
        lines.append(
            f"{claim.story} at {claim.distance:,}: {holds} of {len(shares)} seeds reach {claim.must:.0%} "
            f"({' '.join(f'{share:.0%}' for share in shares)}): {verdict}"
        )
    return lines


def draw(rows: list[dict[str, str]], folder: Path) -> None:
    """A picture of each story that was asked at more than one distance."""
    for story in dict.fromkeys(row["story"] for row in rows):
        if any(len(curve.distances) > 1 for curve in curves(rows, story)):
            to_png(recall_picture(rows, story), str(folder / f"stories-{story}.png"))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory.stories", description=__doc__)
    parser.add_argument("--stories", nargs="+", choices=STORIES, metavar="STORY", default=list(STORIES))
    parser.add_argument("--cells", nargs="+", default=list(CELLS))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument(
        "--seconds", type=float, help=f"of each training; {SECONDS:g}, and of some stories more"
    )
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="asked at each distance")
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side, one thread each")
    parser.add_argument("--quick", action="store_true", help="what is claimed of the LSTM alone")
    parser.add_argument(
        "--all-at-once", action="store_true", help="every variety of facts from the beginning"
    )
    parser.add_argument("--claims", action="store_true", help="train nothing, judge the rows that are there")
    parser.add_argument("--tiny", action="store_true", help="seconds; the numbers mean nothing")
    asked = parser.parse_args()
    part = "-quick" if asked.quick else "-all-at-once" if asked.all_at_once else ""
    file = RESULTS / f"stories{part}.csv"
    if asked.claims:
        print("\n".join(judged(read_rows(file))))
        return
    if asked.tiny:
        tiny(asked.stories, asked.cells)
        return
    for folder in (NOVELS, FILINGS):
        if not folder.is_dir():
            parser.exit(
                1, f"{folder} is not there; put the novels and filings of the real data in its place\n"
            )
    if asked.quick:
        runs = quick(asked.seeds, asked.seconds, examples=asked.examples)
    else:
        runs = listed(asked.stories, asked.cells, asked.seeds, asked.seconds, examples=asked.examples)
    if asked.all_at_once:
        runs = [
            replace(run, learning=replace(run.learning, variety=False)) for run in runs if run.cell != BAG
        ]
    place: Row = dict(surroundings())
    begun, finished = time.perf_counter(), 0

    def progress(rows: list[Row], left: int) -> None:
        nonlocal finished
        finished += 1
        said(rows, left)

    run_into(file, runs, jobs=asked.jobs, place=place, progress=progress)
    seconds = time.perf_counter() - begun
    print(f"{seconds:,.0f} seconds with {asked.jobs} trainings side by side")
    rows = rows_of(file, runs)
    verdicts = judged(rows)
    if asked.quick:
        # What went on where it had been stopped took less than all of it.
        if (finished, asked.seeds, asked.examples, asked.seconds) == (len(runs), SEEDS, EXAMPLES, None):
            holds = sum(line.endswith(": holds") for line in verdicts)
            told = {"trainings": finished, "jobs": asked.jobs, "seconds": round(seconds)}
            append_row(RESULTS / "quick.csv", {**told, "claims": len(verdicts), "holds": holds, **place})
        else:
            print(
                "no row of what all of it takes: a part was there already, or the settings are not the usual"
            )
    if not part:
        draw(rows, RESULTS)
    print(table(rows))
    print("\n".join(verdicts))


def name_of(story: str) -> str:
    """The kind of a story by its label."""
    return next(name for name in sorted(STORIES, key=len, reverse=True) if story.startswith(name))


def said(rows: list[Row], left: int) -> None:
    """Print what a run recalled."""
    shares = "  ".join(f"{row['distance']}: {share(row)}" for row in rows)
    print(f"{rows[0]['story']} {rows[0]['cell']} seed {rows[0]['seed']}: {shares}  ({left} left)", flush=True)


def tiny(stories: list[str], cells: list[str]) -> None:
    """Everything at a size that takes seconds, in a folder that is thrown away."""
    folder = Path(tempfile.mkdtemp())
    try:
        learning = Learning(seconds=None, batches=2, hidden_size=8, embedding_size=4, sharpenings=(1.0,))
        runs = []
        for name in stories:
            story, distances = planned(name)
            runs += [
                Run(story, cell, 0, tuple(each for each in distances if each <= 100), learning, 2)
                for cell in cells
            ]
        run_into(folder / "stories.csv", runs, progress=said)
        draw(read_rows(folder / "stories.csv"), folder)
        print("\n".join(judged(read_rows(folder / "stories.csv"))))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
