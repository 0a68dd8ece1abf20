"""What a run keeps in its folder, and how a run finds itself there again."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch

from storyline import artifact
from storyline.artifact import Artifact
from storyline.training.checkpoint import CHECKPOINTS, METRICS, load_checkpoint, save_checkpoint
from storyline.training.errors import TrainingError
from storyline.training.events import CheckpointEvent, ResumeEvent, WarningEvent
from storyline.training.identity import Identity
from storyline.training.report import Reporter
from storyline.training.settings import MAY_DIFFER, TrainingSettings
from storyline.training.state import Randomness, State, seed_generators


class Record:
    """The checkpoints of one run. Without a folder nothing is kept."""

    def __init__(
        self,
        folder: Path | None,
        settings: TrainingSettings,
        identity: Identity,
        batches_per_epoch: int,
        environment: dict[str, str],
        reporter: Reporter,
    ):
        self.folder, self.settings, self.reporter = folder, settings, reporter
        own = settings.model_dump(mode="json")
        self.identity = {**identity.settings, **own, "batches_per_epoch": batches_per_epoch}
        # A digest of much data takes its time, and without a folder nobody asks for it.
        self.data = {} if folder is None else identity.digests()
        self.environment = environment
        self.written = time.perf_counter()
        self.step = 0  # of the newest checkpoint

    def begin(self, state: State, device: torch.device, *, resume: bool) -> None:
        """Bring `state` to where the run stands: its beginning, or its newest checkpoint."""
        found = self._found(resume)
        if found is not None:
            self._check_same(found.config)
            state.from_checkpoint(found.config, found.tensors, device)
            self.step = state.counters.step
            self._restore_metrics(found.text(METRICS))
            state.lines = found.text(METRICS).splitlines()
        else:
            seed_generators(self.settings.seed, device)
            self.save(state, device)
        if resume:
            self.reporter.tell(ResumeEvent(state.counters.step, state.counters.finished))

    def save(self, state: State, device: torch.device) -> None:
        """Write a checkpoint of the state as it is, torch's generators included."""
        if self.folder is None:
            return
        begun, step = time.perf_counter(), state.counters.step
        config, tensors = state.to_checkpoint(Randomness.now(device))
        config |= {"settings": self.identity, "data": self.data, "environment": self.environment}
        metrics = "".join(f"{line}\n" for line in state.lines)
        path = save_checkpoint(self.folder, step, config=config, tensors=tensors, metrics=metrics)
        self.written, self.step = time.perf_counter(), step
        self.reporter.tell(CheckpointEvent(step, path, self.written - begun))

    def is_due(self, state: State, now: float) -> bool:
        """Whether a checkpoint is to be written after this step."""
        every, seconds = self.settings.checkpoint_every, self.settings.checkpoint_seconds
        by_step = every is not None and state.counters.step % every == 0
        return state.counters.finished or by_step or (seconds is not None and now - self.written >= seconds)

    def _found(self, resume: bool) -> Artifact | None:
        if self.folder is None:
            return None
        found = load_checkpoint(self.folder, lambda message: self.reporter.tell(WarningEvent(message)))
        if found is not None and not resume:
            raise TrainingError(
                f"{self.folder} holds the checkpoints of a run (step {found.config['counters']['step']}); "
                f"resume it, or remove {self.folder / CHECKPOINTS} to train anew"
            )
        if found is None and resume and artifact.exists(self.folder):
            raise TrainingError(
                f"{self.folder} holds a finished model and no checkpoint; there is nothing to resume: load it"
            )
        return found

    def _restore_metrics(self, text: str) -> None:
        """Bring metrics.jsonl to the checkpoint's: a kill may have come between the two, even in the last save."""
        assert self.folder is not None
        path = self.folder / METRICS
        if not path.is_file() or path.read_bytes() != text.encode("utf-8"):
            artifact.write_whole(path, text)

    def _check_same(self, config: dict[str, Any]) -> None:
        began = config.get("data", {})
        # First: other data may change settings that come from it.
        if differing := [
            name for name in sorted({*began, *self.data}) if began.get(name) != self.data.get(name)
        ]:
            raise TrainingError(
                f"the run in {self.folder} began with other data ({', '.join(differing)}); "
                "resume with the same, or train anew in another folder"
            )
        began = config["settings"]
        for name, value in json.loads(json.dumps(self.identity)).items():
            if name not in MAY_DIFFER and began.get(name) != value:
                raise TrainingError(
                    f"the run in {self.folder} has {name} = {began.get(name)!r}, now it is {value!r}; "
                    "resume with the same, or train anew in another folder"
                )
        for name, text in self.environment.items():
            if config["environment"][name] != text:
                message = (
                    f"the run began with {name} {config['environment'][name]}, now it is {text}: "
                    "it goes on, but its last bits may differ from those of a run never stopped"
                )
                self.reporter.tell(WarningEvent(message))
