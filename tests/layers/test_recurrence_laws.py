"""The equalities that a recurrent layer owes: however a sequence is cut, padded or stepped, the numbers are one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from storyline.layers import GRU, LSTM, RNN, Recurrent

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

INPUT, HIDDEN = 3, 4


def build(kind: str, **more: Any) -> Recurrent:
    torch.manual_seed(2)
    more = {"dtype": torch.float64, **more}
    if kind == "projected":
        return LSTM(INPUT, HIDDEN, proj_size=2, **more)
    if kind == "relu":
        return RNN(INPUT, HIDDEN, nonlinearity="relu", **more)
    return {"tanh": RNN, "lstm": LSTM, "gru": GRU}[kind](INPUT, HIDDEN, **more)


def flat(output: Tensor, last: Any) -> list[Tensor]:
    return [output, *last] if isinstance(last, tuple) else [output, last]


def assert_close(one: list[Tensor], other: list[Tensor]) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


kinds = pytest.mark.parametrize("kind", ["tanh", "relu", "lstm", "projected", "gru"])
backends = pytest.mark.parametrize("backend", ["torch", "reference"])


@kinds
@pytest.mark.parametrize("learned", [False, True])
def test_step_by_step_is_whole(kind: str, learned: bool) -> None:
    layer = build(kind, num_layers=2, learn_initial_state=learned)
    if learned:
        for name in layer.cell.states:
            torch.nn.init.normal_(layer.get_parameter(f"{name}_0"))
    input = torch.randn(6, 3, INPUT, dtype=torch.float64)
    state, outputs = None, []
    for x in input:
        output, state = layer.step(x, state)
        outputs.append(output)
    assert_close(flat(*layer(input)), flat(torch.stack(outputs), state))


@kinds
@backends
def test_chunked_is_whole(kind: str, backend: str) -> None:
    layer = build(kind, num_layers=2, batch_first=True, backend=backend)
    input = torch.randn(3, 9, INPUT, dtype=torch.float64)
    first, state = layer(input[:, :4])
    second, state = layer(input[:, 4:], state)
    assert_close(flat(*layer(input)), flat(torch.cat([first, second], 1), state))


@settings(deadline=None, max_examples=40)
@given(
    kind=st.sampled_from(["tanh", "relu", "lstm", "projected", "gru"]),
    backend=st.sampled_from(["torch", "reference"]),
    layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    batch_first=st.booleans(),
    learned=st.booleans(),
    time=st.integers(1, 6),
    data=st.data(),
)
def test_ragged_is_each_row_alone(
    kind: str,
    backend: str,
    layers: int,
    bidirectional: bool,
    batch_first: bool,
    learned: bool,
    time: int,
    data: st.DataObject,
) -> None:
    lengths = data.draw(st.lists(st.integers(1, time), min_size=1, max_size=4))
    layer = build(
        kind,
        backend=backend,
        num_layers=layers,
        bidirectional=bidirectional,
        batch_first=batch_first,
        learn_initial_state=learned,
    )
    if learned:
        for name in layer.cell.states:
            torch.nn.init.normal_(layer.get_parameter(f"{name}_0"))
    batch = len(lengths)
    resets = torch.tensor(data.draw(st.lists(st.booleans(), min_size=time * batch, max_size=time * batch)))
    resets = resets.view(batch, time)
    input = torch.randn(batch, time, INPUT, dtype=torch.float64)
    for row, length in enumerate(lengths):
        input[row, length:] = torch.nan
    turn = (lambda x: x) if batch_first else (lambda x: x.transpose(0, 1))
    output, *last = flat(*layer(turn(input), lengths=lengths, resets=turn(resets)))
    for row, length in enumerate(lengths):
        piece = slice(row, row + 1), slice(0, length)
        alone, *final = flat(*layer(turn(input[piece]), resets=turn(resets[piece])))
        assert_close([turn(output)[piece], *(each[:, row : row + 1] for each in last)], [turn(alone), *final])
        assert not turn(output)[row, length:].any()


@kinds
@backends
@pytest.mark.parametrize("reset", [False, True], ids=["", "resets"])
def test_nan_in_the_padding_is_harmless(kind: str, backend: str, reset: bool) -> None:
    layer = build(kind, num_layers=2, bidirectional=True, backend=backend)
    lengths = torch.tensor([5, 2, 3])
    resets = torch.rand(5, 3) < 0.4 if reset else None
    results = []
    for padding in (0.0, torch.nan, torch.inf):
        input = torch.randn(5, 3, INPUT, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        for row, length in enumerate(lengths):
            input[length:, row] = padding
        input.requires_grad_()
        result = flat(*layer(input, lengths=lengths, resets=resets))
        gradients = torch.autograd.grad(
            sum(each.square().sum() for each in result), [input, *layer.parameters()]
        )
        results.append([*result, *gradients])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.equal(a, b)
    gradient = results[1][len(results[1]) - 1 - len(list(layer.parameters()))]
    assert not gradient[2:, 1].any()


@kinds
def test_gradients_are_those_of_finite_differences(kind: str) -> None:
    layer = build(kind, bidirectional=True, learn_initial_state=True)
    names = [name for name, _ in layer.named_parameters()]
    values = [torch.randn_like(value).requires_grad_() for value in layer.parameters()]
    input = torch.randn(3, 2, INPUT, dtype=torch.float64, requires_grad=True)
    resets = torch.tensor([[False, True], [True, False], [False, False]])

    def run(input: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        options = {"lengths": [2, 3], "resets": resets}
        weights = dict(zip(names, parameters, strict=True))
        return tuple(flat(*torch.func.functional_call(layer, weights, (input,), options)))

    assert torch.autograd.gradcheck(run, (input, *values), fast_mode=True)


@backends
def test_learned_initial_state_is_where_every_segment_starts(backend: str) -> None:
    layer = build("lstm", learn_initial_state=True, backend=backend)
    torch.nn.init.normal_(layer.h_0)
    torch.nn.init.normal_(layer.c_0)
    input = torch.randn(4, 1, INPUT, dtype=torch.float64).repeat(2, 1, 1)
    resets = torch.zeros(8, 1, dtype=torch.bool)
    resets[4] = True
    output, _ = layer(input, resets=resets)
    torch.testing.assert_close(output[:4], output[4:], rtol=0, atol=1e-13)
    zeros = layer(input, (torch.zeros(1, 1, HIDDEN).double(),) * 2)[0]
    assert not torch.allclose(zeros[:4], output[:4])
    output[4:].sum().backward()
    assert layer.h_0.grad is not None
    assert layer.h_0.grad.abs().sum() > 0
