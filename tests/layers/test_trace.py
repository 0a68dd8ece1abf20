"""What a trace holds: the gates satisfy the equations, and the states are those that the layer went through."""

from __future__ import annotations

import pytest
import torch

from storyline.kernels import BACKENDS
from storyline.layers import GRU, LSTM, RNN

TIME, BATCH, INPUT, HIDDEN = 6, 3, 2, 4
LENGTHS = [6, 1, 4]


def test_gates_of_the_lstm_satisfy_its_equations() -> None:
    layer = LSTM(INPUT, HIDDEN, num_layers=2, bidirectional=True, dtype=torch.float64)
    input = torch.randn(TIME, BATCH, INPUT, dtype=torch.float64)
    output, (h_n, c_n), trace = layer(input, lengths=LENGTHS, return_trace=True)
    suffixes = ["_l0", "_l0_reverse", "_l1", "_l1_reverse"]
    assert set(trace.states) == {name + suffix for name in "hc" for suffix in suffixes}
    assert set(trace.gates) == {name + suffix for name in "ifgo" for suffix in suffixes}
    for index, suffix in enumerate(suffixes):
        h, c = trace.states["h" + suffix], trace.states["c" + suffix]
        i, f, g, o = (trace.gates[name + suffix] for name in "ifgo")
        assert h.shape == (TIME + 1, BATCH, HIDDEN)
        assert f.shape == (TIME, BATCH, HIDDEN)
        backwards = suffix.endswith("reverse")
        for row, length in enumerate(LENGTHS):
            for t in range(length):
                before, after = (t + 1, t) if backwards else (t, t + 1)
                kept = f[t, row] * c[before, row] + i[t, row] * g[t, row]
                torch.testing.assert_close(c[after, row], kept, rtol=0, atol=1e-14)
                read = o[t, row] * torch.tanh(c[after, row])
                torch.testing.assert_close(h[after, row], read, rtol=0, atol=1e-14)
            first, last = (length, 0) if backwards else (0, length)
            assert not h[first, row].any()
            assert torch.equal(h[last, row], h_n[index, row])
            assert torch.equal(c[last, row], c_n[index, row])
            assert not f[length:, row].any()
            assert (c[length:, row] == c[length, row]).all()
    assert torch.equal(output[0, :, HIDDEN:], trace.states["h_l1_reverse"][0])
    gate = torch.sigmoid(
        input[2, 0] @ layer.weight_ih_l0[HIDDEN : 2 * HIDDEN].T
        + layer.bias_ih_l0[HIDDEN : 2 * HIDDEN]
        + trace.states["h_l0"][2, 0] @ layer.weight_hh_l0[HIDDEN : 2 * HIDDEN].T
        + layer.bias_hh_l0[HIDDEN : 2 * HIDDEN]
    )
    torch.testing.assert_close(trace.gates["f_l0"][2, 0], gate, rtol=0, atol=1e-14)


def test_update_gate_of_the_gru_is_what_is_kept() -> None:
    layer = GRU(INPUT, HIDDEN, batch_first=True, dtype=torch.float64)
    output, _, trace = layer(torch.randn(BATCH, TIME, INPUT, dtype=torch.float64), return_trace=True)
    h, z, n = trace.states["h_l0"], trace.gates["z_l0"], trace.gates["n_l0"]
    assert h.shape == (BATCH, TIME + 1, HIDDEN)
    torch.testing.assert_close(h[:, 1:], (1 - z) * n + z * h[:, :-1], rtol=0, atol=1e-14)
    assert torch.equal(output, h[:, 1:])


def test_a_vanilla_network_has_states_and_no_gates() -> None:
    _, _, trace = RNN(INPUT, HIDDEN)(torch.randn(TIME, INPUT), return_trace=True)
    assert trace.gates == {}
    assert trace.states["h_l0"].shape == (TIME + 1, HIDDEN)


def test_states_carry_gradients() -> None:
    layer = LSTM(INPUT, HIDDEN)
    input = torch.randn(TIME, BATCH, INPUT, requires_grad=True)
    _, _, trace = layer(input, return_trace=True)
    (gradient,) = torch.autograd.grad(trace.states["c_l0"][3].sum(), input)
    assert gradient[2].any()
    assert not gradient[3:].any()


@pytest.mark.parametrize("backend", sorted(set(BACKENDS) - {"reference", "triton"}))
def test_trace_is_what_the_fast_backends_compute(backend: str) -> None:
    layer = LSTM(INPUT, HIDDEN, 2, bidirectional=True, backend=backend)
    input = torch.randn(TIME, BATCH, INPUT)
    resets = torch.rand(TIME, BATCH) < 0.3
    fast, _ = layer(input, lengths=LENGTHS, resets=resets)
    assert layer.last_backend == (backend, "asked for")
    layer.backend = "auto"
    slow, _, _ = layer(input, lengths=LENGTHS, resets=resets, return_trace=True)
    assert layer.last_backend[0] == "reference"
    assert "trace" in layer.last_backend[1]
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-6)


def test_torch_asked_for_by_name_cannot_trace() -> None:
    layer = LSTM(INPUT, HIDDEN, backend="torch")
    with pytest.raises(ValueError, match="backend='torch' cannot serve this call"):
        layer(torch.randn(TIME, BATCH, INPUT), return_trace=True)
