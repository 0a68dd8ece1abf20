"""The choice of a backend, and the reason given for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from storyline.cells import gru, lstm
from storyline.kernels import choose_backend, fused_stack
from storyline.layers import LSTM


def test_auto_takes_the_fused_operator() -> None:
    assert choose_backend("auto", lstm) == ("torch", "torch has a fused operator for lstm")


def test_auto_falls_back_and_says_why() -> None:
    name, reason = choose_backend("auto", gru, trace=True)
    assert name == "reference"
    assert "trace" in reason
    name, reason = choose_backend("auto", replace(lstm, name="peephole"))
    assert (name, reason) == ("reference", "torch has no fused operator for peephole")


def test_asked_for() -> None:
    assert choose_backend("reference", lstm) == ("reference", "asked for")
    assert choose_backend("torch", lstm) == ("torch", "asked for")


def test_torch_that_cannot_serve_raises() -> None:
    with pytest.raises(ValueError, match=r"backend='torch' cannot serve this call: a trace was asked for"):
        choose_backend("torch", lstm, trace=True)


def test_unknown_name() -> None:
    with pytest.raises(
        ValueError, match=r"backend is 'cuda'; it must be one of 'auto', 'reference', 'torch'"
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
            wanted = ("reference", "oneDNN has no LSTM in torch.bfloat16 for this processor")
        else:
            wanted = ("torch", "torch has a fused operator for lstm")
    assert layer.last_backend == wanted
    torch.testing.assert_close(output.float(), layer(input)[0], rtol=0, atol=0.02)
