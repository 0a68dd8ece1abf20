"""What a diagnosis rests on: the need of the data, the reach of the model, its loss, its recurrent layers at work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from storyline.layers import Recurrent
from storyline.memory.measures.curve import Measure
from storyline.memory.measures.loss import default_loss
from storyline.memory.measures.questions import Questions, ask, target_of
from storyline.memory.need.required_horizon import RequiredHorizon
from storyline.memory.steps import MeasureError, Steps
from storyline.memory.subjects.sequences import Sequences
from storyline.memory.subjects.subject import Subject

# So many sequences show what a layer does; so many more say nothing new of it.
_ROWS = 32
# A share of the achievable gain that a sound model may leave: ten times what counts as none in the need, since
# a model is trained once and a probe is chosen of many.
ENOUGH = 0.1


@dataclass(frozen=True, eq=False)
class AtWork:
    """A recurrent layer inside a model and what it read.

    name    in the model, "" for the model itself
    layer   the module
    inputs  as the layer takes them, of a few sequences cut to one length
    state   the initial state that it was given; None: its own
    """

    name: str
    layer: nn.Module
    inputs: Tensor
    state: Any

    @property
    def called(self) -> str:
        """``LSTM 'encoder'``."""
        return f"{type(self.layer).__name__} {self.name!r}" if self.name else type(self.layer).__name__


@dataclass(frozen=True, eq=False)
class Settings:
    """How a model was trained and is run, as far as it was told; see `diagnose`."""

    clip: float | None = None
    gradient_norms: tuple[float, ...] = ()
    chunk: float | None = None
    reset_every: float | None = None
    trained_steps: float | None = None


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that faults are told from.

    need        (low, steps) of the data, in steps of context; None: not known
    shortfall   share of the achievable gain that the model does not get; None: not known
    measures    gradient, counterfactual, use: those that could be taken
    reasons     by measure, why not
    layers      recurrent layers at work
    """

    subject: Subject
    sequences: Sequences
    questions: Questions | None
    per_step: list[Tensor] | None
    loss: Callable[..., Any] | None
    settings: Settings
    required: RequiredHorizon | None
    need: tuple[int, int] | None
    shortfall: float | None
    measures: dict[str, Measure]
    reasons: dict[str, str]
    layers: tuple[AtWork, ...]
    seed: int

    @property
    def falls_short(self) -> bool:
        """Whether the model leaves more than a tenth of the achievable gain; True where that is not known."""
        return self.shortfall is None or self.shortfall > ENOUGH

    @property
    def steps(self) -> int:
        """Of the median sequence."""
        return int(np.median(self.sequences.lengths))


def layers_at_work(subject: Subject, sequences: Sequences) -> tuple[AtWork, ...]:
    """The recurrent layers of a module that are called once for all steps, with what they read.

    Raises:
        MeasureError: there is none.
    """
    if not isinstance(subject.model, nn.Module):
        raise MeasureError("the model is a function, and its layers cannot be seen; give the torch module")
    order = sorted(sequences.rows, key=len, reverse=True)
    steps = len(order[min(len(order), _ROWS) - 1])
    batch = torch.stack([row[:steps] for row in order[:_ROWS]])
    seen: dict[str, list[tuple[Any, ...]]] = {}
    hooks = []

    def watch(name: str) -> Callable[..., None]:
        def note(_: nn.Module, given: tuple[Any, ...], more: dict[str, Any]) -> None:
            state = given[1] if len(given) > 1 else more.get("hx")
            seen.setdefault(name, []).append((given[0] if given else more.get("input"), state))

        return note

    modules = {n: m for n, m in subject.model.named_modules() if isinstance(m, nn.RNNBase | Recurrent)}
    for name, module in modules.items():
        hooks.append(module.register_forward_pre_hook(watch(name), with_kwargs=True))
    chunks = list(subject.chunks(list(batch)))
    try:
        with torch.no_grad():
            for chunk in chunks:
                subject.returned(batch[chunk])
    finally:
        for hook in hooks:
            hook.remove()
    found = [
        _joined(name, modules[name], calls)
        for name, calls in seen.items()
        if len(calls) == len(chunks) and all(isinstance(x, Tensor) and x.ndim == 3 for x, _ in calls)
    ]
    if not found:
        raise MeasureError(
            "the model has no nn.LSTM, nn.GRU, nn.RNN or layer of ours that reads a whole sequence in one call"
        )
    return tuple(found)


def _joined(name: str, layer: nn.Module, calls: list[tuple[Any, ...]]) -> AtWork:
    """A layer, and what all its calls gave it, side by side along its axis of the batch."""
    inputs = torch.cat([given for given, _ in calls], 0 if getattr(layer, "batch_first", False) else 1)
    first = calls[0][1]
    if first is None:
        return AtWork(name, layer, inputs.detach(), None)
    parts = [state if isinstance(state, tuple) else (state,) for _, state in calls]
    joined = tuple(torch.cat(each, 1) for each in zip(*parts, strict=True))
    return AtWork(name, layer, inputs.detach(), joined if isinstance(first, tuple) else joined[0])


def model_loss(subject: Subject, questions: Questions) -> tuple[float, float]:
    """(the model's loss, that of the best constant), cross-entropy or squared error, over the questions."""
    answers = subject.last(questions.contexts)
    own = float(default_loss(answers, questions.targets).mean())
    targets = questions.targets
    if targets.is_floating_point():
        flat = targets.reshape(len(targets), -1).double()
        return own, float((flat - flat.mean(0)).square().mean())
    counts = torch.bincount(targets.long()).double()
    shares = counts[counts > 0] / counts.sum()
    return own, float(-(shares * shares.log()).sum())


def shortfall_of(own: float, constant: float, required: RequiredHorizon) -> float | None:
    """Share of the gain that the probes achieve and the model does not; None where there is nothing to gain.

    With s = 1 - loss / (loss of the best constant) on the same questions, the shortfall is 1 - s_model / s_probe.
    """
    if required.nothing_to_gain or constant <= 0:
        return None
    best = required.gain / float(required.curve[0])
    return 1.0 - (1.0 - own / constant) / best


def stepwise_targets(
    sequences: Sequences, targets: Any, subject: Subject, time_dim: int
) -> list[Tensor] | None:
    """Targets one a step as a list of (time, ...), batch first; None where there is one a sequence."""
    if isinstance(targets, list | tuple) and len(targets) and np.ndim(targets[0]) > 0:
        rows = [target_of(target, f"targets[{i}]") for i, target in enumerate(targets)]
        alike = all(len(t) == n for t, n in zip(rows, sequences.lengths, strict=False))
        return rows if alike else None
    given = target_of(targets, "targets")
    per_step = subject.layout is not None and subject.layout.time is not None
    if not (per_step and given.ndim >= 2 and given.shape[time_dim] == sequences.steps):
        return None
    rows = list(given.transpose(0, 1) if time_dim == 0 else given)
    return [row[:n] for row, n in zip(rows, sequences.lengths, strict=False)]


def questions_of(subject: Subject, sequences: Sequences, targets: Any, time_dim: int) -> Questions | None:
    """What is to be answered; None without targets."""
    return None if targets is None else ask(subject, sequences, targets, time_dim)


def steps_text(steps: int) -> str:
    """``1 step``, ``31 steps``."""
    return str(Steps(steps))
