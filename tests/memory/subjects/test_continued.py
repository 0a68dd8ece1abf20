"""A layer that goes on from a state gives what it gives for whole sequences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

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
    # a hook of the layer's own would send it the way of whole sequences
    watch = register_module_forward_hook(
        lambda module, given, _: read.append(given[0][..., 0].numel()) if module is layer else None
    )
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


@pytest.mark.parametrize("change", ["hook", "pre-hook", "forward"])
def test_a_layer_that_is_changed_from_outside_is_read_whole(change: str) -> None:
    """Each looks at all steps of what it is given: a part of the sequence would show it something else."""
    torch.manual_seed(0)
    layer = nn.LSTM(2, 4, batch_first=True)
    if change == "hook":
        layer.register_forward_hook(lambda _, __, out: (out[0] + out[0].mean(1, keepdim=True), out[1]))
    elif change == "pre-hook":
        layer.register_forward_pre_hook(lambda _, given: (given[0].flip(1), *given[1:]))
    else:
        plain = layer.forward
        layer.forward = lambda x, *more: plain(x.flip(1), *more)
    x = torch.randn(8, 40, 2)
    own, whole = horizon(layer, x, measures=MEASURES), horizon(Behind(layer), x, measures=MEASURES)
    assert str(own) == str(whole)
    assert own.counterfactual.steps == 39


@pytest.mark.parametrize("steps", [2, 3, 4])
def test_of_the_shortest_sequences_a_fact_is_planted_at_the_first_step(steps: int) -> None:
    torch.manual_seed(0)
    layer, x = nn.GRU(2, 4, batch_first=True), torch.randn(16, steps, 2)
    own, whole = horizon(layer, x).recall, horizon(Behind(layer), x).recall
    np.testing.assert_array_equal(own.curve, whole.curve)


def test_of_long_sequences_only_the_answers_that_are_read_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them would be as many as there are steps: a gigabyte where the data has 40 megabytes."""
    kept: list[Tensor] = []
    behind = continued.answers_behind

    def watched(*given: object) -> Tensor:
        kept.append(behind(*given))
        return kept[-1]

    monkeypatch.setattr("storyline.memory.measures.recall.answers_behind", watched)
    monkeypatch.setattr("storyline.memory.measures.recall._KEPT", 1)
    torch.manual_seed(0)
    found = horizon(nn.GRU(2, 4, batch_first=True), torch.randn(16, 3_000, 2), measures=("recall",)).recall
    assert found is not None
    assert [answers.shape[0] for answers in kept] == [64]
    assert kept[0].shape[1] < 1_000


def test_bfloat16_is_measured() -> None:
    layer = nn.LSTM(2, 4, batch_first=True).to(torch.bfloat16)
    found = horizon(layer, torch.randn(16, 20, 2, dtype=torch.bfloat16))
    assert set(found.measures) == set(MEASURES)


def test_a_layer_that_cannot_go_on_is_named_and_keeps_its_other_measures() -> None:
    with torch.inference_mode():
        layer = nn.LSTM(2, 4, batch_first=True)
    found = horizon(layer, torch.randn(16, continued.PIECE + 9, 2))
    assert "that go on from a state: Inference tensors cannot be saved" in found.reasons["gradient"]
    assert found.recall is not None


def test_a_gradient_that_has_underflown_is_followed_no_further() -> None:
    layer = nn.RNN(1, 2, batch_first=True)
    with torch.no_grad():
        layer.weight_hh_l0.mul_(1e-3)
    forward: list[bool] = []
    watch = register_module_forward_hook(lambda *_: forward.append(torch.is_grad_enabled()))
    x = torch.randn(8, 4 * continued.PIECE, 1, generator=torch.Generator().manual_seed(0))
    found = horizon(layer, x, measures=("gradient",)).gradient
    watch.remove()
    assert found.steps == 0
    assert found.curve[-1] == 0.0
    assert sum(forward) == 1
