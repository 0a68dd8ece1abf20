"""A layer that goes on from a state gives what it gives for whole sequences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from storyline.layers import LSTM, SLSTM
from storyline.memory import Horizon, horizon
from storyline.memory.subjects import continued

LAYERS = [
    nn.LSTM(2, 4, num_layers=2, proj_size=3, batch_first=True),
    nn.GRU(2, 4),
    LSTM(2, 4, batch_first=True, learn_initial_state=True),
    SLSTM(2, 4),
]
MEASURES = ("counterfactual", "gradient", "recall")


class Behind(nn.Module):
    """The same layer inside a module, whose state nobody knows."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.batch_first, self.layer = layer.batch_first, layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_swaps_gradients_and_facts_are_those_of_whole_sequences(
    layer: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(continued, "PIECE", 13)
    monkeypatch.setattr("storyline.memory.measures.jacobian.PIECE", 13)
    layer = layer.double().eval()
    x = torch.randn(12, 60, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = x if layer.batch_first else x.transpose(0, 1)
    read: list[int] = []
    watch = layer.register_forward_hook(lambda _, given, __: read.append(given[0][..., 0].numel()))
    measured: list[tuple[Horizon, int]] = []
    for model in (layer, Behind(layer)):
        read.clear()
        measured.append((horizon(model, x, measures=MEASURES), sum(read)))
    watch.remove()
    (own, steps), (whole, all_steps) = measured
    for name in MEASURES:
        one, other = getattr(own, name), getattr(whole, name)
        np.testing.assert_array_equal(one.lags, other.lags)
        np.testing.assert_allclose(one.curve, other.curve, rtol=1e-9, atol=1e-12)
    assert steps < all_steps


def test_a_gradient_that_has_underflown_is_followed_no_further() -> None:
    layer = nn.RNN(1, 2, batch_first=True)
    with torch.no_grad():
        layer.weight_hh_l0.mul_(1e-3)
    forward: list[bool] = []
    layer.register_forward_hook(lambda *_: forward.append(torch.is_grad_enabled()))
    x = torch.randn(8, 4 * continued.PIECE, 1, generator=torch.Generator().manual_seed(0))
    found = horizon(layer, x, measures=("gradient",)).gradient
    assert found.steps == 0
    assert found.curve[-1] == 0.0
    assert sum(forward) == 1
