"""What ends a training before its time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class TrainingError(ValueError):
    """A training that cannot start or go on; the message says why and what to do."""


class DivergedError(TrainingError):
    """Loss or gradient stopped being finite. The step was not applied."""

    def __init__(
        self, *, step: int, epoch: int, batch: int, what: str, rows: Sequence[int] | None, kept: str
    ):
        self.step, self.epoch, self.batch, self.rows = step, epoch, batch, rows
        read = "" if rows is None else f" (rows {_listed(rows)})"
        super().__init__(
            f"{what} at step {step}, epoch {epoch}, batch {batch}{read}; the step was not applied{kept}; "
            "look at those rows, lower learning_rate or set clip_norm, and train again"
        )


class Interrupted(KeyboardInterrupt):
    """Ctrl-C: the training is stopped.

    step    where a resumption goes on: the step of the newest checkpoint, which is in `folder`
    folder  None: nothing is kept
    """

    def __init__(self, step: int, folder: Path | None, *, while_validating: int | None = None):
        self.step, self.folder = step, folder
        which = "its checkpoint" if while_validating is None else f"the checkpoint of step {step}"
        kept = "no folder was given, so nothing is kept" if folder is None else f"{which} is in {folder}"
        stopped = (
            f"after step {step}" if while_validating is None else f"while validating step {while_validating}"
        )
        super().__init__(f"stopped {stopped}; {kept}")


def _listed(rows: Sequence[int], most: int = 8) -> str:
    return ", ".join(str(row) for row in rows[:most]) + (", ..." if len(rows) > most else "")
