"""The initialisation for N steps, and that the layer then does hold its state so long."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from storyline.layers import GRU, LSTM, RNN, Recurrent

SIZE, STEPS = 512, 100


def log_uniform_p_value(bias: torch.Tensor) -> float:
    """Kolmogorov-Smirnov: is exp(bias) uniform on [1, STEPS - 1]?"""
    return float(stats.kstest(bias.detach().double().exp().numpy(), stats.uniform(1, STEPS - 2).cdf).pvalue)


def test_lstm_is_chrono_initialised() -> None:
    torch.manual_seed(0)
    layer = LSTM(4, SIZE, num_layers=2, bidirectional=True, remember=STEPS)
    for suffix in ("_l0", "_l0_reverse", "_l1", "_l1_reverse"):
        b_i, b_f, b_g, b_o = layer.get_parameter(f"bias_ih{suffix}").chunk(4)
        assert log_uniform_p_value(b_f) > 0.01
        assert torch.equal(b_i, -b_f)
        assert not b_g.any()
        assert not b_o.any()
        assert not layer.get_parameter(f"bias_hh{suffix}").any()
        # weights are torch's, uniform on +-1 / sqrt(hidden_size)
        assert layer.get_parameter(f"weight_hh{suffix}").abs().max() <= SIZE**-0.5
    assert not torch.equal(layer.bias_ih_l0, layer.bias_ih_l0_reverse)


def test_gru_is_chrono_initialised_in_the_gate_that_keeps() -> None:
    torch.manual_seed(0)
    layer = GRU(4, SIZE, remember=STEPS)
    b_r, b_z, b_n = layer.bias_ih_l0.chunk(3)
    assert log_uniform_p_value(b_z) > 0.01
    for other in (b_r, b_n, layer.bias_hh_l0):
        assert not other.any()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_rnn_decays_by_e_in_n_steps(nonlinearity: str, bias: bool) -> None:
    layer = RNN(4, 32, nonlinearity=nonlinearity, bias=bias, remember=STEPS)
    power = torch.linalg.matrix_power(layer.weight_hh_l0.double(), STEPS)
    torch.testing.assert_close(
        torch.linalg.svdvals(power), torch.full((32,), math.exp(-1)).double(), rtol=1e-4, atol=0
    )
    if bias:
        assert not layer.bias_ih_l0.any()
        assert not layer.bias_hh_l0.any()


def reach(layer: Recurrent, steps: int, scale: float = 1.0) -> float:
    """|dh_T/dx_(T - steps)| over |dh_T/dx_T|, for inputs of this scale."""
    input = torch.randn(steps + 1, 8, 4, generator=torch.Generator().manual_seed(1)) * scale
    output, _ = layer(input.requires_grad_())
    probe = torch.randn(output.shape[1:], generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad((output[-1] * probe).sum(), input)
    return float(gradient[0].norm() / gradient[-1].norm())


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
def test_a_signal_that_was_lost_arrives(kind: type[Recurrent]) -> None:
    torch.manual_seed(3)
    assert reach(kind(4, 64), steps=60) < 1e-9
    torch.manual_seed(3)
    assert reach(kind(4, 64, remember=200), steps=60) > 1e-3


def test_rnn_decays_as_promised_in_the_linear_regime() -> None:
    layer = RNN(4, 64, remember=STEPS)
    assert reach(layer, steps=60, scale=1e-4) == pytest.approx(math.exp(-60 / STEPS), rel=0.1)


@pytest.mark.parametrize("remember", [2, 0, -5, 10.0, True, "auto"])
def test_no_such_memory(remember: object) -> None:
    with pytest.raises(ValueError, match=r"remember is .*; it must be a whole number of steps, 3 or more"):
        LSTM(4, 8, remember=remember)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_gates_without_biases_cannot_be_told(kind: type[Recurrent]) -> None:
    with pytest.raises(ValueError, match="remember=50 is written into the biases of the gates"):
        kind(4, 8, bias=False, remember=50)


def test_reset_parameters_keeps_the_promise() -> None:
    layer = LSTM(4, 8, remember=50, learn_initial_state=True)
    before = layer.bias_ih_l0.clone()
    torch.nn.init.normal_(layer.c_0)
    layer.reset_parameters()
    b_i, b_f, _, _ = layer.bias_ih_l0.chunk(4)
    assert torch.equal(b_i, -b_f)
    assert not torch.equal(layer.bias_ih_l0, before)
    assert not layer.c_0.any()
