"""Two small trainings that between them carry every kind of state a checkpoint must hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from storyline.training import Carry, Program, TrainingSettings


class Stream:
    """A language model with dropout: the LSTM's state is carried from chunk to chunk."""

    monitor = "loss"
    mode: Literal["min"] = "min"

    def __init__(self) -> None:
        torch.manual_seed(11)
        self.embedding, self.core = nn.Embedding(13, 8), nn.LSTM(8, 12, num_layers=2, dropout=0.2)
        self.head = nn.Linear(12, 13)
        self.module = nn.ModuleList([self.embedding, self.core, self.head])
        walk = torch.randint(-1, 3, (130, 5)).cumsum(0) % 13
        self.chunks = [walk[start : start + 9] for start in range(0, 104, 8)]
        self.held_out = walk[104:]

    def batches(self, epoch: int) -> Sequence[Tensor]:
        return self.chunks

    def loss(self, item: Tensor, carry: Carry | None) -> tuple[Tensor, Carry, int]:
        state = None if carry is None else (carry["h"], carry["c"])
        output, (h, c) = self.core(self.embedding(item[:-1]), state)
        logits = self.head(functional.dropout(output, 0.3, self.module.training))
        return (
            functional.cross_entropy(logits.flatten(0, 1), item[1:].flatten()),
            {"h": h, "c": c},
            item.shape[1],
        )

    def validate(self) -> dict[str, float]:
        loss, _, _ = self.loss(self.held_out, None)
        return {"loss": loss.item()}


class Sequences:
    """A classifier in shuffled batches that learns its few examples by heart, so that validation turns worse."""

    monitor = "accuracy"
    mode: Literal["max"] = "max"

    def __init__(self) -> None:
        torch.manual_seed(12)
        self.core, self.norm, self.head = nn.GRU(3, 16), nn.BatchNorm1d(16), nn.Linear(16, 2)
        self.module = nn.ModuleList([self.core, self.norm, self.head])
        self.inputs, self.targets = torch.randn(9, 60, 3), torch.randint(0, 2, (60,))
        self.targets[30:] = (self.inputs[0, 30:, 0] > 0).long()

    def batches(self, epoch: int) -> Sequence[Tensor]:
        order = torch.randperm(30, generator=torch.Generator().manual_seed(epoch))
        return torch.split(order, 5)

    def loss(self, item: Tensor, carry: Carry | None) -> tuple[Tensor, None, int]:
        return functional.cross_entropy(self._logits(item), self.targets[item]), None, len(item)

    def validate(self) -> dict[str, float]:
        rows = torch.arange(30, 60)
        logits = self._logits(rows)
        return {
            "accuracy": (logits.argmax(1) == self.targets[rows]).double().mean().item(),
            "loss": functional.cross_entropy(logits, self.targets[rows]).item(),
        }

    def _logits(self, rows: Tensor) -> Tensor:
        output, _ = self.core(self.inputs[:, rows] + 0.1 * torch.randn(9, len(rows), 3))
        logits: Tensor = self.head(self.norm(output[-1]))
        return logits


_STREAM = TrainingSettings(
    epochs=3, learning_rate=0.01, average=0.9, average_last=3, validate_every=7, log_every=2, clip_norm=0.3,
    checkpoint_every=3, checkpoint_seconds=None, threads=1,
)  # fmt: skip
_SEQUENCES = TrainingSettings(
    epochs=40, learning_rate=0.03, patience=3, schedule="one_cycle", log_every=5, clip_norm=None,
    checkpoint_every=5, checkpoint_seconds=None, threads=1,
)  # fmt: skip

CASES: dict[str, tuple[type[Program], TrainingSettings]] = {
    "carried state, dropout, averaging, validation amid the epoch": (Stream, _STREAM),
    "early stopping, best weights restored, running statistics": (Sequences, _SEQUENCES),
    "checkpoints by the clock": (
        Stream,
        _STREAM.model_copy(update={"checkpoint_every": None, "checkpoint_seconds": 0.03}),
    ),
}
