"""Sharpened gates: their pre-activations times the factor, everything else as it was."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from storyline.layers import GRU, LSTM, RNN, SLSTM, Recurrent, StatePerturbation
from storyline.layers.sharpening import sharpen

LAYERS: dict[str, tuple[Recurrent, set[str]]] = {
    "lstm": (LSTM(3, 4, dtype=torch.float64), {"i", "f"}),
    "lstm_coupled": (LSTM(3, 4, coupled_gates=True, dtype=torch.float64), {"f"}),
    "gru": (GRU(3, 4, dtype=torch.float64), {"z"}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_first_step_has_gates_of_factor_times_the_logit(name: str) -> None:
    layer, sharpened = LAYERS[name]
    sharp = copy.deepcopy(layer)
    sharpen(sharp, 1.7)
    input = torch.randn(1, 5, 3, dtype=torch.float64)
    before, after = layer(input, return_trace=True)[2].gates, sharp(input, return_trace=True)[2].gates
    for gate in layer.cell.gates:
        old, new = before[f"{gate}_l0"], after[f"{gate}_l0"]
        if gate in sharpened:
            torch.testing.assert_close(torch.logit(new), 1.7 * torch.logit(old))
        elif not (name == "gru" and gate == "n"):
            torch.testing.assert_close(new, old)


def test_of_the_slstm_the_rows_of_f_are_multiplied() -> None:
    layer = SLSTM(3, 4, num_heads=2)
    trained = {name: value.clone() for name, value in layer.named_parameters()}
    sharpen(layer, 3.0)
    for name, value in layer.named_parameters():
        i, f, z, o = value.chunk(4)
        old = trained[name].chunk(4)
        assert torch.equal(f, 3 * old[1])
        assert all(
            torch.equal(one, other) for one, other in zip((i, z, o), (old[0], old[2], old[3]), strict=True)
        )


def test_it_reaches_every_layer_and_direction_and_can_be_undone() -> None:
    layer = LSTM(3, 4, num_layers=2, bidirectional=True, dtype=torch.float64)
    trained = {name: value.clone() for name, value in layer.named_parameters()}
    sharpen(layer, 2.0)
    for name, value in layer.named_parameters():
        torch.testing.assert_close(value[:8], 2 * trained[name][:8])
        assert torch.equal(value[8:], trained[name][8:])
    sharpen(layer, 0.5)
    for name, value in layer.named_parameters():
        assert torch.equal(value, trained[name])


def test_a_thousand_steps_become_a_million() -> None:
    layer = LSTM(1, 1, coupled_gates=True, dtype=torch.float64)
    with torch.no_grad():
        for value in layer.parameters():
            value.zero_()
        layer.bias_ih_l0[0] = math.log(1000)  # f / (1 - f) = 1000
    start = torch.zeros(1, 1, 1, dtype=torch.float64), torch.ones(1, 1, 1, dtype=torch.float64)
    sharpen(layer, 2.0)
    _, (_, c) = layer(torch.zeros(5000, 1, 1, dtype=torch.float64), start)
    assert c.item() == pytest.approx((1e6 / (1e6 + 1)) ** 5000, rel=1e-9)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="the gates of rnn_tanh cannot be sharpened"):
        sharpen(RNN(2, 3), 2.0)
    with pytest.raises(ValueError, match="the gates of lstm_layer_norm cannot"):
        sharpen(LSTM(2, 3, layer_norm=True), 2.0)
    for factor in (0, -1.0, math.inf, True, "2"):
        with pytest.raises(ValueError, match=r"it must be a number greater than 0, such as 1\.5"):
            sharpen(LSTM(2, 3), factor)  # type: ignore[arg-type]


def test_a_layer_of_torch_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="layer is a LSTM; a recurrent layer of storyline was wanted"):
        sharpen(torch.nn.LSTM(4, 8), 2.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="layer is a LSTM; a recurrent layer of storyline was wanted"):
        StatePerturbation()(torch.nn.LSTM(4, 8), torch.zeros(1, 2, 8), None)  # type: ignore[arg-type]
