"""LSTM and GRU with layer normalisation inside the step (Ba, Kiros and Hinton 2016)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from storyline.cells.cell import Cell, Gates, OwnParameter, State, vector

# Added to the variance as torch.nn.LayerNorm does; the paper divides by the bare standard deviation.
EPSILON = 1e-5


def _norm(a: Tensor, gain: Tensor, shift: Tensor | None = None) -> Tensor:
    """LN(a; gain, shift) over the last dimension. Ba, Kiros and Hinton 2016, eq. 4, with EPSILON."""
    return functional.layer_norm(a, a.shape[-1:], gain, shift, EPSILON)


def _step_lstm(
    gates_x: Tensor,
    gates_h: Tensor,
    state: State,
    gain_x: Tensor,
    gain_h: Tensor,
    bias: Tensor,
    gain_c: Tensor,
    shift_c: Tensor,
) -> tuple[Gates, State]:
    """One step; gate order i, f, g, o; gates_x = W x_t and gates_h = U h_(t-1), both without a bias.

        (i, f, g, o) = LN(W x_t; gain_x) + LN(U h_(t-1); gain_h) + bias     each over all 4 * hidden_size
        c_t = sigma(f) c_(t-1) + sigma(i) tanh(g)
        h_t = sigma(o) tanh(LN(c_t; gain_c, shift_c))

    Ba, Kiros and Hinton 2016, supplementary material, eq. 20-22. The paper gives both products a shift and
    adds a bias as well; the three only ever occur as their sum, which is `bias`.
    """
    _, c = state
    i, f, g, o = (_norm(gates_x, gain_x) + _norm(gates_h, gain_h) + bias).chunk(4, dim=-1)
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    c = f * c + i * g
    h = o * torch.tanh(_norm(c, gain_c, shift_c))
    return (i, f, g, o), (h, c)


def _step_gru(
    gates_x: Tensor,
    gates_h: Tensor,
    state: State,
    gain_x: Tensor,
    gain_h: Tensor,
    bias: Tensor,
    shift_n: Tensor,
) -> tuple[Gates, State]:
    """One step; gate order r, z, n; gates_x = W x_t and gates_h = U h_(t-1), both without a bias.

        (r, z) = sigma(LN(W_rz x_t) + LN(U_rz h_(t-1)) + bias_rz)             each over 2 * hidden_size
        n = tanh(LN(W_n x_t) + bias_n + r (LN(U_n h_(t-1)) + shift_n))        each over hidden_size
        h_t = (1 - z) n + z h_(t-1)

    The gains of the four LN stand in gain_x and gain_h in the order r, z, n. Ba, Kiros and Hinton 2016,
    supplementary material, the equations of the GRU: r and z are normalised together and n by itself, r comes
    after the product (as in torch.nn.GRU), so that n keeps the shift of its recurrent share, and z keeps
    where the paper's replaces.
    """
    (h,) = state
    rz = 2 * h.shape[-1]
    x_n = _norm(gates_x[..., rz:], gain_x[rz:]) + bias[rz:]
    h_n = _norm(gates_h[..., rz:], gain_h[rz:], shift_n)
    both = _norm(gates_x[..., :rz], gain_x[:rz]) + _norm(gates_h[..., :rz], gain_h[:rz]) + bias[:rz]
    r, z = torch.sigmoid(both).chunk(2, dim=-1)
    n = torch.tanh(x_n + r * h_n)
    h = (1 - z) * n + z * h
    return (r, z, n), (h,)


lstm_layer_norm = Cell(
    "lstm_layer_norm",
    gates=("i", "f", "g", "o"),
    states=("h", "c"),
    preactivations=4,
    step=_step_lstm,
    parameters=(
        OwnParameter("gain_x", vector(4), start=1.0),
        OwnParameter("gain_h", vector(4), start=1.0),
        OwnParameter("bias", vector(4), start=0.0),
        OwnParameter("gain_c", vector(1), start=1.0),
        OwnParameter("shift_c", vector(1), start=0.0),
    ),
)
gru_layer_norm = Cell(
    "gru_layer_norm",
    gates=("r", "z", "n"),
    states=("h",),
    preactivations=3,
    step=_step_gru,
    parameters=(
        OwnParameter("gain_x", vector(3), start=1.0),
        OwnParameter("gain_h", vector(3), start=1.0),
        OwnParameter("bias", vector(3), start=0.0),
        OwnParameter("shift_n", vector(1), start=0.0),
    ),
)
