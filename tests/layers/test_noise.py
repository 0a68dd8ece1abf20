"""Zoneout and recurrent dropout: what is drawn, when, and what it does to the states."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from storyline.layers import GRU, LSTM, RNN, SLSTM, Recurrent

TIME, BATCH, INPUT, HIDDEN = 40, 6, 3, 32

NOISY: dict[str, tuple[type[Recurrent], dict[str, Any]]] = {
    "rnn": (RNN, {"zoneout": 0.3, "recurrent_dropout": 0.4}),
    "lstm": (LSTM, {"zoneout": (0.2, 0.4), "recurrent_dropout": 0.4, "proj_size": 8}),
    "normalised lstm": (LSTM, {"zoneout": 0.2, "layer_norm": True}),
    "gru": (GRU, {"zoneout": 0.2, "recurrent_dropout": 0.4, "layer_norm": True}),
    "slstm": (SLSTM, {"recurrent_dropout": 0.4}),
}


@pytest.mark.parametrize("kind", NOISY)
def test_a_seed_fixes_the_masks_and_evaluation_draws_none(kind: str) -> None:
    cell, arguments = NOISY[kind]
    layer = cell(INPUT, HIDDEN, num_layers=2, bidirectional=True, **arguments)
    input = torch.randn(7, 3, INPUT)
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(layer(input, lengths=[7, 2, 5])[0])
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.allclose(outputs[0], outputs[2])
    layer.eval()
    before = torch.get_rng_state()
    assert torch.equal(layer(input)[0], layer(input)[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_every_layer_and_direction_draws_its_own() -> None:
    layer = LSTM(INPUT, HIDDEN, 2, bidirectional=True, zoneout=0.5)
    _, _, trace = layer(torch.randn(TIME, BATCH, INPUT), return_trace=True)
    kept = []
    for suffix in ("_l0", "_l1", "_l0_reverse", "_l1_reverse"):
        for name in "hc":
            states = trace.states[name + suffix]
            kept.append(states[1:] == states[:-1])
            assert kept[-1].float().mean().item() == pytest.approx(0.5, abs=0.03)
    for n, one in enumerate(kept):
        for other in kept[:n]:
            assert (one == other).float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_zoneout_keeps_so_many_in_training_and_that_share_in_evaluation() -> None:
    layer = LSTM(INPUT, HIDDEN, zoneout=(0.1, 0.6), dtype=torch.float64)
    input = torch.randn(TIME, BATCH, INPUT, dtype=torch.float64)
    _, _, trace = layer(input, return_trace=True)
    for name, rate in (("h", 0.1), ("c", 0.6)):
        states = trace.states[f"{name}_l0"]
        assert (states[1:] == states[:-1]).double().mean().item() == pytest.approx(rate, abs=0.03)
    _, _, trace = layer.eval()(input, return_trace=True)
    h, c = trace.states["h_l0"], trace.states["c_l0"]
    i, f, g, o = (trace.gates[f"{name}_l0"] for name in "ifgo")
    written = f * c[:-1] + i * g
    torch.testing.assert_close(c[1:], 0.6 * c[:-1] + 0.4 * written, rtol=0, atol=1e-14)
    torch.testing.assert_close(h[1:], 0.1 * h[:-1] + 0.9 * o * torch.tanh(written), rtol=0, atol=1e-14)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
def test_zoneout_of_one_holds_the_initial_state(kind: type[Recurrent], training: bool) -> None:
    layer = kind(INPUT, HIDDEN, zoneout=1.0).train(training)
    given = tuple(torch.randn(1, BATCH, HIDDEN) for _ in layer.cell.states)
    state = given if len(given) > 1 else given[0]
    output, last = layer(torch.randn(TIME, BATCH, INPUT), state)
    assert (output == given[0]).all()
    for a, b in zip(last if len(given) > 1 else (last,), given, strict=True):
        assert torch.equal(a, b)


def test_recurrent_dropout_hides_the_same_channels_at_all_steps() -> None:
    """With weight_hh the identity and no input, h_T is 0 where the mask is, and 1 / (1 - p)^T elsewhere."""
    layer = RNN(INPUT, HIDDEN, nonlinearity="relu", bias=False, recurrent_dropout=0.25)
    torch.nn.init.eye_(layer.weight_hh_l0)
    _, h_n = layer(torch.zeros(5, BATCH, INPUT), torch.ones(1, BATCH, HIDDEN))
    dropped = h_n == 0
    torch.testing.assert_close(h_n[~dropped], torch.full_like(h_n[~dropped], 0.75**-5))
    assert dropped.float().mean().item() == pytest.approx(0.25, abs=0.08)
    assert not (dropped == dropped[:, :1]).all()
    _, h_n = layer.eval()(torch.zeros(5, BATCH, INPUT), torch.ones(1, BATCH, HIDDEN))
    assert (h_n == 1).all()


def test_a_single_step_in_training() -> None:
    torch.manual_seed(0)
    layer = LSTM(INPUT, HIDDEN, zoneout=(0.0, 0.5))
    state = (torch.zeros(1, BATCH, HIDDEN), torch.randn(1, BATCH, HIDDEN))
    _, (_, c) = layer.step(torch.randn(BATCH, INPUT), state)
    assert (c == state[1]).float().mean().item() == pytest.approx(0.5, abs=0.1)
    masked = GRU(INPUT, HIDDEN, recurrent_dropout=0.5)
    with pytest.raises(ValueError, match="call the layer whole, or step\\(\\) after eval\\(\\)"):
        masked.step(torch.randn(BATCH, INPUT))
    masked.eval().step(torch.randn(BATCH, INPUT))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", NOISY)
def test_noise_under_autocast(kind: str, training: bool) -> None:
    """States and masks are float32 there, and products bfloat16."""
    cell, arguments = NOISY[kind]
    layer = cell(INPUT, HIDDEN, **arguments).train(training)
    input = torch.randn(5, 3, INPUT)
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = layer(input, lengths=[5, 2, 3], resets=torch.arange(15).view(5, 3) % 4 == 3)
        output.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LSTM(3, 4, zoneout=1.5), "zoneout is 1.5; every rate must be a number from 0 to 1"),
        (lambda: LSTM(3, 4, zoneout=(0.1, -0.1)), "zoneout is (0.1, -0.1); every rate must be"),
        (lambda: LSTM(3, 4, zoneout="some"), "zoneout is 'some'; every rate must be"),
        (lambda: GRU(3, 4, zoneout=(0.1, 0.1)), "zoneout has 2 rates and gru 1 states (h); give one rate"),
        (lambda: RNN(3, 4, recurrent_dropout=1.0), "recurrent_dropout is 1.0; it must be a probability below 1"),
        (
            lambda: LSTM(3, 4, zoneout=0.1, backend="torch"),
            "backend='torch' cannot serve this call: torch's fused operators know neither zoneout nor",
        ),
    ],
)  # fmt: skip
def test_refused(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        build()
