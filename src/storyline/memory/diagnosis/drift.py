"""A state that drifts when a model is run for longer than it was trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from storyline.layers import Recurrent
from storyline.memory.diagnosis.diagnosis import Finding
from storyline.memory.diagnosis.evidence import ENOUGH, Evidence
from storyline.memory.measures.loss import default_loss
from storyline.memory.steps import MeasureError

# How many times longer than trained, the last of them decides.
TIMES = (1, 4, 16)
# A state twice as large as any in training is one that the weights have never read.
GROWN = 2.0
_STREAMS = 16


def drifting(evidence: Evidence) -> Finding | None:
    """The model loses a tenth of what it gained when it is run 16 times longer than trained.

    Of a model whose state was carried from chunk to chunk of a stream there is no longer run, nor a fault.

    Sequences are joined to streams of 16 times `trained_steps`. With targets one a step, S(n) = 1 - loss / (loss of
    the best constant) over the last `trained_steps` steps of n times as many, at steps with as much of their own
    sequence before them as the data needs; a fault where (S(1) - S(16)) / S(1) > .1. Without targets a fault where
    the root mean square of a layer's state is more than twice what it was at any step in training, at 4 times and,
    still growing, at 16 times: that is asked of a model with one answer a sequence too.

    Raises:
        MeasureError: `trained_steps` was not given, the model has one answer a sequence, or it learned nothing;
            or without targets no recurrent layer's state can be seen.
    """
    asked = evidence.settings.trained_steps
    if asked is None:
        raise MeasureError(
            "trained_steps= was not given, the longest sequences that the model was trained on"
        )
    if asked == math.inf:
        return None
    trained = int(asked)
    subject = evidence.subject
    if not subject.causal and evidence.questions is not None:
        raise MeasureError(
            "the model has one answer a sequence, or sees the future, and sequences cannot be joined to longer ones"
        )
    if evidence.questions is not None and (evidence.per_step is None or evidence.loss is not None):
        raise MeasureError(
            "longer runs are scored by targets one a step with the default loss; these are not"
        )
    _check_need(evidence)
    streams, targets, scored = _joined(evidence, trained)
    sizes = _state_sizes(evidence, streams, trained)
    if targets is None and not sizes:
        raise MeasureError("there are no targets, and no recurrent layer whose state could be seen to grow")
    if targets is None:
        return _by_state(sizes, trained)
    with torch.no_grad():
        parts = [
            subject.answer(streams[chunk], None).double().cpu() for chunk in subject.chunks(list(streams))
        ]
    answers = torch.cat(parts)
    skills = {}
    for times in TIMES:
        window = slice((times - 1) * trained, times * trained)
        skills[times] = _skill(answers[:, window], targets[:, window], scored[:, window])
    if not skills[1] > 0:
        raise MeasureError(
            "the model is no better than a constant within trained_steps, and has nothing to lose"
        )
    last = skills[TIMES[-1]]
    # answers that overflow on the way are worth nothing
    lost = (skills[1] - last) / skills[1] if math.isfinite(last) else 1.0
    if lost <= ENOUGH:
        return None
    grown = _grown(sizes)
    figure = f"after {TIMES[-1] * trained:,} steps {lost:.0%} of what it gains within {trained:,} is lost"
    if grown:
        name, ratio = max(grown.items(), key=lambda pair: pair[1][TIMES[-1]])
        figure += f", and the state of {name} is {ratio[TIMES[-1]]:.2g} times as large as ever in training"
    return _finding(figure, trained, {"lost": lost, "trained_steps": trained})


def _check_need(evidence: Evidence) -> None:
    """Where the answers hang on where a sequence began, a stream of several is another task, not a longer run."""
    need = evidence.need[1] if evidence.need else 1
    if 2 * need > evidence.steps:
        raise MeasureError(
            f"the data needs {need} of the {evidence.steps} steps of a sequence, too much to join sequences to longer "
            "ones: there are no longer runs to try it on"
        )


def _finding(figure: str, trained: int, values: dict[str, float]) -> Finding:
    return Finding(
        "state drifts",
        figure,
        f"train on streams, in chunks of {trained:,} steps with the state carried from chunk to chunk",
        {"chunk": trained, "carry_state": True},
        values,
    )


def _by_state(sizes: dict[str, dict[int, float]], trained: int) -> Finding | None:
    last = TIMES[-1]
    for name, ratio in _grown(sizes).items():
        if ratio[4] > GROWN and ratio[last] > ratio[4]:
            return _finding(
                f"after {last * trained:,} steps the state of {name} is {ratio[last]:.2g} times its size in training",
                trained,
                {"grown": ratio[last], "trained_steps": trained},
            )
    return None


def _grown(sizes: dict[str, dict[int, float]]) -> dict[str, dict[int, float]]:
    return {name: {n: size / max(each[1], 1e-30) for n, size in each.items()} for name, each in sizes.items()}


def _joined(evidence: Evidence, trained: int) -> tuple[Tensor, Tensor | None, Tensor]:
    """(streams, time, ...), their targets, and which steps have the need of the data in their own sequence."""
    rows = evidence.sequences.rows
    need = evidence.need[1] if evidence.need else 1
    places = [torch.arange(len(row)) >= min(need, len(row)) - 1 for row in rows]
    total = TIMES[-1] * trained
    generator = torch.Generator().manual_seed(evidence.seed)
    streams, targets, scored = [], [], []
    for _ in range(_STREAMS):
        order: list[int] = []
        while sum(len(rows[i]) for i in order) < total:
            order.extend(torch.randperm(len(rows), generator=generator).tolist()[: 1 + total // len(rows[0])])
        streams.append(torch.cat([rows[i] for i in order])[:total])
        scored.append(torch.cat([places[i] for i in order])[:total])
        if evidence.per_step is not None:
            targets.append(torch.cat([evidence.per_step[i] for i in order])[:total])
    return torch.stack(streams), torch.stack(targets) if targets else None, torch.stack(scored)


def _skill(answers: Tensor, targets: Tensor, scored: Tensor) -> float:
    """1 - loss / loss of the best constant, of the scored steps."""
    given, wanted = answers[scored], targets[scored]
    real = wanted.isfinite().reshape(len(wanted), -1).all(1) if wanted.is_floating_point() else wanted >= 0
    given, wanted = given[real], wanted[real]
    if not len(wanted):
        raise MeasureError("no step has a target and the need of the data before it; give longer sequences")
    own = float(default_loss(given, wanted).mean())
    if wanted.is_floating_point():
        flat = wanted.reshape(len(wanted), -1).double()
        constant = float((flat - flat.mean(0)).square().mean())
    else:
        shares = torch.bincount(wanted.long()).double() / len(wanted)
        constant = float(-(shares[shares > 0] * shares[shares > 0].log()).sum())
    return 1.0 - own / constant if constant > 0 else 0.0


def _state_sizes(evidence: Evidence, streams: Tensor, trained: int) -> dict[str, dict[int, float]]:
    """Root mean square of each layer's states after so many times the trained steps; at 1 the largest on the way."""
    subject = evidence.subject
    if not isinstance(subject.model, nn.Module):
        return {}
    modules = {n: m for n, m in subject.model.named_modules() if isinstance(m, nn.RNNBase | Recurrent)}
    ends: dict[str, float] = {}  # the mean square of the last call

    def watch(name: str) -> Callable[..., None]:
        def note(module: nn.Module, _: Any, output: Any) -> None:
            state = output[1] if isinstance(output, tuple) and len(output) > 1 else None
            if state is not None:
                each = state if isinstance(state, tuple) else (state,)
                ends[f"{type(module).__name__} {name!r}" if name else type(module).__name__] = float(
                    torch.stack([part.double().square().mean() for part in each]).mean()
                )

        return note

    def sizes_after(steps: int) -> dict[str, float]:
        squares: dict[str, float] = {}
        for chunk in subject.chunks(list(streams[:, :steps])):
            subject.returned(streams[chunk, :steps])
            for name, square in ends.items():
                squares[name] = squares.get(name, 0.0) + square * len(chunk) / len(streams)
        return {name: math.sqrt(square) for name, square in squares.items()}

    hooks = [module.register_forward_hook(watch(name)) for name, module in modules.items()]
    sizes: dict[str, dict[int, float]] = {}
    try:
        with torch.no_grad():
            for part in range(1, 9):
                for name, size in sizes_after(max(1, trained * part // 8)).items():
                    at = sizes.setdefault(name, {1: 0.0})
                    at[1] = max(at[1], size)
            for times in TIMES[1:]:
                for name, size in sizes_after(times * trained).items():
                    sizes[name][times] = size
    finally:
        for hook in hooks:
            hook.remove()
    return sizes
