"""The choice of a backend, and the reason given for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from storyline import LSTM
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


class On:
    """What the choice reads of an input, for a device that need not be there."""

    def __init__(self, device: str, dtype: torch.dtype = torch.float32) -> None:
        self.device, self.dtype = torch.device(device), dtype


@pytest.fixture
def no_interpreter(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Triton as a user has it: installed, and without its interpreter."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("storyline.kernels.triton.find_spec", lambda _: object())
    return monkeypatch


def test_auto_on_a_gpu(no_interpreter: pytest.MonkeyPatch) -> None:
    gpu = On("cuda")
    assert choose_backend("auto", lstm, input=gpu)[0] == "torch"
    assert choose_backend("auto", lstm, input=gpu, plain=False) == (
        "triton", "cuDNN has no operator for lengths and resets, and the triton kernels have",
    )  # fmt: skip
    name, reason = choose_backend("auto", lstm, input=gpu, plain=False, projected=True)
    assert name == "torch"
    assert reason.endswith(
        "triton cannot serve: there is no triton kernel for lstm with a projection (proj_size)"
    )
    name, reason = choose_backend("auto", lstm, input=On("cuda", torch.float64), plain=False)
    assert name == "torch"
    assert "torch.float64" in reason
    assert choose_backend("auto", lstm, input=gpu, plain=False, trace=True)[0] == "reference"
    assert choose_backend("auto", lstm, input=On("cpu"), plain=False)[0] == "torch"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"input": On("cpu")}, r"the input is on cpu, and triton's kernels run on CUDA devices .*TRITON_INTERPRET=1"),
        ({"input": On("cuda", torch.float64)}, r"torch.float64, and triton's kernels take float32, bfloat16 or"),
        ({"projected": True}, "no triton kernel for lstm with a projection"),
        ({"trace": True}, "the triton kernels return neither gates nor all states"),
    ],
)  # fmt: skip
def test_triton_that_cannot_serve_raises(
    no_interpreter: pytest.MonkeyPatch, arguments: dict[str, Any], reason: str
) -> None:
    with pytest.raises(
        ValueError, match=rf"backend='triton' cannot serve this call: .*{reason}.*backend='auto'"
    ):
        choose_backend("triton", lstm, **arguments)


def test_triton_that_is_not_installed_raises(no_interpreter: pytest.MonkeyPatch) -> None:
    no_interpreter.setattr("storyline.kernels.triton.find_spec", lambda _: None)
    with pytest.raises(
        ValueError, match="the package triton is not installed; CUDA builds of torch bring it"
    ):
        LSTM(2, 3, backend="triton")
