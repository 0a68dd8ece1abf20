"""The training loop: steps, validations and checkpoints in their order."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import torch
from lightning_fabric import Fabric

from storyline import artifact
from storyline.training.average import Average
from storyline.training.device import make_fabric, torch_set
from storyline.training.errors import DivergedError, Interrupted, TrainingError
from storyline.training.events import Listener, ValidationEvent
from storyline.training.identity import Identity
from storyline.training.interruption import interruptible
from storyline.training.program import Program
from storyline.training.recent import Recent
from storyline.training.record import Record
from storyline.training.report import Reporter, metrics_line
from storyline.training.result import TrainingResult, result_of
from storyline.training.settings import TrainingSettings
from storyline.training.state import State
from storyline.training.step import NotFiniteError, Stepper

NOTHING_MORE = Identity()


def train(
    program: Program,
    settings: TrainingSettings,
    *,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    events: Sequence[Listener] = (),
    identity: Identity = NOTHING_MORE,
) -> TrainingResult:
    """Train `program.module`, which ends in eval mode with the weights to keep (averaged, best: see settings).

    folder  gets metrics.jsonl and checkpoints/, and is locked meanwhile. The checkpoints stay after the
            end, until `remove_checkpoints`, so that a kill before the model is saved loses nothing.
    resume  go on from the newest checkpoint, or from the beginning where there is none yet. On a CPU, with
            the same program, settings, threads, machine and torch, the end is the same bits as that of a run
            never stopped. A run that finished is not run again: its result is returned.
    identity  the model's settings and the data: what else must be the same for that
    Ctrl-C ends it after the step in hand; pressed again, it drops that step, or the validation it is in.
    Errors: TrainingError (nothing to resume, other data, settings or program, a run that is there already);
    DivergedError (loss or gradient not finite); Interrupted (Ctrl-C); artifact.ArtifactError (disk full,
    folder in use). torch's generators and thread count are afterwards as they were before.
    """
    if resume and folder is None:
        raise TrainingError("resume needs the folder of the run that is to go on")
    place = None if folder is None else Path(folder)
    fabric = make_fabric(settings, program.module)
    with (
        nullcontext() if place is None else artifact.locked(place),
        torch_set(settings, fabric.device) as threads,
    ):
        run = _Run(program, settings, identity, fabric, place, events, threads)
        run.record.begin(run.state, fabric.device, resume=resume)
        run.to_the_end()
        return result_of(run.state, run.batches_per_epoch)


class _Run:
    def __init__(
        self,
        program: Program,
        settings: TrainingSettings,
        identity: Identity,
        fabric: Fabric,
        folder: Path | None,
        events: Sequence[Listener],
        threads: int,
    ):
        self.program, self.settings, self.fabric, self.folder = program, settings, fabric, folder
        fabric.to_device(program.module)
        self.batches_per_epoch = len(program.batches(0))
        if self.batches_per_epoch == 0:
            raise TrainingError("the program has no batches; give at least one sequence to train on")
        steps = settings.epochs * self.batches_per_epoch
        self.total_steps = steps if settings.max_steps is None else min(settings.max_steps, steps)
        self.reporter = Reporter(events)
        self.stepper = Stepper(program, settings, fabric, self.total_steps)
        average = None if settings.average is None else Average(program.module, settings.average)
        recent = None if settings.average_last is None else Recent(settings.average_last)
        self.state = State(program.module, self.stepper.optimizer, average, recent)
        environment = {"threads": str(threads), "torch": torch.__version__, "device": str(fabric.device)}
        self.record = Record(folder, settings, identity, self.batches_per_epoch, environment, self.reporter)

    def to_the_end(self) -> None:
        """Take all steps that are left; then give the module the weights to keep."""
        state = self.state
        self.reporter.begin(state.counters.step)
        self.started = time.perf_counter() - state.counters.seconds
        state.module.train()
        with interruptible() as self.interruption:
            while not state.counters.finished:
                self._epoch()
        state.module.eval()
        if state.average is not None:
            state.average.copy_to_module()
        if state.best is not None:
            state.module.load_state_dict(state.best)

    def _epoch(self) -> None:
        counters = self.state.counters
        epoch = counters.epoch
        batches = self.program.batches(epoch)
        if len(batches) != self.batches_per_epoch:
            raise TrainingError(
                f"batches({epoch}) has {len(batches)} items, batches(0) {self.batches_per_epoch}; "
                "every epoch must have the same number"
            )
        while counters.epoch == epoch and not counters.finished:
            try:
                loss, items = self.stepper.step(self.state, batches, self.interruption)
            except NotFiniteError as error:
                self.record.save(self.state, self.fabric.device)
                raise self._diverged(error) from None
            except KeyboardInterrupt:
                self._interrupted()
            self.reporter.items += items
            try:
                self._after_step(loss)
            except KeyboardInterrupt:
                # The step counts already and its validation does not: of that there can be no checkpoint.
                raise Interrupted(self.record.step, self.folder, while_validating=counters.step) from None
            if self.interruption.requested and not counters.finished:
                self._interrupted()

    def _after_step(self, loss: float) -> None:
        state, counters, settings = self.state, self.state.counters, self.settings
        epoch = counters.epoch + 1
        ended = counters.position == self.batches_per_epoch
        if ended:
            counters.epoch, counters.position, state.carry = epoch, 0, None
        last = counters.step == self.total_steps
        due = ended if settings.validate_every is None else counters.step % settings.validate_every == 0
        metrics = self._validate(epoch) if due or last else {}
        counters.finished = last or counters.stopped_early
        averaged = self._validate_mean(epoch) if counters.finished else {}
        now = time.perf_counter()
        counters.seconds = now - self.started
        if metrics or counters.finished or counters.step % settings.log_every == 0:
            state.lines.append(metrics_line(state, epoch, metrics, averaged))
        self.reporter.show(counters.step, self.total_steps, epoch, loss, now)
        if self.record.is_due(state, now):
            self.record.save(state, self.fabric.device)

    def _validate(self, epoch: int) -> dict[str, float]:
        state, counters, patience = self.state, self.state.counters, self.settings.patience
        state.module.eval()
        applied = nullcontext() if state.average is None else state.average.applied()
        with applied, torch.no_grad():
            metrics, is_best = self._measured(epoch)
            if is_best and self.settings.restore_best:
                state.best = {name: value.clone() for name, value in state.module.state_dict().items()}
            if state.recent is not None:
                state.recent.take(state.module)
        state.module.train()
        if not metrics and patience is not None:
            raise TrainingError(
                "patience needs a validation, but the program gives no metric; set it to None"
            )
        counters.stopped_early = patience is not None and counters.waiting >= patience
        return metrics

    def _measured(self, epoch: int) -> tuple[dict[str, float], bool]:
        """The metrics of the weights that the module has, and whether they are the best so far."""
        with self.fabric.autocast():
            self.interruption.allow()
            metrics = {name: float(value) for name, value in self.program.validate().items()}
            self.interruption.forbid()
        is_best = bool(metrics) and self._is_best(metrics)
        if metrics:
            self.reporter.tell(ValidationEvent(self.state.counters.step, epoch, metrics, is_best))
        return metrics, is_best

    def _validate_mean(self, epoch: int) -> dict[str, float]:
        """Validate the mean of the last validations' weights, and make it the weights to keep where it is to be."""
        state = self.state
        if state.recent is None or len(state.recent) < 2:
            return {}
        weights = {name: value.clone() for name, value in state.module.state_dict().items()}
        mean = state.recent.mean()
        state.module.load_state_dict(mean)
        state.module.eval()
        try:
            with torch.no_grad():
                metrics, is_best = self._measured(epoch)
        finally:
            state.module.load_state_dict(weights)
            state.module.train()
        if is_best or not self.settings.restore_best or not metrics:
            state.best, state.counters.averaged = mean, True
        return metrics

    def _is_best(self, metrics: dict[str, float]) -> bool:
        counters, monitor = self.state.counters, self.program.monitor
        if monitor not in metrics:
            raise TrainingError(
                f"the monitored metric {monitor!r} is not among the validation's {sorted(metrics)}"
            )
        value, best = metrics[monitor], counters.best
        sign = 1 if self.program.mode == "max" else -1
        if math.isfinite(value) and (best is None or sign * value > sign * best):
            counters.best, counters.best_step, counters.waiting = value, counters.step, 0
            return True
        counters.waiting += 1
        return False

    def _interrupted(self) -> NoReturn:
        self.record.save(self.state, self.fabric.device)
        raise Interrupted(self.state.counters.step, self.folder) from None

    def _diverged(self, error: NotFiniteError) -> DivergedError:
        counters = self.state.counters
        rows = getattr(error.item, "rows", None)
        return DivergedError(
            step=counters.step + 1,
            epoch=counters.epoch + 1,
            batch=counters.position + 1,
            what=str(error),
            rows=None if rows is None else [int(row) for row in rows],
            kept=""
            if self.folder is None
            else f" and a checkpoint of the last good state is in {self.folder}",
        )
