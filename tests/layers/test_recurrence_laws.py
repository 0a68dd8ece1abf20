"""The equalities that a recurrent layer owes: however a sequence is cut, padded or stepped, the numbers are one."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from storyline.layers import GRU, LSTM, RNN, SLSTM, Recurrent

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

INPUT, HIDDEN = 3, 4


KINDS: dict[str, tuple[type[Recurrent], dict[str, Any]]] = {
    "tanh": (RNN, {}),
    "relu": (RNN, {"nonlinearity": "relu"}),
    "lstm": (LSTM, {}),
    "projected": (LSTM, {"proj_size": 2}),
    "gru": (GRU, {}),
    "peephole": (LSTM, {"peepholes": True}),
    "coupled": (LSTM, {"coupled_gates": True, "proj_size": 3}),
    "normalised lstm": (LSTM, {"layer_norm": True}),
    "normalised gru": (GRU, {"layer_norm": True}),
    "slstm": (SLSTM, {"num_heads": 2}),
    # In evaluation, where zoneout keeps a share of the old state and draws nothing.
    "zoneout lstm": (LSTM, {"zoneout": (0.3, 0.1), "proj_size": 2}),
    "zoneout rnn": (RNN, {"zoneout": 0.25}),
}
FUSED = ("tanh", "relu", "lstm", "projected", "gru")


def build(kind: str, **more: Any) -> Recurrent:
    torch.manual_seed(2)
    layer, arguments = KINDS[kind]
    built = layer(INPUT, HIDDEN, **{"dtype": torch.float64, **arguments, **more})
    return built.eval() if "zoneout" in kind else built


def flat(output: Tensor, last: Any) -> list[Tensor]:
    return [output, *last] if isinstance(last, tuple) else [output, last]


def draw_initial_state(layer: Recurrent) -> None:
    for name, learned in layer.named_parameters():
        if name.endswith("_0"):
            torch.nn.init.normal_(learned)


def assert_close(one: list[Tensor], other: list[Tensor]) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


kinds = pytest.mark.parametrize("kind", KINDS)
backends = pytest.mark.parametrize("backend", ["torch", "reference"])
served = pytest.mark.parametrize(
    ("kind", "backend"),
    [(kind, "reference") for kind in KINDS] + [(kind, "torch") for kind in FUSED],
)


@kinds
@pytest.mark.parametrize("learned", [False, True])
def test_step_by_step_is_whole(kind: str, learned: bool) -> None:
    layer = build(kind, num_layers=2, learn_initial_state=learned)
    if learned:
        draw_initial_state(layer)
    input = torch.randn(6, 3, INPUT, dtype=torch.float64)
    state, outputs = None, []
    for x in input:
        output, state = layer.step(x, state)
        outputs.append(output)
    assert_close(flat(*layer(input)), flat(torch.stack(outputs), state))


@served
def test_chunked_is_whole(kind: str, backend: str) -> None:
    layer = build(kind, num_layers=2, batch_first=True, backend=backend)
    input = torch.randn(3, 9, INPUT, dtype=torch.float64)
    first, state = layer(input[:, :4])
    second, state = layer(input[:, 4:], state)
    assert_close(flat(*layer(input)), flat(torch.cat([first, second], 1), state))


@settings(deadline=None, max_examples=80)
@given(
    served=st.sampled_from([(k, "reference") for k in KINDS] + [(k, "torch") for k in FUSED]),
    layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    batch_first=st.booleans(),
    learned=st.booleans(),
    time=st.integers(1, 6),
    data=st.data(),
)
def test_ragged_is_each_row_alone(
    served: tuple[str, str],
    layers: int,
    bidirectional: bool,
    batch_first: bool,
    learned: bool,
    time: int,
    data: st.DataObject,
) -> None:
    lengths = data.draw(st.lists(st.integers(1, time), min_size=1, max_size=4))
    kind, backend = served
    layer = build(
        kind,
        backend=backend,
        num_layers=layers,
        bidirectional=bidirectional,
        batch_first=batch_first,
        learn_initial_state=learned,
    )
    if learned:
        draw_initial_state(layer)
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


@served
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
    generator = torch.Generator().manual_seed(4)
    values = [
        torch.randn(value.shape, generator=generator, dtype=value.dtype).requires_grad_()
        for value in layer.parameters()
    ]
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


@kinds
def test_two_directions_are_two_layers(kind: str) -> None:
    both = build(kind, bidirectional=True)
    halves = []
    for direction, end in ((0, "_l0"), (1, "_l0_reverse")):
        one = build(kind)
        one.load_state_dict(
            {name: both.get_parameter(name.removesuffix("_l0") + end) for name in one.state_dict()}
        )
        input = torch.randn(6, 3, INPUT, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        output, *last = flat(*one(input.flip(0) if direction else input))
        halves.append([output.flip(0) if direction else output, *last])
    expected = [torch.cat([a, b], -1 if n == 0 else 0) for n, (a, b) in enumerate(zip(*halves, strict=True))]
    assert_close(flat(*both(input)), expected)


@kinds
def test_resets_are_pieces(kind: str) -> None:
    layer = build(kind, num_layers=2, learn_initial_state=True)
    draw_initial_state(layer)
    input = torch.randn(7, 2, INPUT, dtype=torch.float64)
    resets = torch.zeros(7, 2, dtype=torch.bool)
    resets[3] = True
    pieces = [layer(input[:3]), layer(input[3:])]
    expected = [torch.cat([output for output, _ in pieces]), *flat(*pieces[1])[1:]]
    assert_close(flat(*layer(input, resets=resets)), expected)


@kinds
def test_saved_and_loaded_is_the_same(kind: str) -> None:
    layer = build(kind, num_layers=2, bidirectional=True, learn_initial_state=True)
    input = torch.randn(5, 3, INPUT, dtype=torch.float64)
    for parameter in layer.parameters():
        torch.nn.init.uniform_(parameter, 0.1, 1)
    expected = layer(input, lengths=[5, 1, 3])[0]
    torch.manual_seed(9)
    other, arguments = KINDS[kind]
    fresh = other(
        INPUT,
        HIDDEN,
        num_layers=2,
        bidirectional=True,
        learn_initial_state=True,
        dtype=torch.float64,
        **arguments,
    ).train(layer.training)
    fresh.load_state_dict(layer.state_dict())
    for twin in (fresh, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(input, lengths=[5, 1, 3])[0], expected)
        assert repr(twin) == repr(layer)


@kinds
def test_a_trace_says_what_the_step_does(kind: str) -> None:
    layer = build(kind)
    output, _, trace = layer(torch.randn(5, 3, INPUT, dtype=torch.float64), return_trace=True)
    assert set(trace.states) == {f"{name}_l0" for name in layer.cell.states}
    assert set(trace.gates) == {f"{name}_l0" for name in layer.cell.gates}
    assert_close([trace.states["h_l0"][1:]], [output])


@pytest.mark.parametrize("training", [True, False])
def test_output_and_state_may_be_written_to_in_place(training: bool) -> None:
    layer, input = LSTM(3, 4), torch.randn(5, 2, 3)
    (wanted,) = torch.autograd.grad(
        (layer(input)[0] * 2).sum() + layer(input)[1][0].sum(), [layer.weight_hh_l0]
    )
    with torch.set_grad_enabled(training):
        output, (h_n, _) = layer(input)
        output.mul_(2)
        h_n.add_(1)
    if training:
        (found,) = torch.autograd.grad(output.sum() + h_n.sum(), [layer.weight_hh_l0])
        torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(output, layer(input)[0] * 2)
    torch.testing.assert_close(h_n, layer(input)[1][0] + 1)
