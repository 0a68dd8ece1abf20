"""Our layers, on each backend that can do the case; the first is the one that users get without asking."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.speed.problem import Implementation, Problem, layer
from benchmarks.speed.torch_runs import stepwise, whole
from storyline.kernels import BACKENDS

PREFIX = "storyline-"


def ours(problem: Problem) -> dict[str, Callable[[], Implementation]]:
    """By name, the default first. The reference is a definition, timed only where it is the default."""
    if problem.case.work == "step":
        return {f"{PREFIX}stream": partial(_stream, problem), f"{PREFIX}step": partial(_step, problem)}
    default = _default_backend(problem)
    names = dict.fromkeys([default, *(name for name in BACKENDS if name != "reference")])
    return {f"{PREFIX}{name}": partial(_layer, problem, name) for name in names}


def _loaded(problem: Problem, backend: str) -> Any:
    module = layer(problem.case, backend)
    module.load_state_dict(problem.weights)
    return module.train(problem.case.work == "training")


def _default_backend(problem: Problem) -> str:
    """What backend="auto" chooses for this very call."""
    module = _loaded(problem, "auto")
    with torch.set_grad_enabled(problem.case.work == "training"):
        module(problem.input, lengths=problem.lengths)
    return str(module.last_backend[0])


def _layer(problem: Problem, backend: str) -> Implementation:
    module = _loaded(problem, backend)
    return whole(problem, lambda x: module(x, lengths=problem.lengths), dict(module.named_parameters()))


def _step(problem: Problem) -> Implementation:
    module = _loaded(problem, "auto")
    return stepwise(problem, module.step, lambda: None)


def _stream(problem: Problem) -> Implementation:
    module = _loaded(problem, "auto")
    # The stream keeps the state itself: what is handed on is the stream.
    return stepwise(problem, lambda x, stream: (stream.step(x), stream), module.stream)
