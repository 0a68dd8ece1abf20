"""How a recurrent layer starts when it is told how many steps to remember."""

from __future__ import annotations

import math
from numbers import Real

import torch
from torch import Tensor

from storyline.cells import Cell
from storyline.kernels import Weights

# The gate that keeps the state, and the one that writes as much less as that one keeps more; None where
# there is none, or where it is 1 - the other already. The sLSTM divides by the weight of what it wrote.
_KEEPING: dict[str, tuple[str, str | None]] = {
    "lstm": ("f", "i"),
    "lstm_peephole": ("f", "i"),
    "lstm_coupled": ("f", None),
    "lstm_layer_norm": ("f", "i"),
    "gru": ("z", None),
    "gru_layer_norm": ("z", None),
    "slstm": ("f", None),
}


def check_remember(remember: int | None, cell: Cell, bias: bool) -> None:
    """Refuse a `remember` that no initialisation can honour."""
    if remember is None:
        return
    if isinstance(remember, bool) or not isinstance(remember, int) or remember < 3:
        raise ValueError(f"remember is {remember!r}; it must be a whole number of steps, 3 or more")
    if not bias and cell.name in _KEEPING:
        raise ValueError(f"remember={remember} is written into the biases of the gates; it needs bias=True")


@torch.no_grad()
def remember_steps(cell: Cell, weights: Weights, steps: int) -> None:
    """Overwrite part of `weights` so that a state lasts about `steps` steps before training.

    lstm, gru and their variants, slstm: chrono initialisation, Tallec and Ollivier 2018, eq. 15-16. A unit
        whose forget gate rests at sigma(b) forgets with a time constant of 1 + exp(b) steps, so b = log u with
        u uniform on [1, steps - 1] spreads the units' time constants over [2, steps]. LSTM: b_f = log u,
        b_i = -b_f, if it has an input gate of its own. GRU (eq. 15; here z is the gate that keeps):
        b_z = log u. sLSTM: b_f = log u alone, since what is written counts by its share of all that was. All
        other biases are 0, bias_hh too.
    rnn_tanh, rnn_relu: there is no gate, so weight_hh = exp(-1 / steps) times a random orthogonal matrix: in
        the linear regime a state shrinks to 1 / e in `steps` steps and turns, but never grows. Biases are 0.
        This is ours; the orthogonal matrix is that of Saxe et al. 2014 and Arjovsky et al. 2016.
    """
    for bias in (weights.bias_ih, weights.bias_hh):
        if bias is not None:
            bias.zero_()
    if cell.name not in _KEEPING:
        torch.nn.init.orthogonal_(weights.weight_hh, gain=math.exp(-1 / steps))
        return
    keeping, writing = _resting_points(cell, weights)
    _log_uniform(keeping, steps)
    if writing is not None:
        writing.copy_(-keeping)


@torch.no_grad()
def stretch_steps(cell: Cell, weights: Weights, factor: float) -> None:
    """Make the gates of `weights` as slow as is right for data that comes in `factor` times as many steps.

    A unit that keeps sigma(b_f) of its state a step forgets with a time constant of 1 + exp(b_f) steps, and it
    writes exp(b_i) as much at a step: b_f + log factor and b_i - log factor (GRU: b_z + log factor). Tallec and
    Ollivier 2018, section 1, read as a change of the unit of time of a trained layer.
    """
    if cell.name not in _KEEPING:
        raise ValueError(
            "a vanilla RNN has no gates, so its time constants cannot be stretched; use LSTM or GRU"
            if cell.name.startswith("rnn")
            else f"which gate of {cell.name} keeps its state is not known, so it cannot be stretched"
        )
    if not isinstance(factor, Real) or not 0 < factor < math.inf:
        raise ValueError(
            f"factor is {factor!r}; it must be a number greater than 0, such as 4 for four times as many steps"
        )
    if weights.bias_ih is None and not cell.has_own_bias:
        raise ValueError("the layer has no biases to stretch its gates by; it needs bias=True")
    keeping, writing = _resting_points(cell, weights)
    keeping += math.log(factor)
    if writing is not None:
        writing -= math.log(factor)


def _resting_points(cell: Cell, weights: Weights) -> tuple[Tensor, Tensor | None]:
    """The biases of the gate that keeps and of the one that writes, as views to be written into."""
    own = {each.name: values for each, values in zip(cell.parameters, weights.own, strict=True)}
    bias = own.get("bias", weights.bias_ih)
    assert bias is not None
    parts = dict(zip(cell.gates, bias.chunk(cell.preactivations), strict=True))
    keeping, writing = _KEEPING[cell.name]
    return parts[keeping], None if writing is None else parts[writing]


def _log_uniform(bias: Tensor, steps: int) -> None:
    """Draw log U([1, steps - 1]), in place."""
    bias.uniform_(1, steps - 1).log_()
