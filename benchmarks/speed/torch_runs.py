"""How a torch function becomes an implementation: the same training, inference and step for ours and for peers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from benchmarks.speed.problem import Answer, Implementation, Problem, answer

# input -> output, and the last state: h_n, or (h_n, c_n), where None is a state that cannot be had.
Forward = Callable[[Tensor], tuple[Tensor, Any]]


def whole(problem: Problem, forward: Forward, parameters: Mapping[str, Tensor]) -> Implementation:
    """`forward` over whole sequences, with gradients where the case trains."""
    if problem.case.work == "inference":
        return Implementation(
            run=lambda: forward(problem.input),
            answer=lambda: _inferred(forward, problem.input),
            around=torch.inference_mode,
        )
    wanted = {"input": problem.input.clone().requires_grad_(), **parameters}
    leaves = list(wanted.values())

    def train() -> tuple[Tensor, Any, tuple[Tensor, ...]]:
        output, state = forward(wanted["input"])
        return output, state, torch.autograd.grad(output, leaves, problem.cotangent)

    def answered() -> Answer:
        output, state, gradients = train()
        return answer(output, state, dict(zip(wanted, gradients, strict=True)))

    return Implementation(train, answered)


def _inferred(forward: Forward, input: Tensor) -> Answer:
    with torch.inference_mode():
        return answer(*forward(input), {})


def stepwise(
    problem: Problem, step: Callable[[Tensor, Any], tuple[Tensor, Any]], start: Callable[[], Any]
) -> Implementation:
    """`step(x, state) -> (output, state)`, x (1, input_size), a step a run; `start()` is the state before.

    The state after goes into the next run. The states that are compared are those of the last step.
    """
    first = problem.input[0]
    state = start()

    def run() -> None:
        nonlocal state
        _, state = step(first, state)

    def answered() -> Answer:
        outputs, state = [], start()
        with torch.inference_mode():
            for x in problem.input:
                output, state = step(x, state)
                outputs.append(output.reshape(1, -1).clone())
            last = outputs[-1].unsqueeze(0)
            return answer(torch.stack(outputs), last, {})

    return Implementation(run, answered, torch.inference_mode)
