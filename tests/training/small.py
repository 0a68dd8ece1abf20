"""A small program for the tests: a language model with dropout and carried state, or whatever a test changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from storyline import artifact
from storyline.training import TrainingSettings


@dataclass(frozen=True)
class Chunk:
    tokens: Tensor
    rows: Tensor


class Small:
    monitor = "loss"
    mode: Literal["min", "max"] = "min"

    def __init__(self, dropout: float = 0.3) -> None:
        torch.manual_seed(5)
        self.embedding, self.core, self.head = nn.Embedding(7, 4), nn.LSTM(4, 6), nn.Linear(6, 7)
        self.module = nn.ModuleDict({"embedding": self.embedding, "core": self.core, "head": self.head})
        self.dropout = dropout
        walk = torch.randint(-1, 3, (80, 3)).cumsum(0) % 7
        self.chunks = [Chunk(walk[i : i + 7], torch.arange(i, i + 3)) for i in range(0, 60, 6)]
        self.held_out = Chunk(walk[60:], torch.arange(3))
        self.losses: list[float] = []
        self.fresh_carries = 0

    def batches(self, epoch: int) -> Sequence[Chunk]:
        return self.chunks

    def loss(self, item: Chunk, carry: dict[str, Tensor] | None) -> tuple[Tensor, dict[str, Tensor], int]:
        self.fresh_carries += carry is None and self.module.training
        state = None if carry is None else (carry["h"], carry["c"])
        output, (h, c) = self.core(self.embedding(item.tokens[:-1]), state)
        output = functional.dropout(output, self.dropout, self.module.training)
        loss = functional.cross_entropy(self.head(output).flatten(0, 1), item.tokens[1:].flatten())
        self.losses.append(loss.item())
        return loss, {"h": h, "c": c}, 3

    def validate(self) -> dict[str, float]:
        return {"loss": self.loss(self.held_out, None)[0].item()}


def settings(**changed: Any) -> TrainingSettings:
    """Short and on one thread; checkpoints by step alone."""
    usual = {"epochs": 3, "threads": 1, "learning_rate": 0.01, "log_every": 4, "checkpoint_seconds": None}
    return TrainingSettings(**(usual | changed))


def weights(program: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in program.module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Bit for bit: the same names, kinds, shapes and bytes."""
    return one.keys() == other.keys() and all(
        value.dtype == other[name].dtype
        and value.shape == other[name].shape
        and value.contiguous().numpy().tobytes() == other[name].contiguous().numpy().tobytes()
        for name, value in one.items()
    )


def newest(folder: Path) -> artifact.Artifact:
    steps = [int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit()]
    return artifact.load(folder / "checkpoints" / str(max(steps)))


def without_seconds(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name != "seconds"} for line in history]
