"""What a layer refuses, and in which words."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from storyline.layers import GRU, LSTM, RNN

X = torch.zeros(5, 4, 3)
H = torch.zeros(1, 4, 6)
NO_RESET = torch.zeros(5, 4, dtype=torch.bool)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((torch.zeros(3),), {}, "input has 1 dimensions; it must be (time, batch, input_size), or (time, input"),
        ((torch.zeros(5, 4, 2),), {}, "input has 2 features a step; this layer reads input_size=3"),
        ((X.double(),), {}, "input is torch.float64 and the layer is torch.float32; convert one: .to(torch.float32)"),
        ((torch.zeros(5, 0, 3),), {}, "input (5, 0, 3) is empty; it needs at least one sequence and one step"),
        ((torch.zeros(0, 4, 3),), {}, "input (0, 4, 3) is empty"),
        ((X,), {"lengths": [5, 5, 5, 0]}, "lengths[3] is 0; every sequence needs at least one step"),
        ((X,), {"lengths": [5, 6, 5, 1]}, "lengths[1] is 6, but input has only 5 steps"),
        ((X,), {"lengths": [5, 5]}, "lengths have shape (2,); they must be (4,), one a sequence"),
        ((X,), {"lengths": torch.ones(4)}, "lengths are torch.float32; they must be integers"),
        ((X,), {"lengths": [True] * 4}, "lengths are torch.bool; they must be integers"),
        ((X,), {"resets": NO_RESET.T}, "resets have shape (4, 5); they must be (time, batch) = (5, 4)"),
        ((X,), {"resets": NO_RESET.long()}, "resets is torch.int64; it must be a bool tensor"),
        ((X,), {"resets": [[False] * 4] * 5}, "resets is list; it must be a bool tensor"),
        ((X, torch.zeros(1, 4, 6)), {}, "the initial state must be (h_0, c_0); it is one tensor of shape (1, 4, 6)"),
        ((X, (torch.zeros(1, 4, 6),)), {}, "the initial state must be (h_0, c_0); it is a tuple of length 1"),
        ((X, (torch.zeros(1, 4, 6), torch.zeros(1, 4, 5))), {}, "c_0 has shape (1, 4, 5); it must be (1, 4, 6)"),
        ((X, (1, 2)), {}, "the initial state: h_0 is of the type int; it must be a tensor (1, 4, 6)"),
        ((X, 7), {}, "the initial state must be (h_0, c_0); it is of the type int"),
        ((X, (H, H.double())), {}, "c_0 is torch.float64 and the layer is torch.float32; convert one: .to("),
        ((X, (H, H.to("meta"))), {}, "c_0 is on meta and the layer on cpu; move one: .to('cpu')"),
        ((X.to("meta"),), {}, "input is on meta and the layer on cpu; move one: .to('cpu')"),
        ((X,), {"lengths": ["a"] * 4}, "lengths are ['a', 'a', 'a', 'a']; they must be integers"),
        ((X,), {"lengths": [None] * 4}, "lengths are [None, None, None, None]; they must be integers"),
        ((X, (torch.zeros(4, 6), torch.zeros(4, 6))), {}, "h_0 has shape (4, 6); it must be (1, 4, 6)"),
    ],
)  # fmt: skip
def test_lstm_refuses(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        LSTM(3, 6)(*arguments, **options)


def test_state_of_a_layer_with_one_state() -> None:
    with pytest.raises(
        ValueError, match="the initial state must be the tensor h_0; it is a tuple of length 2"
    ):
        GRU(3, 6)(X, (torch.zeros(1, 4, 6), torch.zeros(1, 4, 6)))


def test_batch_first_names_its_own_layout() -> None:
    with pytest.raises(ValueError, match=re.escape("they must be (batch, time) = (5, 4)")):
        RNN(3, 6, batch_first=True)(X, resets=NO_RESET.T)
    with pytest.raises(ValueError, match=re.escape("it must be (batch, time, input_size)")):
        RNN(3, 6, batch_first=True)(X[None])


def test_one_sequence_names_its_own_layout() -> None:
    with pytest.raises(ValueError, match=re.escape("they must be (time,) = (5,)")):
        LSTM(3, 6)(X[:, 0], resets=NO_RESET)
    with pytest.raises(ValueError, match=re.escape("lengths have shape (2,); they must be (1,)")):
        LSTM(3, 6)(X[:, 0], lengths=[3, 2])


def test_packed_sequences_are_not_needed() -> None:
    with pytest.raises(TypeError, match="pass the padded tensor and lengths= instead"):
        LSTM(3, 6)(pack_sequence([X[:, 0], X[:3, 0]], enforce_sorted=False))


def test_other_objects() -> None:
    with pytest.raises(TypeError, match="input is a list; it must be a tensor"):
        LSTM(3, 6)([[0.0, 0.0, 0.0]])
    with pytest.raises(TypeError, match="input is a list; it must be a tensor"):
        LSTM(3, 6).step([[0.0, 0.0, 0.0]])
    with pytest.raises(ValueError, match="h_0 is of the type int; it must be a tensor"):
        LSTM(3, 6).step(X[0], (1, 2))


def test_step_of_a_bidirectional_layer() -> None:
    with pytest.raises(ValueError, match="a bidirectional layer reads from both ends"):
        LSTM(3, 6, bidirectional=True).step(X[0])
    with pytest.raises(
        ValueError, match=re.escape("input has 3 dimensions; one step is (batch, input_size)")
    ):
        LSTM(3, 6).step(X)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RNN(3, 6, nonlinearity="gelu"), "nonlinearity is 'gelu'; it must be 'tanh' or 'relu'"),
        (
            lambda: LSTM(3, 6, backend="gpu"),
            "backend is 'gpu'; it must be one of 'auto', 'reference', 'torch', 'cpu', 'triton'",
        ),
        (lambda: LSTM(3, 6, proj_size=6), "proj_size has to be smaller than hidden_size"),
        (lambda: GRU(3, 0), "hidden_size must be greater than zero"),
    ],
)
def test_construction_refuses(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        build()


def test_full_lengths_and_idle_resets_cost_nothing() -> None:
    """They are the dense call, to the last bit."""
    layer = LSTM(3, 6, 2)
    input = torch.randn(5, 4, 3)
    assert torch.equal(layer(input)[0], layer(input, lengths=[5] * 4, resets=NO_RESET)[0])


def test_repr_says_what_is_ours() -> None:
    layer = LSTM(3, 6, batch_first=True, remember=50, learn_initial_state=True, backend="reference")
    assert repr(layer) == (
        "LSTM(3, 6, batch_first=True, remember=50, learn_initial_state=True, backend='reference')"
    )
    assert repr(GRU(3, 6)) == repr(torch.nn.GRU(3, 6))
