"""`storyline bench memory --cells rnn,gru,lstm,slstm,transformer --out results/`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from storyline.cli.failures import fail, reported
from storyline.cli.output import refuse_place, writing

if TYPE_CHECKING:
    from storyline.stories.benchmark import Row, Run

app = typer.Typer(no_args_is_help=True, help="Measure models side by side, as rows of a table.")

CELLS = "rnn,gru,lstm,slstm,transformer"
STORIES = "party,router,john-he,breakfast,but-then,chase,books,parity"
QUICK = "party,parity"


@app.callback()
def bench() -> None:
    """Measure models side by side, as rows of a table."""


@app.command("memory")
@reported
def memory(
    out: Annotated[
        Path, typer.Option(help="Folder for stories.csv and a picture a story.", show_default=False)
    ],
    cells: Annotated[str, typer.Option(help="Which cells, with commas between.")] = CELLS,
    stories: Annotated[
        str | None, typer.Option(help="Which stories, with commas between; or all.", show_default=STORIES)
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each cell.")] = 5,
    seconds: Annotated[float | None, typer.Option(help="Budget of a training.", show_default="60")] = None,
    examples: Annotated[int, typer.Option(min=1, help="Stories asked at each distance.")] = 200,
    filling: Annotated[
        str | None,
        typer.Option(help="Folder or file of prose (.txt, .txt.xz, .parquet).", show_default="a grammar's"),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings side by side, one core each.")] = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help=f"A first look: {QUICK}, 15 seconds a training, not so far.")
    ] = False,
) -> None:
    """Train each cell on stories, ask what they remember, and at which distance they no longer do.

    What is finished stays in stories.csv; the same command again goes on where it was stopped.
    """
    from rich.console import Console

    from storyline.memory.report.figures import to_png
    from storyline.stories.benchmark import label, share
    from storyline.stories.picture import recall_picture, table
    from storyline.stories.results_file import rows_of, run_into

    file = out / "stories.csv"
    refuse_place(file)
    budget = seconds if seconds is not None else (15.0 if quick else 60.0)
    runs = _runs(
        _names(cells),
        _names(stories or (QUICK if quick else STORIES)),
        seeds,
        budget,
        examples,
        filling,
        quick,
    )
    console = Console(stderr=True)
    filled = any(run.story.kind.filled for run in runs)
    if filling is not None and not filled:
        fail(
            f"--filling {filling} stands between fact and question, and none of these stories has words there"
        )
    if filling is None and filled:
        console.print(
            "note: no --filling, so the words between fact and question are a small grammar's", style="yellow"
        )
    finished = 0

    def say(rows: list[Row], left: int) -> None:
        nonlocal finished
        finished += 1
        shares = "  ".join(f"{row['distance']:,}: {share(row)}" for row in rows)
        head = f"{rows[0]['story']} {rows[0]['cell']} seed {rows[0]['seed']}"
        console.print(f"{head}: {shares}  ({left} left)", highlight=False)

    try:
        with writing(file):
            run_into(file, runs, jobs=jobs, progress=say)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{finished} runs were finished and stay in {file}; the same command goes on with the others"
        ) from None
    rows = rows_of(file, runs)
    for name in dict.fromkeys(label(run.story) for run in runs):
        if any(run.cell != "bag" and len(run.distances) > 1 for run in runs if label(run.story) == name):
            to_png(recall_picture(rows, name), str(out / f"{name}.png"))
    typer.echo(table(rows))
    typer.echo(f"rows in {file}, pictures beside it")


def _names(listed: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in listed.split(",") if name.strip()))


def _runs(
    cells: list[str],
    stories: list[str],
    seeds: int,
    seconds: float,
    examples: int,
    filling: str | None,
    quick: bool,
) -> list[Run]:
    from storyline.stories import STORIES as EVERY
    from storyline.stories.benchmark import BAG, Run, planned
    from storyline.stories.learning import Learning
    from storyline.stories.learning_model import CELLS as KNOWN

    for what, given, known in (("--cells", cells, KNOWN), ("--stories", stories, (*EVERY, "all"))):
        strange = [name for name in given if name not in known]
        if strange or not given:
            fail(f"{what} names {', '.join(strange) or 'nothing'}; choose from {', '.join(known)}")
    learning = Learning(seconds=seconds)
    runs = []
    for name in EVERY if "all" in stories else stories:
        story, distances = planned(name, quick=quick, filling=filling)
        runs.append(Run(story, BAG, 0, distances, learning, examples))
        runs += [
            Run(story, cell, seed, distances, learning, examples) for cell in cells for seed in range(seeds)
        ]
    return runs
