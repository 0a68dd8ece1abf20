"""A trained layer slowed down for data that comes in more steps."""

from __future__ import annotations

import pytest
import torch

from storyline.layers import GRU, LSTM, RNN


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_a_resting_state_lasts_so_many_times_longer(kind: type[LSTM] | type[GRU]) -> None:
    """With no input and no recurrent weights a unit keeps sigma(b) a step: k slow steps keep what one fast step did."""
    layer = kind(2, 5, num_layers=2, bidirectional=True, remember=400, dtype=torch.float64)
    for name, weight in layer.named_parameters():
        if "weight" in name:
            torch.nn.init.zeros_(weight)
    fast = torch.cat([_kept(layer, name) for name in ("l0", "l1_reverse")])
    layer.stretch(4.0)
    slow = torch.cat([_kept(layer, name) for name in ("l0", "l1_reverse")])
    torch.testing.assert_close(1 / (1 - slow) - 1, 4 * (1 / (1 - fast) - 1))


def _kept(layer: LSTM | GRU, name: str) -> torch.Tensor:
    gate = "f" if isinstance(layer, LSTM) else "z"
    _, _, trace = layer(torch.zeros(1, 1, 2, dtype=torch.float64), return_trace=True)
    return trace.gates[f"{gate}_{name}"].detach().flatten()


def test_an_lstm_writes_as_much_less() -> None:
    layer = LSTM(2, 5, remember=50)
    before = layer.bias_ih_l0.detach().clone()
    layer.stretch(3.0)
    change = layer.bias_ih_l0.detach() - before
    expected = torch.tensor([-1.0] * 5 + [1.0] * 5 + [0.0] * 10) * torch.log(torch.tensor(3.0))
    torch.testing.assert_close(change, expected)


def test_what_cannot_be_stretched() -> None:
    with pytest.raises(ValueError, match="no gates"):
        RNN(2, 5).stretch(2.0)
    with pytest.raises(ValueError, match="bias=True"):
        LSTM(2, 5, bias=False).stretch(2.0)
    for factor in (0.0, float("inf"), "4"):
        with pytest.raises(ValueError, match=r"factor is .*; it must be a number greater than 0"):
            LSTM(2, 5).stretch(factor)  # type: ignore[arg-type]
