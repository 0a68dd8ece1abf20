"""Time scales where the gates, or the Jacobian, are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from storyline.cells import Cell
from storyline.layers import GRU, LSTM, SLSTM, CellStack
from storyline.memory import MeasureError
from storyline.memory.inside.time_scales import time_scales

SCALES = np.array([1.0, 3.0, 10.0, 200.0, 4000.0])


def open_gate(layer: nn.Module, rows: slice, keep: np.ndarray, end: str = "_l0") -> None:
    """The gate at ``rows`` is ``keep`` whatever is read."""
    with torch.no_grad():
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(layer, kind + end)[rows] = 0.0
        getattr(layer, "bias_ih" + end)[rows] = torch.as_tensor(np.log(keep / (1 - keep)))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, LSTM, GRU])
def test_a_gate_that_never_moves_has_one_time_scale(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    layer = kind(3, 5, num_layers=2, bidirectional=True).double()
    for index, end in enumerate(["_l0", "_l0_reverse", "_l1", "_l1_reverse"]):
        open_gate(layer, slice(5, 10), np.exp(-1 / (SCALES * (index + 1))), end)
    x = torch.randn(7, 4, 3, dtype=torch.float64)
    found = time_scales(layer, x, [7, 1, 3, 2], steps_at_once=2)
    assert (found.steps, found.reason) == (13, None)
    assert found.gate == ("forget gate" if "LSTM" in kind.__name__ else "update gate")
    for index, part in enumerate(found.lasting):
        np.testing.assert_allclose(found.lasting[part], SCALES * (index + 1), rtol=1e-9)
        np.testing.assert_allclose(found.mean[part], SCALES * (index + 1), rtol=1e-9)
        np.testing.assert_allclose(found.half_lives(part), SCALES * (index + 1) * np.log(2), rtol=1e-9)
    assert found.quantiles("layer 1") == pytest.approx({0.1: 1, 0.25: 3, 0.5: 10, 0.75: 200, 0.9: 4000})
    assert "layer 2, backward: 5 units, time scale 40 steps (median), 4 to 16,000 (middle 80 %)" in str(found)


def test_a_gate_that_moves_keeps_the_product_of_its_values() -> None:
    """The gate is .9 where the input is 0 and .5 where it is 1, at one step in four."""
    layer = nn.LSTM(1, 1, batch_first=True).double()
    open_gate(layer, slice(1, 2), np.array([0.9]))
    with torch.no_grad():
        layer.weight_ih_l0[1] = math.log(0.5 / 0.5) - math.log(0.9 / 0.1)
    found = time_scales(layer, torch.tensor([0.0, 1, 0, 0, 0, 0, 0, 1], dtype=torch.float64)[None, :, None])
    taus = -1 / np.log([0.9, 0.5])
    assert found.mean["layer 1"] == pytest.approx(0.75 * taus[0] + 0.25 * taus[1])
    assert np.exp(-8 / found.lasting["layer 1"]) == pytest.approx(0.9**6 * 0.5**2)


def test_gates_at_their_ends() -> None:
    layer = nn.LSTM(1, 3)
    with torch.no_grad():
        for each in layer.parameters():
            each.zero_()
        layer.bias_ih_l0[3:6] = torch.tensor([-1e4, 0.0, 1e4])
    found = time_scales(layer, torch.randn(4, 2, 1))
    for values in (found.mean, found.lasting):
        np.testing.assert_allclose(values["layer 1"], [0, 1 / math.log(2), math.inf])


def test_slstm_keeps_the_share_of_its_normaliser() -> None:
    """Input and forget gate constant at 1 and 1/2: n = 1, 3/2, 7/4 ..., so k = 0, 1/3, 3/7."""
    layer = SLSTM(1, 2, num_heads=1, dtype=torch.float64)
    with torch.no_grad():
        for each in layer.parameters():
            each.zero_()
    found = time_scales(layer, torch.randn(1, 3, 1, dtype=torch.float64)[:, :1].repeat(3, 1, 1))
    taus = -1 / np.log([1e-300, 1 / 3, 3 / 7])
    assert found.mean["layer 1"] == pytest.approx(np.full(2, (taus[1] + taus[2]) / 3))


def test_a_linear_network_has_the_time_scales_of_its_eigenvalues() -> None:
    torch.manual_seed(0)
    eigenvalues = np.array([0.99, 0.9, 0.5, 0.1])
    # Its first column, of ones, is what the bias drives, so that every unit stays where relu is the identity.
    basis = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1.0]]).double() / 2
    layer = nn.RNN(2, 4, nonlinearity="relu", bidirectional=True).double()
    with torch.no_grad():
        for end in ("_l0", "_l0_reverse"):
            getattr(layer, "weight_hh" + end).copy_(basis @ torch.diag(torch.tensor(eigenvalues)) @ basis.T)
            getattr(layer, "bias_ih" + end).fill_(1e3)
    found = time_scales(layer, torch.rand(20, 3, 2, dtype=torch.float64), [20, 3, 8], jacobians=10)
    assert found.reason is not None
    assert "An RNN has no gate" in found.reason
    assert (found.gate, found.steps) == (None, 10)
    for part in ("layer 1", "layer 1, backward"):
        np.testing.assert_allclose(found.lasting[part], -1 / np.log(eigenvalues), rtol=1e-9)
        np.testing.assert_allclose(found.mean[part], -1 / np.log(eigenvalues), rtol=1e-9)


def test_the_spectrum_of_a_tanh_network_is_that_of_diag_one_minus_h_squared_times_u() -> None:
    torch.manual_seed(1)
    layer = nn.RNN(2, 5, batch_first=True).double()
    x = torch.randn(3, 6, 2, dtype=torch.float64)
    h = layer(x)[0].detach().numpy()
    U = layer.weight_hh_l0.detach().numpy()
    logs = [np.sort(np.log(np.abs(np.linalg.eigvals((1 - h[b, t] ** 2)[:, None] * U))))[::-1]
            for b in range(3) for t in range(6)]  # fmt: skip
    found = time_scales(layer, x)
    np.testing.assert_allclose(found.lasting["layer 1"], -1 / np.mean(logs, 0), rtol=1e-8)
    np.testing.assert_allclose(found.mean["layer 1"], np.mean(-1 / np.array(logs), 0), rtol=1e-8)


def test_a_cell_of_the_user_has_directions_too() -> None:
    def step(gates_x: torch.Tensor, gates_h: torch.Tensor, state: tuple[torch.Tensor, ...]):
        return (), (0.8 * state[0] + 0 * gates_h + torch.tanh(gates_x),)

    layer = CellStack(Cell("leaky", (), ("h",), 1, step), 2, 3)
    found = time_scales(layer, torch.randn(5, 2, 2))
    np.testing.assert_allclose(found.lasting["layer 1"], -1 / np.log(0.8), rtol=1e-6)
    assert "The cell 'leaky' has no gate" in str(found.reason)


def test_a_direction_that_grows_is_never_forgotten() -> None:
    layer = nn.RNN(1, 1, nonlinearity="relu")
    with torch.no_grad():
        for each in layer.parameters():
            each.fill_(1.5)
    assert time_scales(layer, torch.ones(3, 1, 1)).lasting["layer 1"] == math.inf


def test_refusals() -> None:
    with pytest.raises(MeasureError, match="the layer is Linear"):
        time_scales(nn.Linear(2, 2), torch.zeros(3, 1, 2))
    with pytest.raises(MeasureError, match="jacobians is 0; a whole number, 1 or more, was wanted"):
        time_scales(nn.RNN(2, 2), torch.zeros(3, 1, 2), jacobians=0)
