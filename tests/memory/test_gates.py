"""Half-lives against layers whose keeping gate is fixed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from storyline.layers import GRU, LSTM, RNN
from storyline.memory import MeasureError, half_lives

LIVES = torch.tensor([1.0, 3.0, 10.0, 200.0, 4000.0], dtype=torch.float64)


def fix_gate(layer: nn.Module, rows: slice, suffix: str, lives: torch.Tensor = LIVES) -> None:
    """The gate at ``rows`` becomes 2^(-1/life) whatever is read: weights 0, bias the logit."""
    keep = 0.5 ** (1 / lives)
    with torch.no_grad():
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(layer, f"{kind}_{suffix}")[rows] = 0.0
        getattr(layer, f"bias_ih_{suffix}")[rows] = torch.log(keep / (1 - keep))


@pytest.mark.parametrize("kind", [LSTM, nn.LSTM, GRU, nn.GRU])
@pytest.mark.parametrize("batch_first", [True, False])
def test_fixed_gates_give_their_exact_half_life(kind: type[nn.Module], batch_first: bool) -> None:
    torch.manual_seed(0)
    layer = kind(3, 5, num_layers=2, batch_first=batch_first, bidirectional=True).double()
    for index, suffix in enumerate(["l0", "l0_reverse", "l1", "l1_reverse"]):
        fix_gate(layer, slice(5, 10), suffix, LIVES * (index + 1))
    found = half_lives(layer, torch.randn(6, 7, 3, dtype=torch.float64))
    assert found.gate == ("forget gate" if "LSTM" in kind.__name__ else "update gate")
    assert list(found.units) == ["layer 1", "layer 1, backward", "layer 2", "layer 2, backward"]
    for index, lives in enumerate(found.units.values()):
        np.testing.assert_allclose(lives, LIVES * (index + 1), rtol=1e-9)


@pytest.mark.parametrize(
    "layer",
    [LSTM(3, 5, zoneout=(0.9, 0.2)), LSTM(3, 5, zoneout=0.2, peepholes=True), GRU(3, 5, zoneout=0.2)],
    ids=["lstm", "peepholes", "gru"],
)
def test_zoneout_keeps_more_than_the_gate_does(layer: LSTM | GRU) -> None:
    layer = layer.double()
    fix_gate(layer, slice(5, 10), "l0")
    if isinstance(layer, LSTM) and "peephole_f_l0" in layer.state_dict():
        nn.init.zeros_(layer.peephole_f_l0)
    found = half_lives(layer, torch.randn(6, 7, 3, dtype=torch.float64), torch.tensor([6, 2, 3, 1, 5, 6, 4]))
    kept = 0.2 + 0.8 * 0.5 ** (1 / LIVES)
    np.testing.assert_allclose(found.units["layer 1"], math.log(0.5) / torch.log(kept), rtol=1e-9)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_mean_is_over_the_real_steps_only(kind: type[nn.Module]) -> None:
    torch.manual_seed(1)
    layer = kind(3, 4, batch_first=True).double()
    inputs = torch.randn(5, 9, 3, dtype=torch.float64)
    lengths = torch.tensor([9, 1, 4, 7, 2])
    gates = []
    for row, length in enumerate(lengths.tolist()):
        state = torch.zeros(1, 4, dtype=torch.float64)
        cell = torch.zeros(1, 4, dtype=torch.float64)
        for step in inputs[row, :length]:
            hidden = state
            pre = (
                layer.weight_ih_l0 @ step
                + layer.bias_ih_l0
                + layer.weight_hh_l0 @ hidden[0]
                + layer.bias_hh_l0
            )
            gates.append(torch.sigmoid(pre[4:8]))
            if kind is nn.LSTM:
                _, (h, c) = layer(step[None, None], (state[None], cell[None]))
                state, cell = h[0], c[0]
            else:
                state = layer(step[None, None], state[None])[1][0]
    mean = torch.stack(gates).mean(0)
    padded = torch.where((torch.arange(9) < lengths[:, None])[..., None], inputs, 1e6)
    for rows_at_once in (32, 2):
        found = half_lives(layer, padded, lengths, rows_at_once=rows_at_once)
        np.testing.assert_allclose(found.all, (math.log(0.5) / mean.log()).detach(), rtol=1e-9)


def test_projected_lstm_has_a_half_life_for_each_cell() -> None:
    layer = nn.LSTM(3, 5, proj_size=2, batch_first=True).double()
    fix_gate(layer, slice(5, 10), "l0")
    np.testing.assert_allclose(half_lives(layer, torch.randn(2, 4, 3).double()).all, LIVES, rtol=1e-9)


def test_gates_at_their_ends_give_zero_and_infinity() -> None:
    layer = nn.LSTM(1, 3, batch_first=True)
    with torch.no_grad():
        layer.bias_ih_l0[3:6] = torch.tensor([-1e4, 0.0, 1e4])
        layer.weight_hh_l0.zero_()
        layer.weight_ih_l0.zero_()
        layer.bias_hh_l0.zero_()
    found = half_lives(layer, torch.randn(2, 4, 1))
    np.testing.assert_allclose(found.all, [0.0, 1.0, math.inf])
    assert found.never == 1
    assert found.quantiles()[0.5] == pytest.approx(1.0)
    assert found.quantiles("layer 1")[0.9] == math.inf


@pytest.mark.parametrize("kind", [RNN, nn.RNN])
def test_an_rnn_has_none_and_says_why(kind: type[nn.Module]) -> None:
    found = half_lives(kind(2, 3), torch.randn(4, 2, 2))
    assert found.reason is not None
    assert "no gate" in found.reason
    assert (found.units, found.gate, found.quantiles(), found.never) == ({}, None, {}, 0)


def test_the_mode_of_the_layer_is_put_back() -> None:
    layer = LSTM(2, 3, num_layers=2, dropout=0.5, batch_first=True)
    first, second = (half_lives(layer, torch.ones(2, 4, 2)) for _ in range(2))
    np.testing.assert_array_equal(first.all, second.all)
    assert layer.training


def test_refusals() -> None:
    with pytest.raises(MeasureError, match="the layer is Linear"):
        half_lives(nn.Linear(2, 2), torch.zeros(1, 2, 2))
    with pytest.raises(MeasureError, match=r"shape \(2, 2\); \(time, batch, channels\)"):
        half_lives(nn.GRU(2, 2), torch.zeros(2, 2))
    with pytest.raises(MeasureError, match=r"lengths are \[3, 0\]; one of 1 to 3 for each of the 2"):
        half_lives(nn.GRU(2, 2), torch.zeros(3, 2, 2), torch.tensor([3, 0]))
