"""What a gated cell keeps of its state at a step, and what it writes: one equation for all of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from storyline.layers import Recurrent

# The gate that multiplies the old state, by the letter of the cell's equations, and its name.
_FORGET, _UPDATE = ("f", "forget gate"), ("z", "update gate")
_KEEPING = {
    **dict.fromkeys(["lstm", "lstm_peephole", "lstm_coupled", "lstm_layer_norm", "slstm"], _FORGET),
    **dict.fromkeys(["gru", "gru_layer_norm"], _UPDATE),
}


def keeping_gate(layer: Recurrent) -> str | None:
    """``"forget gate"`` or ``"update gate"``; None for a cell that has none, or whose gates are not known."""
    return _KEEPING.get(layer.cell.name, (None, None))[1]


def why_no_gate(layer: Recurrent, what: str = "half-life") -> str:
    """The sentence for a cell without `keeping_gate`, and so without what is measured by it."""
    kind = "An RNN" if layer.cell.name.startswith("rnn") else f"The cell {layer.cell.name!r}"
    return f"{kind} has no gate that keeps its state, so its units have no {what}."


def keeping(
    layer: Recurrent, before: Mapping[str, Tensor], after: Mapping[str, Tensor], gates: Mapping[str, Tensor]
) -> Tensor | None:
    """The factor k_t by which a step multiplies what a unit holds: s_t = k_t s_(t-1) + what is written.

        LSTM   s = c        k = f                      Gers et al. 2000
        GRU    s = h        k = z                      Cho et al. 2014, in torch's letters
        sLSTM  s = c / n    k = f n_(t-1) / n_t        Beck et al. 2024, eq. 8-9: what is read is c / n

    With zoneout at rate r, k becomes r + (1 - r) k. None for a cell without such a gate.

    Args:
        layer: whose cell it is.
        before, after: the states around each step by letter, (batch, time, size).
        gates: by letter, (batch, time, hidden_size).
    """
    letter = _KEEPING.get(layer.cell.name, (None, None))[0]
    if letter is None:
        return None
    kept = gates[letter]
    if "n" in before:
        # n is 0 only where nothing was read yet, and there nothing is kept.
        kept = torch.where(after["n"] == 0, 0.0, kept * before["n"] / after["n"])
    # The last state is the one that the gate keeps.
    rate = layer.rates.zoneout[-1] if layer.rates.zoneout else 0.0
    return rate + (1 - rate) * kept if rate else kept


def held(states: Mapping[str, Tensor]) -> Tensor:
    """What `keeping` calls s, (batch, time, size): c / n of an sLSTM, c of an LSTM, else h."""
    if "n" in states:
        empty = states["n"] == 0
        return torch.where(empty, 0.0, states["c"] / torch.where(empty, 1.0, states["n"]))
    return states["c"] if "c" in states else states["h"]


def written(before: Mapping[str, Tensor], after: Mapping[str, Tensor], kept: Tensor) -> Tensor:
    """What a step adds to what it keeps, s_t - k_t s_(t-1), (batch, time, size): i g of an LSTM."""
    return held(after) - kept * held(before)
