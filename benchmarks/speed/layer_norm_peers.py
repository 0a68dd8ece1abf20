"""A layer-normalised LSTM as users write it, since torch.nn has none: torch's operators in a loop over time.

Ba, Kiros and Hinton 2016, eq. 20-22: both products are normalised over all four gates, and the cell state only where
the output reads it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.speed.problem import Implementation, Problem
from benchmarks.speed.torch_runs import whole


def layer_norm_peers(problem: Problem) -> dict[str, Callable[[], Implementation]]:
    """The loop, with its step compiled, and scripted whole; none for other cases.

    The step is what is compiled: a graph of 200 unrolled steps takes minutes to compile, for one length.
    """
    if not problem.case.layer_norm:
        return {}
    return {
        "torch-loop": lambda: _whole(problem, loop),
        "torch-loop-compile": lambda: _whole(problem, _loop_of(torch.compile(step))),
        "torch-loop-script": lambda: _scripted(problem),
    }


def step(
    normal_x: Tensor, h: Tensor, c: Tensor, weight_hh: Tensor, gain_h: Tensor, gain_c: Tensor, shift_c: Tensor
) -> tuple[Tensor, Tensor]:
    """One step; normal_x (batch, 4 * hidden_size) is the input's share, normalised, with the bias."""
    gates = normal_x + functional.layer_norm(h @ weight_hh.t(), [gain_h.shape[0]], gain_h)
    i, f, g, o = gates.chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(functional.layer_norm(c, [c.shape[1]], gain_c, shift_c)), c


def loop(
    normal_x: Tensor, weight_hh: Tensor, gain_h: Tensor, gain_c: Tensor, shift_c: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """All steps: output (time, batch, hidden_size), then h and c after the last."""
    h = c = torch.zeros(normal_x.shape[1], gain_c.shape[0])
    outputs: list[Tensor] = []
    for x in normal_x.unbind(0):
        h, c = step(x, h, c, weight_hh, gain_h, gain_c, shift_c)
        outputs.append(h)
    return torch.stack(outputs), h, c


def _whole(problem: Problem, recur: Callable[..., Any]) -> Implementation:
    parameters = {name: nn.Parameter(value.clone()) for name, value in problem.weights.items()}
    weight_ih, bias, gain_x = (parameters[name] for name in ("weight_ih_l0", "bias_l0", "gain_x_l0"))
    rest = [parameters[f"{name}_l0"] for name in ("weight_hh", "gain_h", "gain_c", "shift_c")]

    def forward(input: Tensor) -> tuple[Tensor, Any]:
        x = input @ weight_ih.t()  # for all steps at once, as a careful user would
        output, h, c = recur(functional.layer_norm(x, [x.shape[-1]], gain_x) + bias, *rest)
        return output, (h.unsqueeze(0), c.unsqueeze(0))

    return whole(problem, forward, parameters)


def _loop_of(one_step: Callable[..., tuple[Tensor, Tensor]]) -> Callable[..., Any]:
    """`loop` around another step; a script takes no function as argument, so that it cannot be one with it."""

    def recur(normal_x: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = c = torch.zeros(normal_x.shape[1], rest[-1].shape[0])
        outputs = []
        for x in normal_x.unbind(0):
            h, c = one_step(x, h, c, *rest)
            outputs.append(h)
        return torch.stack(outputs), h, c

    return recur


def _scripted(problem: Problem) -> Implementation:
    with warnings.catch_warnings():
        # Deprecated, and still what much code of the kind runs on.
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(loop)
    return _whole(problem, scripted)
