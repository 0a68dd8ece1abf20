"""The gated recurrent unit (Cho et al. 2014), the reset after the matrix product as in torch."""

from __future__ import annotations

import torch
from torch import Tensor

from storyline.cells.cell import Cell, Gates, State


def _step(gates_x: Tensor, gates_h: Tensor, state: State) -> tuple[Gates, State]:
    """One step; gate order r, z, n.

        r_t = sigma(W_r x_t + b_r + U_r h_(t-1) + d_r)             how much of the past n sees
        z_t = sigma(W_z x_t + b_z + U_z h_(t-1) + d_z)             how much of h is kept
        n_t = tanh (W_n x_t + b_n + r_t (U_n h_(t-1) + d_n))       what may be written
        h_t = (1 - z_t) n_t + z_t h_(t-1)

    Cho et al. 2014, eq. 5-8, with r_t applied after the product U_n h_(t-1), not before it: the form of
    torch.nn.GRU, which is why b (bias_ih) and d (bias_hh) are two vectors.
    """
    (h,) = state
    x_r, x_z, x_n = gates_x.chunk(3, dim=-1)
    h_r, h_z, h_n = gates_h.chunk(3, dim=-1)
    r = torch.sigmoid(x_r + h_r)
    z = torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + r * h_n)
    h = (1 - z) * n + z * h
    return (r, z, n), (h,)


gru = Cell("gru", gates=("r", "z", "n"), states=("h",), preactivations=3, step=_step)
