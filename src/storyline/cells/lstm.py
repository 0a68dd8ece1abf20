"""Long short-term memory (Hochreiter and Schmidhuber 1997) with a forget gate (Gers et al. 2000)."""

from __future__ import annotations

import torch
from torch import Tensor

from storyline.cells.cell import Cell, Gates, State


def _step(gates_x: Tensor, gates_h: Tensor, state: State) -> tuple[Gates, State]:
    """One step; gate order i, f, g, o.

        i_t = sigma(W_i x_t + U_i h_(t-1) + b_i)     how much of g is written
        f_t = sigma(W_f x_t + U_f h_(t-1) + b_f)     how much of c is kept
        g_t = tanh (W_g x_t + U_g h_(t-1) + b_g)     what may be written
        o_t = sigma(W_o x_t + U_o h_(t-1) + b_o)     how much of c is read
        c_t = f_t c_(t-1) + i_t g_t
        h_t = o_t tanh(c_t)

    Gers, Schmidhuber and Cummins 2000, section 3; squashing by tanh as in Graves 2013, eq. 7-11 without
    peepholes.
    """
    _, c = state
    i, f, g, o = (gates_x + gates_h).chunk(4, dim=-1)
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    c = f * c + i * g
    h = o * torch.tanh(c)
    return (i, f, g, o), (h, c)


lstm = Cell("lstm", gates=("i", "f", "g", "o"), states=("h", "c"), preactivations=4, step=_step)
