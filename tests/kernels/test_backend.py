"""The choice of a backend, and the reason given for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storyline.cells import gru, lstm
from storyline.kernels import choose_backend


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
        ValueError, match=r"backend is 'cuda'; it must be one of 'auto', 'reference', 'torch', 'triton'"
    ):
        choose_backend("cuda", lstm)
