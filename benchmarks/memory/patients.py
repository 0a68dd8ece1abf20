"""Twelve models with a fault planted, and twelve that have learned their task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.memory.remedies import Plan, Task

Plant = Callable[[nn.Module], None]


def delay(lag: int, steps: int, *, scale: float = 1.0, offset: float = 0.0, uniform: bool = False) -> Task:
    """y_t = x_(t-lag), x normal, or uniform on [0, 1]; what the model reads is offset + scale * x. Needs lag + 1."""

    def draw(sequences: int, time: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        shape = (sequences, time, 1)
        x = torch.rand(shape, generator=generator) if uniform else torch.randn(shape, generator=generator)
        targets = torch.full_like(x, torch.nan)
        targets[:, lag:] = x[:, : time - lag]
        return offset + scale * x, targets

    return Task(f"delay {lag}", steps, 1, 0, True, draw)


def first(steps: int, *, scale: float = 1.0) -> Task:
    """The class is the sign of the first of so many steps of noise. Needs all of them."""

    def draw(sequences: int, time: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x = torch.randn(sequences, time, 1, generator=generator)
        x[:, 0] = 2.0 * torch.randint(0, 2, (sequences, 1), generator=generator) - 1.0
        mark = torch.zeros_like(x)
        mark[:, 0] = 1.0
        return scale * torch.cat([x, mark], 2), (x[:, 0, 0] > 0).long()

    return Task(f"first of {steps}", steps, 2, 2, False, draw)


def adding(steps: int) -> Task:
    """The sum of two marked numbers, one in either half (Hochreiter and Schmidhuber 1997, task 4)."""

    def draw(sequences: int, time: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x = torch.rand(sequences, time, generator=generator)
        marks, half = torch.zeros_like(x), time // 2
        early = torch.randint(0, half, (sequences, 1), generator=generator)
        late = torch.randint(half, time, (sequences, 1), generator=generator)
        marks.scatter_(1, early, 1.0).scatter_(1, late, 1.0)
        return torch.stack([x, marks], 2), (x * marks).sum(1, keepdim=True)

    return Task(f"adding {steps}", steps, 2, 0, False, draw)


def returning(lag: int, steps: int, tokens: int = 6) -> Task:
    """Tokens, nine of ten of which are those of `lag` steps before; the target is the next one. Needs lag."""

    def draw(sequences: int, time: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x = torch.randint(0, tokens, (sequences, time + 1), generator=generator)
        fresh = torch.rand(sequences, time + 1, generator=generator) < 0.1
        for t in range(lag, time + 1):
            x[:, t] = torch.where(fresh[:, t], x[:, t], x[:, t - lag])
        targets = x[:, 1:].clone()
        targets[:, : lag - 1] = -100
        return x[:, :-1], targets

    return Task(f"returning {lag}", steps, tokens, tokens, True, draw, tokens)


def loud(gain: float) -> Plant:
    """Recurrent weights of so large a spread that a disturbance grows: normal with gain / sqrt(hidden_size)."""

    def plant(layer: nn.Module) -> None:
        for name, weight in layer.named_parameters():
            if name.startswith("weight_hh"):
                weight.normal_(0.0, gain / weight.shape[1] ** 0.5)

    return plant


def huge(spread: float) -> Plant:
    """All weights normal with such a spread."""

    def plant(layer: nn.Module) -> None:
        for weight in layer.parameters():
            weight.normal_(0.0, spread)

    return plant


def growing(gain: float, units: int) -> Plant:
    """So many units of a relu network that feed themselves alone, a little more at each step than at the last."""

    def plant(layer: nn.Module) -> None:
        layer.weight_hh_l0[:units] = 0.0
        layer.weight_hh_l0[:units, :units] = gain * torch.eye(units)
        layer.bias_ih_l0[:units] = 0.1

    return plant


def biased(part: int, value: float) -> Plant:
    """One gate's bias (its place in torch's order; of an RNN the only one) at such a value."""

    def plant(layer: nn.Module) -> None:
        size = layer.hidden_size
        for name, bias in layer.named_parameters():
            if name.startswith("bias_ih"):
                bias[part * size : (part + 1) * size] = value

    return plant


@dataclass(frozen=True)
class Case:
    """A model to diagnose: what is planted ("" where nothing is), how it is trained, what counts as learned.

    learned: the score from which on the task is learned; of a fault the remedy must reach it, the fault must not.
    times: the score is taken on sequences so many times longer.
    """

    fault: str
    plan: Plan
    learned: float
    times: int = 1


PLANTED = (
    Case("vanishing", Plan(first(100), "nn.RNN", rate=3e-3), 0.9),
    Case("vanishing", Plan(first(120), "nn.LSTM", updates=300), 0.9),
    Case("exploding", Plan(delay(10, 60), "nn.RNN", planted=loud(4.0), clip=None), 0.8),
    Case("exploding", Plan(delay(8, 50), "RNN", nonlinearity="relu", planted=loud(2.5), clip=None, rate=1e-3), 0.8),
    Case("saturated", Plan(delay(5, 40, scale=1000.0), "nn.LSTM"), 0.8),
    Case("saturated", Plan(delay(5, 40), "nn.GRU", num_layers=2, planted=huge(30.0)), 0.8),
    Case("dead units", Plan(delay(4, 30), "nn.RNN", nonlinearity="relu", planted=biased(0, -8.0), rate=1e-3), 0.8),
    Case("input ignored", Plan(delay(4, 30, scale=1e-3, offset=2.0), "nn.LSTM"), 0.8),
    Case(
        "clipped too hard",
        Plan(delay(3, 30), "LSTM", remember=6, optimizer="sgd", rate=1.0, clip=1e-4, updates=1500),
        0.8,
    ),
    Case("truncated too short", Plan(delay(8, 64), "LSTM", remember=20, chunk=4, carry_state=True), 0.8),
    Case("reset too often", Plan(delay(12, 60), "nn.LSTM", num_layers=2, reset_every=10, updates=600), 0.8),
    Case(
        "state drifts",
        Plan(
            delay(1, 20, uniform=True), "nn.RNN", nonlinearity="relu", planted=growing(1.05, 16), rate=3e-3,
            updates=800, trained_steps=20,
        ),
        0.8,
        times=16,
    ),
)  # fmt: skip

CLEAN = (
    Case("", Plan(delay(4, 40), "nn.RNN", chunk=None, trained_steps=40), 0.9),
    Case("", Plan(delay(5, 40), "nn.LSTM", trained_steps=40), 0.9),
    Case("", Plan(delay(6, 40), "nn.GRU", trained_steps=40), 0.9),
    Case("", Plan(first(100), "LSTM", remember=100), 0.95),
    Case("", Plan(adding(60), "GRU", remember=60, updates=500), 0.9),
    Case("", Plan(delay(20, 80), "RNN", remember=40, rate=1e-3, updates=800), 0.9),
    Case("", Plan(first(30), "SLSTM", remember=30), 0.95),
    Case("", Plan(delay(5, 40), "nn.LSTM", num_layers=2), 0.9),
    Case("", Plan(first(60), "GRU", num_layers=2, remember=60), 0.95),
    Case("", Plan(returning(8, 48), "nn.GRU", hidden_size=64, updates=600), 0.85),
    Case("", Plan(delay(10, 64), "LSTM", remember=12, chunk=32, carry_state=True), 0.9),
    Case(
        "", Plan(returning(6, 48), "LSTM", hidden_size=48, remember=12, updates=600, trained_steps=48), 0.85
    ),
)
