"""What the variants of LSTM and GRU, and SLSTM, are told and say: parameters, refusals, memory at the start."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch

from storyline.layers import GRU, LSTM, SLSTM, Recurrent

VARIANTS: dict[str, tuple[type[Recurrent], dict[str, Any]]] = {
    "peepholes": (LSTM, {"peepholes": True}),
    "coupled": (LSTM, {"coupled_gates": True}),
    "normalised lstm": (LSTM, {"layer_norm": True}),
    "normalised gru": (GRU, {"layer_norm": True}),
    "slstm": (SLSTM, {}),
}


def build(kind: str, **more: Any) -> Recurrent:
    layer, arguments = VARIANTS[kind]
    return layer(4, 64, **arguments, **more)


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("peepholes", {"peephole_i": 64, "peephole_f": 64, "peephole_o": 64}),
        ("coupled", {}),
        ("normalised lstm", {"gain_x": 256, "gain_h": 256, "bias": 256, "gain_c": 64, "shift_c": 64}),
        ("normalised gru", {"gain_x": 192, "gain_h": 192, "bias": 192, "shift_n": 64}),
        ("slstm", {}),
    ],
)
def test_parameters_have_torchs_suffixes_and_all_learn(kind: str, own: dict[str, int]) -> None:
    layer = build(kind, num_layers=2, bidirectional=True)
    rows = 192 if kind in ("coupled", "normalised gru") else 256
    shared = ["weight_ih", "weight_hh"] + ([] if "bias" in own else ["bias_ih", "bias_hh"])
    ends = ["_l0", "_l0_reverse", "_l1", "_l1_reverse"]
    assert set(layer.state_dict()) == {name + end for name in [*shared, *own] for end in ends}
    for end in ends:
        for name, size in own.items():
            assert layer.get_parameter(name + end).shape == (size,)
            if name.startswith("gain"):
                assert (layer.get_parameter(name + end) == 1).all()
        assert layer.get_parameter("weight_hh" + end).shape == (rows, 16 if kind == "slstm" else 64)
        assert 0.12 < layer.get_parameter("weight_hh" + end).abs().max() <= 64**-0.5
    output, _ = layer(torch.randn(4, 3, 4))
    output.square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.any(), name


@pytest.mark.parametrize("kind", VARIANTS)
def test_the_gate_that_keeps_is_chrono_initialised_and_stretched(kind: str) -> None:
    layer = build(kind, remember=100)
    keeping = 0 if kind == "coupled" else 1
    gates = 3 if kind in ("coupled", "normalised gru") else 4
    bias = layer.get_parameter("bias_l0" if "normalised" in kind else "bias_ih_l0").detach()
    units = bias.chunk(gates)[keeping].exp()
    assert (units >= 1).all()
    assert (units <= 99).all()
    assert units.max() - units.min() > 50
    writes = kind in ("peepholes", "normalised lstm")
    for n, other in enumerate(bias.chunk(gates)):
        if n != keeping:
            assert torch.equal(other, -bias.chunk(gates)[keeping] if writes and n == 0 else torch.zeros(64))
    before = bias.clone()
    layer.stretch(4.0)
    change = [round(float(part.mean()) / math.log(4.0), 4) for part in (bias - before).chunk(gates)]
    assert change == [1.0 if n == keeping else -1.0 if writes and n == 0 else 0.0 for n in range(gates)]


@pytest.mark.parametrize("kind", VARIANTS)
def test_reset_parameters_draws_anew(kind: str) -> None:
    layer = build(kind, learn_initial_state=True)
    for parameter in layer.parameters():
        torch.nn.init.constant_(parameter, 7)
    layer.reset_parameters()
    assert not any((parameter == 7).any() for parameter in layer.parameters())
    assert not layer.h_0.any()


def test_learned_initial_state_of_the_slstm() -> None:
    layer = SLSTM(4, 8, num_heads=2, learn_initial_state=True)
    assert {"h_0", "c_0", "m_0"} == {name for name, _ in layer.named_parameters() if name.endswith("_0")}
    h, c, n, m = layer.initial_state(3)
    assert (n == 1).all()
    for each in (h, c, m):
        assert not each.any()
    layer(torch.randn(5, 3, 4))[0].square().sum().backward()
    for name in ("h_0", "c_0", "m_0"):
        assert layer.get_parameter(name).grad.isfinite().all()


def test_a_unit_reads_only_its_own_head() -> None:
    layer = SLSTM(4, 8, num_heads=2)
    state = tuple(each.requires_grad_() for each in layer.initial_state(1))
    output, _ = layer(torch.randn(2, 1, 4), state)
    (gradient,) = torch.autograd.grad(output[-1, 0, :4].sum(), state[0])
    assert gradient[0, 0, :4].all()
    assert not gradient[0, 0, 4:].any()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: LSTM(3, 4, peepholes=True, coupled_gates=True),
            "peepholes and coupled_gates are both asked for, but no cell has both; take one of them",
        ),
        (lambda: LSTM(3, 4, layer_norm=True, bias=False), "bias is False, but lstm_layer_norm cannot do without"),
        (lambda: GRU(3, 4, layer_norm=True, bias=False), "bias is False, but gru_layer_norm cannot do without"),
        (lambda: LSTM(3, 4, coupled_gates=True, bias=False, remember=9), "remember=9 is written into the biases"),
        (lambda: SLSTM(3, 10), "hidden_size is 10 and num_heads 4; it must be a multiple of them"),
        (lambda: SLSTM(3, 8, num_heads=0), "num_heads is 0; it must be a whole number, 1 or more"),
        (
            lambda: LSTM(3, 4, layer_norm=True, backend="torch"),
            "backend='torch' cannot serve this call: torch has no fused operator for lstm_layer_norm",
        ),
        (lambda: LSTM(3, 4, peepholes=True, proj_size=4), "proj_size has to be smaller than hidden_size"),
        (lambda: SLSTM(3, 8)(torch.zeros(2, 1, 3), torch.zeros(1, 1, 8)), "must be (h_0, c_0, n_0, m_0); it is one"),
    ],
)  # fmt: skip
def test_refused(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        build()


def test_repr_says_the_variant() -> None:
    layer = LSTM(3, 4, layer_norm=True, zoneout=(0.1, 0.2), recurrent_dropout=0.3)
    assert repr(layer) == "LSTM(3, 4, layer_norm=True, zoneout=(0.1, 0.2), recurrent_dropout=0.3)"
    assert repr(LSTM(3, 4, coupled_gates=True, bias=False)) == "LSTM(3, 4, bias=False, coupled_gates=True)"
    assert repr(SLSTM(3, 4, num_heads=2)) == "SLSTM(3, 4, num_heads=2)"
