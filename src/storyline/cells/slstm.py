"""sLSTM, the scalar cell of xLSTM: exponential input gate, normaliser, heads (Beck et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from storyline.cells.cell import Cell, Gates, State


def _step(gates_x: Tensor, gates_h: Tensor, state: State) -> tuple[Gates, State]:
    """One step; preactivation order i, f, z, o; a, b, d, e are their sums W x_t + R h_(t-1) + bias.

        m_t = max(log sigma(b) + m_(t-1), a)             the stabiliser: log of the scale of c and n
        i_t = exp(a - m_t)                               how much of z is written
        f_t = exp(log sigma(b) + m_(t-1) - m_t)          how much of c and n is kept
        z_t = tanh(d)                                    what may be written
        o_t = sigma(e)                                   how much is read
        c_t = f_t c_(t-1) + i_t z_t
        n_t = f_t n_(t-1) + i_t                          the normaliser: the weight of all that was written
        h_t = o_t c_t / n_t

    Beck et al. 2024, "xLSTM", eq. 8-17, with the sigmoid of eq. 13 for the forget gate; the gates i and f
    are the stabilised i' and f' of eq. 16-17. Where n_(t-1) is 0 nothing has been written yet, and there is
    nothing that m has to hold down: m_t = a there, as in the authors' code, so that h_1 = o z even where
    exp(a) would vanish. R is block-diagonal: a unit reads only the h of its own head.
    """
    _, c, n, m = state
    i, f, z, o = (gates_x + gates_h).chunk(4, dim=-1)
    kept = functional.logsigmoid(f) + m
    m = torch.where(n == 0, i, torch.maximum(kept, i))
    # Both exponents are 0 or less, save that of f where n is 0; without the clamp that could be infinite, and
    # 0 times infinity is NaN in the gradient.
    i, f = torch.exp(i - m), torch.exp((kept - m).clamp_max(0))
    z, o = torch.tanh(z), torch.sigmoid(o)
    c = f * c + i * z
    n = f * n + i
    h = o * c / n
    return (i, f, z, o), (h, c, n, m)


slstm = Cell(
    "slstm", gates=("i", "f", "z", "o"), states=("h", "c", "n", "m"), preactivations=4, step=_step, heads=4
)
