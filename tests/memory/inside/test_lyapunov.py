"""Lyapunov exponents of layers whose Jacobians are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from storyline.layers import GRU
from storyline.memory import MeasureError, gradient_reach
from storyline.memory.inside.lyapunov import gradient_decay, lyapunov_exponents

EIGENVALUES = np.array([0.99, 0.8, 0.5, 0.1])


def linear(eigenvalues: np.ndarray) -> nn.RNN:
    """h_t = U h_(t-1) + x_t, in the region where relu is the identity; U not symmetric."""
    layer = nn.RNN(4, 4, nonlinearity="relu", batch_first=True, bias=False).double()
    basis = torch.tensor([[1, 0.2, 0.3, 0], [0, 1, 0.4, 0.2], [0, 0, 1, 0.1], [0, 0, 0, 1.0]]).double()
    with torch.no_grad():
        U = basis @ torch.diag(torch.tensor(eigenvalues)) @ torch.linalg.inv(basis)
        layer.weight_hh_l0.copy_(U)
        layer.weight_ih_l0.copy_(torch.eye(4))
    return layer


def drive(layer: nn.RNN, rows: int = 3, time: int = 400) -> torch.Tensor:
    """Inputs that hold every unit of ``linear`` between 1 and 2: x_t = h_t - U h_(t-1)."""
    h = 1 + torch.rand(rows, time + 1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    h[:, 0] = 0
    return h[:, 1:] - h[:, :-1] @ layer.weight_hh_l0.detach().T


def test_a_linear_network_has_the_logarithms_of_its_eigenvalues() -> None:
    layer = linear(EIGENVALUES)
    x = drive(layer)
    (found,) = lyapunov_exponents(layer, x).values()
    np.testing.assert_allclose(found.values, np.log(EIGENVALUES), atol=2e-3)
    assert found.values.sum() == pytest.approx(np.log(EIGENVALUES).sum(), rel=1e-12)  # ln |det U|, exactly
    np.testing.assert_allclose(found.per_sequence, np.tile(found.values, (3, 1)), rtol=1e-12)
    assert found.steps == 3 * 360
    (two,) = lyapunov_exponents(layer, x, top=2).values()
    np.testing.assert_allclose(two.values, np.log(EIGENVALUES[:2]), atol=2e-3)


@pytest.mark.parametrize("scale", [0.9, 1.0, 1.2])
def test_a_scaled_rotation_has_one_exponent(scale: float) -> None:
    """A tanh about 0 is the identity: J = scale times an orthogonal matrix, to 1e-12."""
    torch.manual_seed(0)
    layer = nn.RNN(1, 6).double()
    with torch.no_grad():
        for each in layer.parameters():
            each.zero_()
        layer.weight_hh_l0.copy_(scale * nn.init.orthogonal_(torch.empty(6, 6)).double())
    (found,) = lyapunov_exponents(layer, torch.zeros(30, 2, 1).double()).values()
    np.testing.assert_allclose(found.values, np.log(scale), atol=1e-7)
    assert found.decay_steps == (
        pytest.approx(-1 / np.log(0.9), rel=1e-5) if scale < 1 else found.decay_steps
    )


def test_singular_values_of_the_product_of_numpy_jacobians() -> None:
    """A tanh network over a short sequence: QR from the unit basis gives the volumes of the product."""
    torch.manual_seed(2)
    layer = nn.RNN(2, 3, batch_first=True).double()
    x = torch.randn(4, 12, 2, dtype=torch.float64)
    lengths = [12, 5, 9, 12]
    h = layer(x)[0].detach().numpy()
    U = layer.weight_hh_l0.detach().numpy()
    (found,) = lyapunov_exponents(layer, x, lengths, warmup=0).values()
    for row, length in enumerate(lengths):
        logs = [np.linalg.slogdet((1 - h[row, t] ** 2)[:, None] * U)[1] for t in range(length)]
        assert found.per_sequence[row].sum() == pytest.approx(np.mean(logs), rel=1e-10)
    assert found.values.sum() == pytest.approx(
        (found.per_sequence.sum(1) * lengths).sum() / sum(lengths), rel=1e-10
    )
    assert found.steps == 38
    assert (found.low <= found.values).all()
    assert (found.values <= found.high).all()


def test_an_lstm_whose_gates_do_not_move() -> None:
    """c_t = f c_(t-1) + i g with no way from h to the gates: ln f a unit, and h is wiped out at every step."""
    keep = np.array([0.99, 0.9, 0.5])
    layer = nn.LSTM(2, 3, num_layers=2, bidirectional=True, batch_first=True).double()
    with torch.no_grad():
        for name, each in layer.named_parameters():
            if "hh" in name:
                each.zero_()
            elif name.startswith("weight_ih"):
                each[3:6] = 0
            else:
                each[3:6] = torch.tensor(np.log(keep / (1 - keep)))
    found = lyapunov_exponents(layer, torch.randn(2, 300, 2, dtype=torch.float64), [300, 200])
    assert list(found) == ["layer 1", "layer 1, backward", "layer 2", "layer 2, backward"]
    for each in found.values():
        np.testing.assert_allclose(each.values[:3], np.log(keep), atol=1e-3)
        assert (each.values[3:] == -np.inf).all()
        assert (each.low[3:] == -np.inf).all()


@pytest.mark.parametrize("kind", [nn.RNN, GRU, nn.LSTM])
def test_the_gradient_decays_at_the_largest_exponent(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    layer = kind(3, 12, batch_first=True).double()
    x = torch.randn(12, 120, 3, dtype=torch.float64)
    (found,) = lyapunov_exponents(layer, x, top=1).values()
    reach = gradient_reach(lambda leaf: layer(leaf)[0][:, -1], x)
    assert gradient_decay(reach) == pytest.approx(found.largest, rel=0.05)
    assert found.low[0] < found.largest < found.high[0] < 0
    assert str(found).endswith("steps")


def test_chaos_has_an_exponent_above_zero() -> None:
    torch.manual_seed(0)
    layer = nn.RNN(1, 60, bias=False, batch_first=True).double()
    with torch.no_grad():
        layer.weight_ih_l0.zero_()
        layer.weight_hh_l0.normal_(0, 3 / 60**0.5)  # gain 3: Sompolinsky, Crisanti and Sommers 1988
    start = torch.randn(1, 20, 60, dtype=torch.float64)
    (found,) = lyapunov_exponents(layer, torch.zeros(20, 200, 1).double(), None, start, top=1).values()
    # Pairs of trajectories 1e-9 apart, compared before they part for good.
    near = start + 1e-9 * torch.randn(1, 20, 60, dtype=torch.float64)
    distance = []
    for steps in (10, 25):
        zeros = torch.zeros(20, steps, 1).double()
        distance.append((layer(zeros, start)[1] - layer(zeros, near)[1]).detach().norm(dim=-1).log().mean())
    assert found.largest == pytest.approx(float(distance[1] - distance[0]) / 15, rel=0.1)
    assert found.largest > 0.2
    (one,) = lyapunov_exponents(layer, torch.zeros(1, 20, 1).double(), None, start[:, :1], top=1).values()
    assert (one.low, one.high, one.decay_steps) == (None, None, None)
    assert str(one).endswith("nats a step: a disturbance does not die")


def test_refusals() -> None:
    layer, x = nn.GRU(2, 3, batch_first=True), torch.randn(2, 9, 2)
    with pytest.raises(MeasureError, match="the layer is Linear"):
        lyapunov_exponents(nn.Linear(2, 2), x)
    with pytest.raises(MeasureError, match="top is 4; the state of a layer has 3 numbers"):
        lyapunov_exponents(layer, x, top=4)
    with pytest.raises(MeasureError, match="top is 0; a whole number"):
        lyapunov_exponents(layer, x, top=0)
    with pytest.raises(MeasureError, match="warmup is 5, and sequence 1 has 5 steps; 0 to 4 was wanted"):
        lyapunov_exponents(layer, x, [9, 5], warmup=5)
    with pytest.raises(MeasureError, match="above 0 at the first 2 lags only"):
        gradient_decay(gradient_reach(lambda leaf: leaf[:, -2:].sum(1), x))
