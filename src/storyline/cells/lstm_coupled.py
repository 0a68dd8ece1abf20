"""Long short-term memory that writes as much as it forgets: coupled input and forget gate (Greff et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor

from storyline.cells.cell import Cell, Gates, State


def _step(gates_x: Tensor, gates_h: Tensor, state: State) -> tuple[Gates, State]:
    """One step; gate order f, g, o; there is no input gate of its own.

        f_t = sigma(W_f x_t + U_f h_(t-1) + b_f)     how much of c is kept
        g_t = tanh (W_g x_t + U_g h_(t-1) + b_g)     what may be written
        o_t = sigma(W_o x_t + U_o h_(t-1) + b_o)     how much of c is read
        c_t = f_t c_(t-1) + (1 - f_t) g_t            i_t = 1 - f_t
        h_t = o_t tanh(c_t)

    Greff et al. 2017, "LSTM: A search space odyssey", section III, variant CIFG, without peepholes and with f
    as the gate that is computed.
    """
    _, c = state
    f, g, o = (gates_x + gates_h).chunk(3, dim=-1)
    f, g, o = torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    c = f * c + (1 - f) * g
    h = o * torch.tanh(c)
    return (f, g, o), (h, c)


lstm_coupled = Cell("lstm_coupled", gates=("f", "g", "o"), states=("h", "c"), preactivations=3, step=_step)
