"""What a training says while it runs: events for whoever watches, lines for metrics.jsonl."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any

from storyline.training.events import Event, Listener, StepEvent
from storyline.training.state import State

_EVENT_SECONDS = 0.1


class Reporter:
    """Tells the listeners, and measures speed for them; what it says never decides what is computed."""

    def __init__(self, events: Sequence[Listener]):
        self.events = events
        self.items = 0
        self.begin(0)

    def begin(self, step: int) -> None:
        """Time starts here: the loop is about to take the step after `step`."""
        self.begun = self.shown = time.perf_counter()
        self.first_step = step

    def tell(self, event: Event) -> None:
        """Give the event to every listener."""
        for listener in self.events:
            listener(event)

    def show(self, step: int, total_steps: int, epoch: int, loss: float, now: float) -> None:
        """Tell of a step, unless one was told of less than a tenth of a second ago."""
        if now - self.shown < _EVENT_SECONDS and step != total_steps:
            return
        self.tell(
            StepEvent(
                step=step,
                total_steps=total_steps,
                epoch=epoch,
                loss=loss,
                items_per_second=self.items / max(now - self.shown, 1e-9),
                seconds_left=(now - self.begun) / max(1, step - self.first_step) * (total_steps - step),
            )
        )
        self.shown, self.items = now, 0


def metrics_line(state: State, epoch: int, metrics: dict[str, float], averaged: dict[str, float]) -> str:
    """A line of metrics.jsonl: means since the line before, then what the validation said; seconds last."""
    counters = state.counters
    steps = counters.logged_steps
    line: dict[str, Any] = {
        "step": counters.step,
        "epoch": epoch,
        "loss": counters.loss_sum / steps,
        "learning_rate": state.optimizer.param_groups[0]["lr"],
        "gradient_norm": counters.norm_sum / steps,
        "clipped_share": counters.clipped / counters.step,
    }
    # JSON knows no nan and no inf.
    for kind, found in (("validation", metrics), ("averaged", averaged)):
        line |= {f"{kind}_{name}": value if math.isfinite(value) else None for name, value in found.items()}
    counters.loss_sum = counters.norm_sum = 0.0
    counters.logged_steps = 0
    return json.dumps(line | {"seconds": round(counters.seconds, 3)})
