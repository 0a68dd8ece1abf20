"""Live progress of a training: step, loss, sequences a second, time left."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

if TYPE_CHECKING:
    from storyline.training import Event


class _TimeLeft(ProgressColumn):
    def render(self, task: Task) -> Text:
        left = task.fields.get("seconds_left")
        if left is None:
            return Text("  –:–– left", style="dim")
        return Text(f"{int(left) // 60:3d}:{int(left) % 60:02d} left", style="dim")


class TrainingProgress:
    """A context manager whose instance is an event handler for `fit(events=[...])`.

    On a terminal it is a live bar; elsewhere (a log file) it prints a line a validation.
    """

    def __init__(self, title: str, console: Console, *, unit: str = "sequences") -> None:
        self._console = console
        self._live = console.is_terminal
        self._unit = unit
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("{task.fields[speed]}", style="dim"),
            _TimeLeft(),
            TextColumn("{task.fields[score]}", style="green"),
            console=console,
            disable=not self._live,
        )
        self._task = self._progress.add_task(title, total=1, loss="–", speed="", score="", seconds_left=None)
        self._title = title

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        from storyline.training import StepEvent, ValidationEvent, WarningEvent

        if isinstance(event, StepEvent):
            self._progress.update(
                self._task,
                completed=event.step,
                total=event.total_steps,
                loss=f"{event.loss:.4f}",
                speed=f"{event.items_per_second:,.0f} {self._unit}/s",
                seconds_left=event.seconds_left,
            )
        elif isinstance(event, ValidationEvent):
            score = "  ".join(f"{name} {value:.4f}" for name, value in event.metrics.items())
            self._progress.update(self._task, score=score)
            if not self._live:
                self._console.print(f"{self._title}: step {event.step}  {score}", highlight=False)
        elif isinstance(event, WarningEvent):
            self._console.print(
                f"note: {event.message}", style="yellow", markup=False, highlight=False, soft_wrap=True
            )
