"""The choice of a backend, and the reason given for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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
        ValueError,
        match=r"backend is 'cuda'; it must be one of 'auto', 'reference', 'torch', 'cpu', 'triton'",
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


# A device that need not be there.
GPU: dict[str, Any] = {"device": torch.device("cuda"), "dtype": torch.float32}


@pytest.fixture
def no_interpreter(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Triton as a user has it: installed, and without its interpreter."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("storyline.kernels.triton.find_spec", lambda _: object())
    return monkeypatch


def test_auto_on_a_gpu(no_interpreter: pytest.MonkeyPatch) -> None:
    assert choose_backend("auto", lstm, **GPU)[0] == "torch"
    assert choose_backend("auto", lstm, **GPU, ragged=True) == (
        "triton", "cuDNN has no operator for lengths and resets, and the triton kernels have",
    )  # fmt: skip
    name, reason = choose_backend("auto", lstm, **GPU, ragged=True, projected=True)
    assert name == "torch"
    assert reason.endswith(
        "triton cannot serve: there is no triton kernel for lstm with a projection (proj_size)"
    )
    name, reason = choose_backend("auto", lstm, **(GPU | {"dtype": torch.float64}), resets=True)
    assert name == "torch"
    assert "torch.float64" in reason
    assert choose_backend("auto", lstm, **GPU, ragged=True, trace=True)[0] == "reference"
    assert choose_backend("auto", lstm, device=torch.device("cpu"), ragged=True)[0] != "triton"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"device": torch.device("cpu")}, r"is on cpu, and triton's kernels run on CUDA devices .*TRITON_INTERPRET=1"),
        (GPU | {"dtype": torch.float64}, r"torch.float64, and triton's kernels take float32, bfloat16 or"),
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
