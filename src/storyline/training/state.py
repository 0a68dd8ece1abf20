"""All that decides how a training goes on, as settings-like JSON and tensors, and back."""

from __future__ import annotations

import dataclasses
import statistics
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from storyline.training.average import Average
from storyline.training.errors import TrainingError
from storyline.training.program import Carry
from storyline.training.recent import Recent

# So many norms tell what is typical of a training; a checkpoint holds them all.
_NORMS = 256


@dataclass
class Counters:
    """Where the training stands; JSON keeps every field exactly."""

    step: int = 0  # steps taken
    epoch: int = 0  # of the next step, from 0
    position: int = 0  # of the next item in its epoch
    best: float | None = None  # the monitored metric
    best_step: int | None = None
    waiting: int = 0  # validations since the best
    loss_sum: float = 0.0  # since the last line of metrics.jsonl
    norm_sum: float = 0.0
    logged_steps: int = 0
    clipped: int = 0  # steps clipped since the beginning
    seconds: float = 0.0
    finished: bool = False
    stopped_early: bool = False
    averaged: bool = False  # the weights to keep are the mean of the last validations'
    norms: list[float] = field(default_factory=list)  # the gradient's, of one in `norms_every` of all steps
    norms_every: int = 1

    def note_norm(self, norm: float) -> None:
        """Keep the gradient's norm of the step just counted, if its turn is: of a longer training one in more steps."""
        if self.step % self.norms_every == 0:
            self.norms.append(norm)
        if len(self.norms) > _NORMS:
            # Of the steps norms_every, 2 norms_every, ... every other one is a multiple of twice that.
            self.norms, self.norms_every = self.norms[1::2], 2 * self.norms_every

    @property
    def typical_norm(self) -> float | None:
        """The median norm of the gradient before clipping; None where none was kept."""
        return statistics.median(self.norms) if self.norms else None


@dataclass
class Randomness:
    """The state of torch's default generators."""

    cpu: Tensor
    cuda: Tensor | None

    @classmethod
    def now(cls, device: torch.device) -> Randomness:
        """As they are."""
        return cls(torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None)

    def restore(self, device: torch.device) -> None:
        """Set them; a CUDA state that is not there (the run began on a CPU) is left alone."""
        torch.set_rng_state(self.cpu)
        if device.type == "cuda" and self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda, device)


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the generators that `Randomness` keeps, as torch.manual_seed does; those of other devices are the user's."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@dataclass
class State:
    """A training between two steps."""

    module: nn.Module
    optimizer: AdamW
    average: Average | None
    recent: Recent | None = None
    best: dict[str, Tensor] | None = None
    carry: Carry | None = None
    counters: Counters = field(default_factory=Counters)
    lines: list[str] = field(default_factory=list)  # of metrics.jsonl

    def to_checkpoint(self, randomness: Randomness) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """JSON-able settings and tensors by name; `from_checkpoint` takes them back bit for bit."""
        parts: dict[str, dict[str, Tensor]] = {
            "model": dict(self.module.state_dict()),
            "average": dict(zip(self.average.names, self.average.values, strict=True))
            if self.average
            else {},
            "recent": self.recent.named() if self.recent else {},
            "best": self.best or {},
            "carry": self.carry or {},
            "optimizer": {
                f"{name}.{key}": value
                for name, parameter in self.module.named_parameters()
                for key, value in self.optimizer.state.get(parameter, {}).items()
            },
            "random": {"cpu": randomness.cpu}
            | ({} if randomness.cuda is None else {"cuda": randomness.cuda}),
        }
        groups = [
            {key: value for key, value in group.items() if key != "params"}
            for group in self.optimizer.param_groups
        ]
        config = {
            "counters": dataclasses.asdict(self.counters),
            "optimizer": groups,
            "has_best": self.best is not None,
            "has_carry": self.carry is not None,
        }
        return config, {
            f"{part}.{name}": value for part, named in parts.items() for name, value in named.items()
        }

    def from_checkpoint(
        self, config: dict[str, Any], tensors: dict[str, Tensor], device: torch.device
    ) -> None:
        """Take a checkpoint's state and torch's generators; TrainingError where the model is another."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {
                name.removeprefix(f"{prefix}."): value
                for name, value in tensors.items()
                if name.startswith(f"{prefix}.")
            }

        try:
            self.module.load_state_dict(part("model"))
        except RuntimeError as error:
            detail = " ".join(str(error).split())
            raise TrainingError(
                f"the checkpoint is of another model; resume with the same one ({detail})"
            ) from None
        if self.average is not None:
            self.average.load(part("average"))
        if self.recent is not None:
            self.recent.load(part("recent"), device)
        self._load_optimizer(part("optimizer"), config["optimizer"])
        self.best = (
            {name: value.to(device) for name, value in part("best").items()} if config["has_best"] else None
        )
        self.carry = (
            {name: value.to(device) for name, value in part("carry").items()} if config["has_carry"] else None
        )
        self.counters = Counters(**config["counters"])
        Randomness(tensors["random.cpu"], tensors.get("random.cuda")).restore(device)

    def _load_optimizer(self, tensors: dict[str, Tensor], groups: list[dict[str, Any]]) -> None:
        for group, saved in zip(self.optimizer.param_groups, groups, strict=True):
            group.update(
                {key: tuple(value) if isinstance(value, list) else value for key, value in saved.items()}
            )
        names = dict(self.module.named_parameters())
        for full_name, value in tensors.items():
            name, _, key = full_name.rpartition(".")
            parameter = names[name]
            # AdamW keeps its moments in the parameter's own memory layout, and its step counts as scalars.
            self.optimizer.state[parameter][key] = (
                value.to(parameter.device) if key == "step" else torch.empty_like(parameter).copy_(value)
            )
