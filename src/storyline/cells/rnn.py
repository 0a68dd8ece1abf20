"""The vanilla recurrent network (Elman 1990), with tanh or with relu."""

from __future__ import annotations

import torch
from torch import Tensor

from storyline.cells.cell import Cell, Gates, State


def _step_tanh(gates_x: Tensor, gates_h: Tensor, state: State) -> tuple[Gates, State]:
    """h_t = tanh(W x_t + U h_(t-1) + b). Elman 1990, in the form of torch.nn.RNN."""
    return (), (torch.tanh(gates_x + gates_h),)


def _step_relu(gates_x: Tensor, gates_h: Tensor, state: State) -> tuple[Gates, State]:
    """h_t = max(0, W x_t + U h_(t-1) + b). Le, Jaitly and Hinton 2015, in the form of torch.nn.RNN."""
    return (), (torch.relu(gates_x + gates_h),)


rnn_tanh = Cell("rnn_tanh", gates=(), states=("h",), preactivations=1, step=_step_tanh)
rnn_relu = Cell("rnn_relu", gates=(), states=("h",), preactivations=1, step=_step_relu)
