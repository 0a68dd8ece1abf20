"""The training loop: steps, validation, lines of metrics.jsonl, checkpoints; resumed bit for bit."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.optim import AdamW

from storyline import artifact
from storyline.training.average import Average
from storyline.training.checkpoint import CHECKPOINTS, load_checkpoint, save_checkpoint
from storyline.training.device import Interruption, interruptible, make_fabric, moved, torch_set
from storyline.training.errors import DivergedError, Interrupted, TrainingError
from storyline.training.events import (
    CheckpointEvent,
    Event,
    Listener,
    ResumeEvent,
    StepEvent,
    ValidationEvent,
    WarningEvent,
)
from storyline.training.program import Program, decayed_and_not
from storyline.training.schedule import learning_rate_factor
from storyline.training.settings import MAY_DIFFER, TrainingSettings
from storyline.training.state import Randomness, State

_EVENT_SECONDS = 0.1


@dataclass(frozen=True)
class TrainingResult:
    """What a training came to.

    steps, epochs   taken (epochs as a fraction, of whole passes)
    history         the lines of metrics.jsonl, as dicts
    best            the validation metrics of the weights that the module now has; {} without validation
    clipped_share   share of the steps whose gradient was clipped
    seconds         all runs together
    """

    steps: int
    epochs: float
    history: list[dict[str, Any]]
    best: dict[str, float]
    clipped_share: float
    seconds: float
    stopped_early: bool


def train(
    program: Program,
    settings: TrainingSettings,
    *,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    events: Sequence[Listener] = (),
) -> TrainingResult:
    """Train `program.module`, which ends with the weights to keep (averaged, and best, as the settings ask).

    folder  gets metrics.jsonl and checkpoints/, and is locked meanwhile. The checkpoints stay after the end, until
            `remove_checkpoints`, so that a kill between the end and the saving of the model loses nothing.
    resume  go on from the newest checkpoint (from the beginning where there is none yet). With the same program,
            settings, threads, machine and torch the end is the same bits as that of a run never stopped. A run that
            finished is not run again: its result is returned.
    Errors: TrainingError (nothing to resume, or another program or settings; a run that is there already);
    DivergedError (loss or gradient not finite); Interrupted (Ctrl-C); artifact.ArtifactError (disk full, folder in
    use). torch's generators and thread count are afterwards as they were before.
    """
    if resume and folder is None:
        raise TrainingError("resume needs the folder of the run that is to go on")
    place = None if folder is None else Path(folder)
    with nullcontext() if place is None else artifact.locked(place), torch_set(settings) as threads:
        run = _Run(program, settings, place, events, threads)
        run.start(resume)
        run.finish_training()
        return run.result()


class _Run:
    def __init__(
        self,
        program: Program,
        settings: TrainingSettings,
        folder: Path | None,
        events: Sequence[Listener],
        threads: int,
    ):
        self.program, self.settings, self.folder, self.events = program, settings, folder, events
        self.fabric = make_fabric(settings)
        self.device = self.fabric.device
        module = self.fabric.to_device(program.module)
        self.environment = {"threads": threads, "torch": torch.__version__, "device": str(self.device)}
        self.state = State(
            module, self._optimizer(), Average(module, settings.average) if settings.average else None
        )
        self.parameters = [value for group in self.state.optimizer.param_groups for value in group["params"]]
        self.buffers = list(module.buffers())
        self.batches_per_epoch = len(program.batches(0))
        if self.batches_per_epoch == 0:
            raise TrainingError("the program has no batches; give at least one sequence to train on")
        every = settings.epochs * self.batches_per_epoch
        self.total_steps = every if settings.max_steps is None else min(settings.max_steps, every)
        self.begun = self.started = self.checkpointed = self.shown = time.perf_counter()
        self.items = self.first_step = 0

    def _optimizer(self) -> AdamW:
        settings = self.settings
        own = getattr(self.program, "parameter_groups", None)
        groups = own() if own is not None else decayed_and_not(self.program.module, settings.weight_decay)
        if not groups:
            raise TrainingError(
                "the module has no parameter that requires a gradient; there is nothing to train"
            )
        for group in groups:
            group["peak"] = group.get("lr", settings.learning_rate)
        return AdamW(
            groups,
            lr=settings.learning_rate,
            betas=settings.betas,
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
            fused=True,
        )

    # Beginning and end

    def start(self, resume: bool) -> None:
        if self.folder is None:
            torch.manual_seed(self.settings.seed)
            return
        found = load_checkpoint(self.folder, lambda message: self._tell(WarningEvent(message)))
        if found is not None and not resume:
            raise TrainingError(
                f"{self.folder} holds the checkpoints of a run (step {found.config['counters']['step']}); "
                f"resume it, or remove {self.folder / CHECKPOINTS} to train anew"
            )
        if found is not None:
            self._check_same(found.config)
            self.state.from_checkpoint(found.config, found.tensors, self.device)
            self.state.lines = found.text("metrics.jsonl").splitlines()
        elif resume and artifact.exists(self.folder):
            raise TrainingError(
                f"{self.folder} holds a finished model and no checkpoint; there is nothing to resume: load it"
            )
        else:
            torch.manual_seed(self.settings.seed)
            self._checkpoint(Randomness.now(self.device))
        if resume:
            self._tell(ResumeEvent(self.state.counters.step, self.state.counters.finished))
        self.first_step = self.state.counters.step

    def _check_same(self, config: dict[str, Any]) -> None:
        now = json.loads(json.dumps(self._identity()))
        for name, value in now.items():
            if name not in MAY_DIFFER and config["settings"].get(name) != value:
                raise TrainingError(
                    f"{self.folder} was begun with {name} = {config['settings'].get(name)!r}, now it is {value!r}; "
                    "resume with the same, or train anew in another folder"
                )
        for name, value in self.environment.items():
            if config["environment"][name] != value:
                self._tell(
                    WarningEvent(
                        f"the run began with {name} {config['environment'][name]}, now it is {value}: "
                        "it goes on, but its last bits may differ from those of a run never stopped"
                    )
                )

    def _identity(self) -> dict[str, Any]:
        return self.settings.model_dump(mode="json") | {"batches_per_epoch": self.batches_per_epoch}

    def result(self) -> TrainingResult:
        counters = self.state.counters
        history = [json.loads(line) for line in self.state.lines]
        validated = [line for line in history if any(name.startswith("validation_") for name in line)]
        kept = (
            [line for line in validated if line["step"] == counters.best_step]
            if self.state.best
            else validated
        )
        best = {
            name.removeprefix("validation_"): value
            for name, value in (kept[-1] if kept else {}).items()
            if name.startswith("validation_")
        }
        return TrainingResult(
            steps=counters.step,
            epochs=counters.epoch + counters.position / self.batches_per_epoch,
            history=history,
            best=best,
            clipped_share=counters.clipped / counters.step,
            seconds=counters.seconds,
            stopped_early=counters.stopped_early,
        )

    def finish_training(self) -> None:
        self.begun = self.shown = time.perf_counter()
        self.started = self.begun - self.state.counters.seconds
        self.state.module.train()
        with interruptible() as interruption:
            while not self.state.counters.finished:
                self._epoch(interruption)
        self.state.module.eval()
        if self.state.average is not None:
            self.state.average.copy_to_module()
        if self.state.best is not None:
            self.state.module.load_state_dict(self.state.best)

    # A step and what follows it

    def _epoch(self, interruption: Interruption) -> None:
        counters = self.state.counters
        batches = self.program.batches(counters.epoch)
        if len(batches) != self.batches_per_epoch:
            raise TrainingError(
                f"batches({counters.epoch}) has {len(batches)} items and batches(0) {self.batches_per_epoch}; "
                "every epoch must have the same number"
            )
        for position in range(counters.position, len(batches)):
            loss = self._step(batches[position])
            self._after_step(loss)
            if counters.finished:
                return
            if interruption.requested:
                self._interrupted(Randomness.now(self.device))

    def _step(self, item: Any) -> float:
        state, counters, settings = self.state, self.state.counters, self.settings
        factor = learning_rate_factor(
            counters.step, self.total_steps, schedule=settings.schedule, warmup=settings.warmup
        )
        for group in state.optimizer.param_groups:
            group["lr"] = factor * group["peak"]
        randomness = Randomness.now(self.device)
        buffers = [buffer.clone() for buffer in self.buffers]
        state.optimizer.zero_grad(set_to_none=True)
        try:
            if self.device.type != "cpu":
                item = moved(item, self.device)
            with self.fabric.autocast():
                loss, carry, items = self.program.loss(item, state.carry)
            self.fabric.backward(loss)
        except KeyboardInterrupt:
            self._drop_step(randomness, buffers)
            self._interrupted(randomness)
        loss_value, norm = torch.stack((loss.detach().float(), self._gradient_norm())).tolist()
        if not (math.isfinite(loss_value) and math.isfinite(norm)):
            self._drop_step(randomness, buffers)
            self._diverged(randomness, item, loss_value, norm)
        state.optimizer.step()
        # Copies in one layout: what is in memory here is what a resumed run reads from its checkpoint.
        state.carry = carry and {
            name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in carry.items()
        }
        counters.step += 1
        counters.position += 1
        counters.loss_sum += loss_value
        counters.norm_sum += norm
        counters.logged_steps += 1
        counters.clipped += settings.clip_norm is not None and norm > settings.clip_norm
        self.items += items
        if state.average is not None:
            state.average.update(counters.step)
        return loss_value

    def _gradient_norm(self) -> Tensor:
        if self.settings.clip_norm is not None:
            return torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        return torch.nn.utils.get_total_norm(
            [value.grad for value in self.parameters if value.grad is not None]
        )

    def _after_step(self, loss: float) -> None:
        counters, settings = self.state.counters, self.settings
        number = counters.epoch + 1
        ended = counters.position == self.batches_per_epoch
        if ended:
            counters.epoch, counters.position, self.state.carry = counters.epoch + 1, 0, None
        last = counters.step == self.total_steps
        due = ended if settings.validate_every is None else counters.step % settings.validate_every == 0
        metrics = self._validate(number) if due or last else {}
        counters.finished = last or counters.stopped_early
        now = time.perf_counter()
        counters.seconds = now - self.started
        if metrics or last or counters.step % settings.log_every == 0:
            self._log(number, metrics)
        if self.events and (now - self.shown >= _EVENT_SECONDS or last):
            self._show(loss, number, now)
        if self.folder is not None and self._checkpoint_due(now):
            self._checkpoint(Randomness.now(self.device))

    def _validate(self, epoch: int) -> dict[str, float]:
        state, counters = self.state, self.state.counters
        state.module.eval()
        with (
            state.average.applied() if state.average is not None else nullcontext(),
            torch.no_grad(),
            self.fabric.autocast(),
        ):
            metrics = {name: float(value) for name, value in self.program.validate().items()}
            is_best = bool(metrics) and self._is_best(metrics)
            if is_best and self.settings.restore_best:
                state.best = {name: value.clone() for name, value in state.module.state_dict().items()}
        state.module.train()
        if not metrics and self.settings.patience is not None:
            raise TrainingError(
                "patience needs a validation, but the program's gives no metric; set patience to None"
            )
        counters.stopped_early = (
            self.settings.patience is not None and counters.waiting >= self.settings.patience
        )
        if metrics:
            self._tell(ValidationEvent(counters.step, epoch, metrics, is_best))
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

    def _log(self, epoch: int, metrics: dict[str, float]) -> None:
        counters = self.state.counters
        steps = max(1, counters.logged_steps)
        line: dict[str, Any] = {
            "step": counters.step,
            "epoch": epoch,
            "loss": counters.loss_sum / steps,
            "learning_rate": self.state.optimizer.param_groups[0]["lr"],
            "gradient_norm": counters.norm_sum / steps,
            "clipped_share": counters.clipped / counters.step,
        }
        line |= {
            f"validation_{name}": value if math.isfinite(value) else None for name, value in metrics.items()
        }
        self.state.lines.append(json.dumps(line | {"seconds": round(counters.seconds, 3)}))
        counters.loss_sum = counters.norm_sum = 0.0
        counters.logged_steps = 0

    # Telling and keeping

    def _tell(self, event: Event) -> None:
        for listener in self.events:
            listener(event)

    def _show(self, loss: float, epoch: int, now: float) -> None:
        step = self.state.counters.step
        per_step = (now - self.begun) / max(1, step - self.first_step)
        self._tell(
            StepEvent(
                step=step,
                total_steps=self.total_steps,
                epoch=epoch,
                loss=loss,
                items_per_second=self.items / max(now - self.shown, 1e-9),
                seconds_left=per_step * (self.total_steps - step),
            )
        )
        self.shown, self.items = now, 0

    def _checkpoint_due(self, now: float) -> bool:
        every, seconds = self.settings.checkpoint_every, self.settings.checkpoint_seconds
        counters = self.state.counters
        by_step = every is not None and counters.step % every == 0
        return counters.finished or by_step or (seconds is not None and now - self.checkpointed >= seconds)

    def _checkpoint(self, randomness: Randomness) -> None:
        if self.folder is None:
            return
        begun = time.perf_counter()
        config, tensors = self.state.to_checkpoint(randomness)
        config |= {"settings": self._identity(), "environment": self.environment}
        metrics = "".join(f"{line}\n" for line in self.state.lines)
        step = self.state.counters.step
        path = save_checkpoint(self.folder, step, config=config, tensors=tensors, metrics=metrics)
        self.checkpointed = time.perf_counter()
        self._tell(CheckpointEvent(step, path, self.checkpointed - begun))

    def _drop_step(self, randomness: Randomness, buffers: list[Tensor]) -> None:
        """Leave the state as it was before the step: the weights are untouched yet."""
        randomness.restore(self.device)
        for buffer, value in zip(self.buffers, buffers, strict=True):
            buffer.copy_(value)

    def _interrupted(self, randomness: Randomness) -> NoReturn:
        self._checkpoint(randomness)
        raise Interrupted(self.state.counters.step, self.folder) from None

    def _diverged(self, randomness: Randomness, item: Any, loss: float, norm: float) -> NoReturn:
        self._checkpoint(randomness)
        counters = self.state.counters
        rows = getattr(item, "rows", None)
        raise DivergedError(
            step=counters.step + 1,
            epoch=counters.epoch + 1,
            batch=counters.position + 1,
            what=f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {norm}",
            rows=None if rows is None else [int(row) for row in rows],
            kept=""
            if self.folder is None
            else f" and a checkpoint of the last good state is in {self.folder}",
        )
