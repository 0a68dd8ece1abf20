"""What a training came to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from storyline.training.state import State


@dataclass(frozen=True)
class TrainingResult:
    """What `train` returns.

    steps, epochs   taken (epochs as a fraction of whole passes)
    history         the lines of metrics.jsonl, as dicts; a validation's metrics are validation_NAME, and in the last
                    line averaged_NAME those of the mean weights (average_last)
    best            the validation metrics of the weights that the module now has; {} without validation
    clipped_share   share of the steps whose gradient was clipped
    gradient_norm   the median over the steps (of a long training over up to 256 of them, evenly spread) of the norm
                    that the gradient by all parameters had before it was clipped; of a run begun before it was kept
                    that of the steps since, None where there are none
    seconds         of training, all runs together
    """

    steps: int
    epochs: float
    history: list[dict[str, Any]]
    best: dict[str, float]
    clipped_share: float
    gradient_norm: float | None
    seconds: float
    stopped_early: bool


def result_of(state: State, batches_per_epoch: int) -> TrainingResult:
    """The result of a training that has come to its end."""
    counters = state.counters
    history = [json.loads(line) for line in state.lines]
    kind = "averaged_" if counters.averaged else "validation_"
    validations = {
        line["step"]: {
            name.removeprefix(kind): value for name, value in line.items() if name.startswith(kind)
        }
        for line in history
    }
    last = counters.averaged or state.best is None or counters.best_step is None
    return TrainingResult(
        steps=counters.step,
        epochs=counters.epoch + counters.position / batches_per_epoch,
        history=history,
        best=validations[counters.step if last else counters.best_step],
        clipped_share=counters.clipped / counters.step,
        gradient_norm=counters.typical_norm,
        seconds=counters.seconds,
        stopped_early=counters.stopped_early,
    )
