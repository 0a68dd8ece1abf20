"""Long short-term memory whose gates see the cell state (Gers, Schraudolph and Schmidhuber 2002)."""

from __future__ import annotations

import torch
from torch import Tensor

from storyline.cells.cell import Cell, Gates, OwnParameter, State, vector


def _step(
    gates_x: Tensor, gates_h: Tensor, state: State, p_i: Tensor, p_f: Tensor, p_o: Tensor
) -> tuple[Gates, State]:
    """One step; gate order i, f, g, o; p_i, p_f and p_o (hidden_size,) are the peepholes.

        i_t = sigma(W_i x_t + U_i h_(t-1) + p_i c_(t-1) + b_i)     how much of g is written
        f_t = sigma(W_f x_t + U_f h_(t-1) + p_f c_(t-1) + b_f)     how much of c is kept
        g_t = tanh (W_g x_t + U_g h_(t-1) + b_g)                   what may be written
        c_t = f_t c_(t-1) + i_t g_t
        o_t = sigma(W_o x_t + U_o h_(t-1) + p_o c_t + b_o)         how much of c is read
        h_t = o_t tanh(c_t)

    Gers, Schraudolph and Schmidhuber 2002, section 3: i and f see the cell state of the step before, o the
    new one. Squashing by tanh as in Graves 2013, eq. 7-11.
    """
    _, c = state
    i, f, g, o = (gates_x + gates_h).chunk(4, dim=-1)
    i, f, g = torch.sigmoid(i + p_i * c), torch.sigmoid(f + p_f * c), torch.tanh(g)
    c = f * c + i * g
    o = torch.sigmoid(o + p_o * c)
    h = o * torch.tanh(c)
    return (i, f, g, o), (h, c)


lstm_peephole = Cell(
    "lstm_peephole",
    gates=("i", "f", "g", "o"),
    states=("h", "c"),
    preactivations=4,
    step=_step,
    parameters=tuple(OwnParameter(f"peephole_{gate}", vector(1)) for gate in "ifo"),
)
