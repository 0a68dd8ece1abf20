"""Units with planted faults: each is named, and no other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from storyline.layers import LSTM, SLSTM
from storyline.memory import MeasureError
from storyline.memory.inside.units import unit_faults


def healthy(kind: type[nn.Module], **settings) -> nn.Module:
    torch.manual_seed(0)
    return kind(3, 8, batch_first=True, **settings).double()


def logit(p: float) -> float:
    return float(torch.logit(torch.tensor(p, dtype=torch.float64)))


def plant(layer: nn.Module, place: int, bias: float, end: str = "_l0") -> None:
    """The preactivation at ``place`` is ``bias`` whatever is read."""
    with torch.no_grad():
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(layer, kind + end)[place] = 0.0
        getattr(layer, "bias_ih" + end)[place] = bias


def data(rows: int = 6, time: int = 30) -> torch.Tensor:
    return torch.randn(rows, time, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN, LSTM])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_fresh_layer_is_sound(kind: type[nn.Module], bidirectional: bool) -> None:
    found = unit_faults(healthy(kind, num_layers=2, bidirectional=bidirectional), data())
    assert found.faults == ()
    assert sum(found.units.values()) == 16 * (1 + bidirectional)


def test_planted_faults_of_an_lstm_are_named() -> None:
    layer = healthy(nn.LSTM, num_layers=2, bidirectional=True)
    plant(layer, 8 + 2, logit(0.9999), "_l1_reverse")  # forget gate of unit 2: 30 steps keep 99.7 %
    plant(layer, 24 + 5, logit(0.004))  # output gate of unit 5, almost shut: h still moves a little
    plant(layer, 4, -800.0)  # input gate of unit 4, shut: c and h are 0
    found = unit_faults(layer, data())
    assert [(each.kind, each.part, each.unit, each.name, each.end) for each in found.faults] == [
        ("saturated", "layer 1", 4, "i", 0),
        ("saturated", "layer 1", 5, "o", 0),
        ("dead", "layer 1", 4, "h", None),
        ("dead", "layer 1", 4, "c", None),
        ("saturated", "layer 2, backward", 2, "f", 1),
        ("never forgets", "layer 2, backward", 2, "c", None),
    ]
    assert [each.share for each in found.faults] == [1, 1, 0, 0, 1, 1]
    assert str(found.faults[-1]) == (
        "layer 2, backward, unit 2: keeps more than half of c through the whole of 100.0% of the sequences"
    )
    assert str(found).startswith(
        "32 units over 180 steps: 3 saturated, 2 dead, 1 never forgets\nlayer 1, unit 4: i"
    )


def test_a_gate_near_one_forgets_in_a_long_sequence() -> None:
    """.995 is saturated, and over 30 steps more than half is kept, over 200 not."""
    layer = healthy(nn.LSTM)
    plant(layer, 8 + 1, logit(0.995))
    assert [each.kind for each in unit_faults(layer, data()).faults] == ["saturated", "never forgets"]
    assert [each.kind for each in unit_faults(layer, data(2, 200)).faults] == ["saturated"]


@pytest.mark.parametrize(("steps", "found"), [(19, 1), (18, 0)])
def test_saturated_is_ninety_five_percent_of_the_steps(steps: int, found: int) -> None:
    """The input gate is shut at that many of 20 steps, and half open at the others."""
    layer = healthy(nn.LSTM)
    plant(layer, 3, -10.0)
    with torch.no_grad():
        layer.weight_ih_l0[3, 0] = 10.0
    x = data(1, 20)
    x[..., 0] = (torch.arange(20) >= steps).double()
    for size in (256, 7):
        faults = unit_faults(layer, x, steps_at_once=size).of("saturated")
        assert [(each.unit, each.name, each.share) for each in faults] == [(3, "i", steps / 20)] * found


@pytest.mark.parametrize(("scale", "found"), [(0.9, 1), (1.1, 0)])
def test_dead_is_a_millionth_of_the_typical_variance(scale: float, found: int) -> None:
    """A linear memoryless layer whose units have the variance of their input weight, squared."""
    layer = nn.RNN(1, 5, nonlinearity="relu", batch_first=True).double()
    with torch.no_grad():
        for each in layer.parameters():
            each.zero_()
        layer.bias_ih_l0.fill_(10.0)
        layer.weight_ih_l0[:, 0] = torch.tensor([1.0, 1.0, 2.0, 0.5, 1e-3 * scale])
    faults = unit_faults(layer, data(4, 30)[..., :1], steps_at_once=8).faults
    assert [(each.kind, each.unit, each.name) for each in faults] == [("dead", 4, "h")] * found
    for each in faults:
        assert each.share == pytest.approx(1e-6 * scale**2)


def test_a_relu_network_can_die_altogether() -> None:
    layer = healthy(nn.RNN, nonlinearity="relu")
    with torch.no_grad():
        layer.bias_ih_l0.fill_(-100.0)
    found = unit_faults(layer, data())
    assert [(each.kind, each.unit) for each in found.faults] == [("dead", unit) for unit in range(8)]
    assert found.note == "An RNN has no gate that keeps its state, so its units have no way to never forget."


def test_an_rnn_saturates_in_its_state() -> None:
    layer = healthy(nn.RNN)
    plant(layer, 6, 0.0)
    with torch.no_grad():
        layer.weight_ih_l0[6] = 1e4
    (fault,) = unit_faults(layer, data()).faults
    assert (fault.kind, fault.unit, fault.name) == ("saturated", 6, "h")
    assert fault.share > 0.95


def test_update_gate_of_a_gru_and_the_padding() -> None:
    layer = healthy(nn.GRU)
    plant(layer, 8 + 7, 40.0)
    x = data()
    x[1, 5:] = float("nan")
    found = unit_faults(layer, x, [30, 5, 30, 30, 30, 30])
    assert [(each.kind, each.unit, each.name) for each in found.faults] == [
        ("saturated", 7, "z"), ("dead", 7, "h"), ("never forgets", 7, "h"),
    ]  # fmt: skip
    assert found.steps == 155


def test_an_slstm_is_sound() -> None:
    """Of its exponential gates one is 1 at every step, which is no fault."""
    assert unit_faults(SLSTM(3, 4, batch_first=True).double(), data()).faults == ()


def test_refusals() -> None:
    with pytest.raises(MeasureError, match="the layer is Embedding"):
        unit_faults(nn.Embedding(2, 2), data())
    with pytest.raises(MeasureError, match="the data has 1 step in all; at least 2 are needed"):
        unit_faults(healthy(nn.GRU), data(1, 1))
