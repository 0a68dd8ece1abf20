"""The folder of a run: who may have it, what is in it while the run goes on, and what stays."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from storyline.cli.failures import fail
from storyline.cli.runs import FINISHED, UNFINISHED, Run


def refuse_occupied(out: Path, overwrite: bool) -> None:
    """Leave with a sentence where `out` is no folder to train into."""
    if out.exists() and not out.is_dir():
        fail(f"--out {out} is a file; name a folder")
    if not out.is_dir() or not any(path.name != ".lock" for path in out.iterdir()):
        return
    if overwrite and any((out / name).is_file() for name in ("manifest.json", UNFINISHED)):
        return
    if (out / UNFINISHED).is_file():
        fail(
            f"{out} holds an unfinished run: `storyline train --resume {out}` goes on, --overwrite starts again"
        )
    if (out / "manifest.json").is_file():
        fail(f"{out} already holds a model; pass --overwrite to replace it, or another --out")
    fail(f"{out} is not empty and holds no model of ours; name an empty or new folder")


def carry_out(run: Run, out: Path, *, resume: bool, overwrite: bool) -> None:
    """Read the data, fit, save, and say what came of it."""
    from rich.console import Console

    from storyline.artifact import locked
    from storyline.cli.estimators import build, read_training
    from storyline.cli.progress import TrainingProgress
    from storyline.cli.summary import print_constant, print_dropped, print_duplicates, print_training
    from storyline.training import find_run, remove_checkpoints

    console = Console()
    examples, extra = read_training(run)
    if examples.channels is not None:
        run = replace(run, columns=run.columns | {"channels": examples.channels})
    estimator = build(run)
    with locked(out), _interruptible(out):
        _enter(run, out, resume=resume, overwrite=overwrite)
        # A run that was killed before its first checkpoint begins again, whatever model the folder holds.
        begun = resume and find_run(out) is not None
        try:
            with TrainingProgress(run.task, console, unit=examples.unit) as progress:
                estimator.fit(*examples.arguments(), folder=out, resume=begun, events=(progress,), **extra)
        except ValueError:
            if not resume:
                _withdraw(out)
            raise
        estimator.save_pretrained(out, documents={FINISHED: run.located().to_json()})
        (out / UNFINISHED).unlink()
        remove_checkpoints(out)
    print_constant(console, estimator, examples.channel_names)
    print_dropped(console, estimator, examples)
    for name in ("vectors", "target_vectors"):
        if name in extra:
            print_duplicates(console, extra[name], run.files[name])
    print_training(console, estimator, run, out)


def _enter(run: Run, out: Path, *, resume: bool, overwrite: bool) -> None:
    """Make the folder the run's. Call it under the lock: what was seen before may be another run's work by now."""
    from storyline.artifact import write_whole
    from storyline.training import remove_checkpoints

    if resume:
        if Run.unfinished(out).located() != run.located():
            fail(
                f"another run was begun in {out} meanwhile; `storyline train --resume {out}` goes on with that"
            )
        return
    refuse_occupied(out, overwrite)
    remove_checkpoints(out)
    (out / "metrics.jsonl").unlink(missing_ok=True)
    write_whole(out / UNFINISHED, run.located().to_json())


@contextmanager
def _interruptible(out: Path) -> Iterator[None]:
    """Say after Ctrl-C what the folder holds, and how to go on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if not (out / UNFINISHED).is_file():
            raise
        kept = (out / "checkpoints" / "manifest.json").is_file()
        where = str(stop) or ("its newest checkpoint is kept" if kept else "before its first checkpoint")
        again = "goes on" if kept else "begins it again"
        raise KeyboardInterrupt(
            f"{where}; `storyline train --resume {shlex.quote(str(out))}` {again}"
        ) from stop


def _withdraw(out: Path) -> None:
    """Take back what a run that was refused before its first checkpoint left in its folder."""
    if (out / "checkpoints" / "manifest.json").is_file():
        return
    shutil.rmtree(out / "checkpoints", ignore_errors=True)
    (out / UNFINISHED).unlink(missing_ok=True)
    if {path.name for path in out.iterdir()} <= {".lock"}:
        shutil.rmtree(out, ignore_errors=True)
