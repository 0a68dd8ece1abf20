"""Sharpen the gates that keep and write: a trained layer then forgets less at every step."""

from __future__ import annotations

import math
from numbers import Real

import torch

from storyline.layers.recurrent import Recurrent

# The gates that decide what is kept and what is written. The sLSTM's input gate is exponential and has no two
# ends to be sharpened towards.
_DECIDING: dict[str, tuple[str, ...]] = {
    "lstm": ("i", "f"),
    "lstm_coupled": ("f",),
    "gru": ("z",),
    "slstm": ("f",),
}


@torch.no_grad()
def sharpen(layer: Recurrent, factor: float) -> None:
    """Multiply what the deciding gates compute before the sigmoid by `factor`, in place.

    A gate sigma(a) becomes sigma(factor a): the half that it decides at, a = 0, stays, and whatever it did on
    either side it does more firmly. A unit that keeps f = 1 - e of its state a step, e small, then keeps about
    1 - e^factor: with factor 2 a half-life of 1,000 steps becomes one of about a million. It is the end of annealing
    the temperature 1 / factor of the gates, without the training; so it is right for gates that decide (write this
    word or not) and wrong for gates that average, and whether a layer's do is to be asked of validation data.

    lstm: i and f; lstm with coupled_gates: f; gru: z; slstm: f. Weights and biases of all layers and directions.
    Raises ValueError for other cells, and for a factor that is not a number greater than 0.
    """
    if not isinstance(layer, Recurrent):
        raise ValueError(
            f"layer is a {type(layer).__name__}; a recurrent layer of storyline was wanted, such as LSTM"
        )
    gates = _DECIDING.get(layer.cell.name)
    if gates is None:
        raise ValueError(
            f"the gates of {layer.cell.name} cannot be sharpened by their weights; use one of {', '.join(_DECIDING)}"
        )
    if isinstance(factor, bool) or not isinstance(factor, Real) or not 0 < factor < math.inf:
        raise ValueError(f"factor is {factor!r}; it must be a number greater than 0, such as 1.5")
    for name, values in layer.named_parameters():
        if not name.startswith(("weight_ih", "weight_hh", "bias_ih", "bias_hh")):
            continue
        parts = dict(zip(layer.cell.gates, values.chunk(len(layer.cell.gates)), strict=True))
        for gate in gates:
            parts[gate].mul_(factor)
