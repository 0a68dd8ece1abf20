"""The choice of a backend, and the reason given for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from storyline.cells import gru, lstm
from storyline.kernels import choose_backend, fused_stack, native
from storyline.layers import LSTM


def test_auto_takes_the_native_kernels_where_they_are() -> None:
    name, reason = choose_backend("auto", lstm)
    if native.missing is None:
        assert (name, reason) == ("cpu", f"the native kernels ({native.target()}) serve lstm")
    else:
        assert name == "torch"
        assert reason == f"torch has a fused operator for lstm, and {native.missing}"


def test_auto_falls_back_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "missing", "the native kernels are not built")
    name, reason = choose_backend("auto", lstm)
    assert (name, reason) == (
        "torch",
        "torch has a fused operator for lstm, and the native kernels are not built",
    )
    name, reason = choose_backend("auto", gru, trace=True)
    assert name == "reference"
    assert "trace" in reason
    name, reason = choose_backend("auto", replace(lstm, name="mine"))
    assert name == "reference"
    assert reason == "torch has no fused operator for mine, and the native kernels are not built"


def test_half_precision_is_not_for_the_native_kernels() -> None:
    name, _ = choose_backend("auto", lstm, dtype=torch.bfloat16)
    assert name == "torch"


def test_asked_for() -> None:
    assert choose_backend("reference", lstm) == ("reference", "asked for")
    assert choose_backend("torch", lstm) == ("torch", "asked for")


def test_what_cannot_serve_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"backend='torch' cannot serve this call: a trace was asked for"):
        choose_backend("torch", lstm, trace=True)
    monkeypatch.setattr(native, "missing", "the native kernels are not built")
    with pytest.raises(ValueError, match=r"backend='cpu' cannot serve this call: the native kernels are not"):
        choose_backend("cpu", lstm)


def test_unknown_name() -> None:
    with pytest.raises(
        ValueError, match=r"backend is 'cuda'; it must be one of 'auto', 'reference', 'torch', 'cpu'"
    ):
        choose_backend("cuda", lstm)


def test_an_lstm_runs_under_autocast_whatever_the_processor_has() -> None:
    layer, input = LSTM(3, 4), torch.randn(5, 2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = layer(input)
        try:
            fused_stack(
                lstm,
                [weights for *_, weights in layer._parts()],
                input,
                (torch.zeros(1, 2, 4),) * 2,
                num_layers=1,
                dropout=0.0,
                bidirectional=False,
            )
        except RuntimeError:
            wanted = "oneDNN has no LSTM in torch.bfloat16 for this processor"
        else:
            wanted = "torch has a fused operator for lstm"
    assert layer.last_backend is not None
    assert layer.last_backend[1].startswith(wanted)
    torch.testing.assert_close(output.float(), layer(input)[0], rtol=0, atol=0.02)
