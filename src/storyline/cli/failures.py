"""What the command line says, and which code it exits with, when something goes wrong."""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import NoReturn, ParamSpec, TypeVar

import typer

UNUSABLE_INPUT = 2
DIVERGED = 3
INTERRUPTED = 130

P = ParamSpec("P")
R = TypeVar("R")


def fail(message: str, code: int = UNUSABLE_INPUT) -> NoReturn:
    """Say one sentence on standard error and leave with `code`."""
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)


def reported(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the refusals of the library into one clear sentence and an exit code.

    STORYLINE_TRACEBACK=1 shows where they were raised. Anything that is not a refusal is our defect and keeps
    its traceback.
    """

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except _refusals() as problem:
            if os.environ.get("STORYLINE_TRACEBACK"):
                raise
            _explain(problem)

    return guarded


def _refusals() -> tuple[type[BaseException], ...]:
    """What is no defect of ours; polars' own among them, where it was loaded."""
    polars = sys.modules.get("polars")
    tables = () if polars is None else (polars.exceptions.PolarsError,)
    return (ValueError, OSError, KeyboardInterrupt, *tables)


def _explain(problem: BaseException) -> NoReturn:
    if isinstance(problem, KeyboardInterrupt):
        # Whoever knows what was written, and how to go on, says so in the exception.
        fail(f"interrupted: {str(problem) or 'the command did not finish'}", INTERRUPTED)
    # Only half of the module is there where its import was interrupted or failed.
    diverged = getattr(sys.modules.get("storyline.training"), "DivergedError", None)
    if diverged is not None and isinstance(problem, diverged):
        fail(str(problem), DIVERGED)
    if isinstance(problem, BrokenPipeError):
        # The reader of our output left (as `| head` does): not a failure worth words.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
        raise typer.Exit(0)
    if isinstance(problem, OSError):
        where = f" ({problem.filename})" if problem.filename else ""
        if problem.errno == errno.ENOSPC:
            fail(f"the disk is full{where}; free some space and run the command again")
        fail(f"{problem.strerror or problem}{where}")
    if not isinstance(problem, ValueError):
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        fail(f"the table cannot be handled: {reason}; leave the column out, or change its type")
    fail(str(problem))
