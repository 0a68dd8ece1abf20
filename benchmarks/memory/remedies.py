"""Small models that are trained by a plan, and the same plan with a remedy applied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from storyline import GRU, LSTM, RNN, SLSTM

# torch.nn's by their own name, ours without "nn.": the remedy remember= is an argument of ours
_TORCH = {"nn.RNN": nn.RNN, "nn.LSTM": nn.LSTM, "nn.GRU": nn.GRU}
_OURS = {"RNN": RNN, "LSTM": LSTM, "GRU": GRU, "SLSTM": SLSTM}


@dataclass(frozen=True)
class Task:
    """What is to be learned: `draw` gives inputs (batch, time, channels) or tokens, and targets.

    per_step: targets are (batch, time, ...), NaN or -100 where there is none; else one a sequence.
    classes: of integer targets; 0: real ones, (..., 1).
    tokens: how many, 0 where inputs are real.
    """

    name: str
    steps: int
    channels: int
    classes: int
    per_step: bool
    draw: Callable[[int, int, torch.Generator], tuple[Tensor, Tensor]]
    tokens: int = 0


@dataclass(frozen=True)
class Plan:
    """How a model is built and trained. What a remedy changes is a field; see `mended`."""

    task: Task
    cell: str
    hidden_size: int = 32
    num_layers: int = 1
    remember: int | None = None
    nonlinearity: str = "tanh"
    planted: Callable[[nn.Module], None] | None = None
    optimizer: str = "adam"
    rate: float = 1e-2
    clip: float | None = 1.0
    chunk: int | None = None
    carry_state: bool = False
    reset_every: int | None = None
    input_scale: float | None = None
    updates: int = 400
    batch: int = 32
    trained_steps: int | None = None
    stream: int = 1

    def mended(self, change: Mapping[str, Any]) -> Plan:
        """The plan with the machine-readable arguments of a finding applied, and nothing else."""
        plan = self
        if "remember" in change:
            plan = replace(
                plan, cell=plan.cell.removeprefix("nn."), remember=change["remember"], planted=None
            )
        if "cell" in change:
            plan = replace(plan, cell=change["cell"].upper())
        if "initialise" in change:
            plan = replace(plan, planted=None)
        if "chunk" in change and (plan.chunk is not None or "carry_state" in change):
            plan = replace(plan, chunk=change["chunk"])
        if change.get("carry_state"):
            # chunks follow one another, so that the state goes on; as many updates in all as before
            plan = replace(plan, carry_state=True, stream=8, updates=plan.updates // 8)
        same = {
            key: change[key]
            for key in ("nonlinearity", "reset_every", "clip", "input_scale")
            if key in change
        }
        return replace(plan, **same)


class Reader(nn.Module):
    """(batch, time, channels) -> (batch, time, size), or the last (batch, size); scaling and resets are part of it."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.task, self.reset_every = plan.task, plan.reset_every
        size = plan.task.channels
        self.embedding = nn.Embedding(plan.task.tokens, size) if plan.task.tokens else None
        more: dict[str, Any] = {"num_layers": plan.num_layers, "batch_first": True}
        if plan.cell.endswith("RNN"):
            more["nonlinearity"] = plan.nonlinearity
        if plan.cell in _TORCH:
            self.layer = _TORCH[plan.cell](size, plan.hidden_size, **more)
        else:
            self.layer = _OURS[plan.cell](size, plan.hidden_size, remember=plan.remember, **more)
        self.head = nn.Linear(plan.hidden_size, plan.task.classes or 1)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))
        if plan.planted is not None:
            with torch.no_grad():
                plan.planted(self.layer)

    def run(self, input: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """(answers at every step, state)."""
        read = self.embedding(input) if self.embedding is not None else (input - self.mean) * self.scale
        output, state = self.layer(read, state)
        return self.head(output), state

    def forward(self, input: Tensor) -> Tensor:
        if self.reset_every is None:
            answers = self.run(input)[0]
        else:
            pieces = input.split(self.reset_every, 1)
            answers = torch.cat([self.run(piece)[0] for piece in pieces], 1)
        return answers if self.task.per_step else answers[:, -1]


def train(plan: Plan, seed: int) -> Reader:
    """A model trained by the plan, in evaluation mode."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed + 1000)
    model = Reader(plan)
    if plan.input_scale is not None:
        inputs, _ = plan.task.draw(256, plan.task.steps, generator)
        model.mean.fill_(float(inputs.mean()))
        model.scale.fill_(plan.input_scale)
    kinds = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    optimizer = kinds[plan.optimizer](model.parameters(), lr=plan.rate)
    for update in range(plan.updates):
        if update == plan.updates * 3 // 4 and plan.optimizer == "adam":
            for group in optimizer.param_groups:
                group["lr"] = plan.rate / 10
        inputs, targets = plan.task.draw(plan.batch, plan.task.steps * plan.stream, generator)
        _update(model, plan, inputs, targets, optimizer)
        if not all(bool(torch.isfinite(weight).all()) for weight in model.parameters()):
            break
    return model.eval()


def _update(
    model: Reader, plan: Plan, inputs: Tensor, targets: Tensor, optimizer: torch.optim.Optimizer
) -> None:
    """One pass over a batch: one update, or one a chunk."""
    if plan.chunk is None or not plan.task.per_step:
        answers = _cut(model, plan, inputs) if plan.chunk is not None else model(inputs)
        _step(model, plan, loss_of(plan.task, answers, targets), optimizer)
        return
    state = None
    for first in range(0, inputs.shape[1], plan.chunk):
        some = slice(first, first + plan.chunk)
        if len(inputs[0, some]) == 0 or not bool(_asked(plan.task, targets[:, some]).any()):
            continue
        answers, state = model.run(inputs[:, some], state)
        state = tuple(each.detach() for each in state) if isinstance(state, tuple) else state.detach()
        _step(model, plan, loss_of(plan.task, answers, targets[:, some]), optimizer)


def _cut(model: Reader, plan: Plan, inputs: Tensor) -> Tensor:
    """The last answer, with gradients through the last chunk only."""
    assert plan.chunk is not None
    edge = max(0, inputs.shape[1] - plan.chunk)
    state = None
    if edge:
        with torch.no_grad():
            _, state = model.run(inputs[:, :edge])
    return model.run(inputs[:, edge:], state)[0][:, -1]


def _step(model: Reader, plan: Plan, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    loss.backward()
    if plan.clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
    optimizer.step()


def _asked(task: Task, targets: Tensor) -> Tensor:
    return targets >= 0 if task.classes else ~torch.isnan(targets[..., 0])


def loss_of(task: Task, answers: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy, or squared error, where there is a target."""
    if task.per_step:
        asked = _asked(task, targets)
        answers, targets = answers[asked], targets[asked]
    if task.classes:
        return nn.functional.cross_entropy(answers, targets)
    return (answers - targets).square().mean()


def score(
    model: Callable[[Tensor], Tensor], task: Task, seed: int, sequences: int = 256, times: int = 1
) -> float:
    """On fresh sequences: the share of right classes, or 1 - squared error / variance (R^2); NaN counts as 0.

    With `times` over 1 the sequences are so many times longer, and the last part of them is scored.
    """
    generator = torch.Generator().manual_seed(seed + 7_000_000)
    inputs, targets = task.draw(sequences, task.steps * times, generator)
    with torch.no_grad():
        answers = model(inputs)
    if task.per_step:
        answers, targets = answers[:, -task.steps :], targets[:, -task.steps :]
        asked = _asked(task, targets)
        answers, targets = answers[asked], targets[asked]
    if not bool(torch.isfinite(answers).all()):
        return 0.0
    if task.classes:
        return float((answers.argmax(1) == targets).float().mean())
    return 1.0 - float((answers - targets).square().mean() / targets.var(unbiased=False))
