"""torch.nn as users call it: dense, packed, padded and masked, compiled, and a step at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.speed.problem import Implementation, Problem
from benchmarks.speed.torch_runs import Forward, stepwise, whole

MODULES: dict[str, Callable[..., nn.RNNBase]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


def torch_peers(problem: Problem) -> dict[str, Callable[[], Implementation]]:
    """By name; none for a layer that torch.nn does not have."""
    case = problem.case
    if case.layer_norm:
        return {}
    if case.work == "step":
        return {
            "torch-layer": lambda: _layer_step(problem),
            "torch-cell": lambda: _cell_step(problem, compiled=False),
            "torch-cell-compile": lambda: _cell_step(problem, compiled=True),
        }
    if case.ragged:
        return {
            "torch-packed": lambda: _whole(problem, _packed),
            "torch-padded-masked": lambda: _whole(problem, _padded_masked),
            "torch-compile": lambda: _whole(problem, _padded_masked, compiled=True),
        }
    return {
        "torch-eager": lambda: _whole(problem, _dense),
        "torch-compile": lambda: _whole(problem, _dense, compiled=True),
    }


def _module(problem: Problem) -> nn.RNNBase:
    case = problem.case
    module = MODULES[case.cell](case.hidden_size, case.hidden_size, bidirectional=case.bidirectional)
    module.load_state_dict(problem.weights)
    return module.train(case.work == "training")


def _whole(
    problem: Problem, make: Callable[[Problem, nn.RNNBase], Forward], *, compiled: bool = False
) -> Implementation:
    module = _module(problem)
    forward = make(problem, module)
    return whole(problem, torch.compile(forward) if compiled else forward, dict(module.named_parameters()))


def _dense(problem: Problem, module: nn.RNNBase) -> Forward:
    return lambda x: module(x)


def _packed(problem: Problem, module: nn.RNNBase) -> Forward:
    """The packing is part of it: batches come padded from whoever collates them."""
    lengths, time = problem.lengths, problem.case.time
    assert lengths is not None

    def forward(x: Tensor) -> tuple[Tensor, Any]:
        output, state = module(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(output, total_length=time)[0], state

    return forward


def _padded_masked(problem: Problem, module: nn.RNNBase) -> Forward:
    """Run over the padding, throw away what came of it; exact for a forward direction, but c_n is lost."""
    lengths = problem.lengths
    assert lengths is not None
    assert not problem.case.bidirectional
    outside = (torch.arange(problem.case.time).unsqueeze(1) >= lengths).unsqueeze(-1)
    rows = torch.arange(len(lengths))

    def forward(x: Tensor) -> tuple[Tensor, Any]:
        output = module(x)[0].masked_fill(outside, 0)
        return output, output[lengths - 1, rows].unsqueeze(0)

    return forward


def _layer_step(problem: Problem) -> Implementation:
    module = _module(problem)

    def step(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return module(x.unsqueeze(0), state)

    return stepwise(problem, step, lambda: None)


def _cell_step(problem: Problem, *, compiled: bool) -> Implementation:
    size = problem.case.hidden_size
    cell = nn.LSTMCell(size, size)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in problem.weights.items()})
    call = torch.compile(cell) if compiled else cell

    def step(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        h, c = call(x, state)
        return h, (h, c)

    return stepwise(problem, step, lambda: (torch.zeros(1, size), torch.zeros(1, size)))
