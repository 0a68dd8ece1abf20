"""Streams: a step is the forward pass's, bit for bit; the state is the stream's own; what does not fit is refused."""

from __future__ import annotations

import copy
import pickle
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from storyline.cells import CELLS, Cell
from storyline.kernels import native
from storyline.layers import GRU, LSTM, RNN, SLSTM, CellStack, Recurrent, Stream

needs_kernels = pytest.mark.skipif(native.missing is not None, reason="the native kernels are not built")

# Sizes of whole vectors, sizes with tails, one unit; every branch of the product of one row and of a few.
LAYERS: dict[str, Callable[..., Recurrent]] = {
    "rnn tanh": lambda **more: RNN(3, 5, 2, **more),
    "rnn relu": lambda **more: RNN(33, 64, nonlinearity="relu", bias=False, **more),
    "lstm": lambda **more: LSTM(7, 37, 3, dropout=0.5, **more),
    "lstm wide": lambda **more: LSTM(300, 96, learn_initial_state=True, **more),
    "lstm of one unit": lambda **more: LSTM(1, 1, bias=False, **more),
    "projected": lambda **more: LSTM(5, 20, 2, proj_size=9, zoneout=(0.1, 0.3), **more),
    "peepholes": lambda **more: LSTM(4, 19, 2, peepholes=True, zoneout=0.2, **more),
    "coupled": lambda **more: LSTM(4, 19, 2, coupled_gates=True, **more),
    "layer norm": lambda **more: LSTM(4, 19, 2, layer_norm=True, recurrent_dropout=0.2, **more),
    "gru": lambda **more: GRU(6, 21, 2, zoneout=0.2, learn_initial_state=True, **more),
    "gru layer norm": lambda **more: GRU(6, 21, 2, layer_norm=True, **more),
    "slstm": lambda **more: SLSTM(6, 20, 4, 2, learn_initial_state=True, **more),
    "slstm of one head": lambda **more: SLSTM(6, 10, 1, **more),
}


def built(kind: str, dtype: torch.dtype = torch.float32, **more: Any) -> Recurrent:
    torch.manual_seed(0)
    layer = LAYERS[kind](dtype=dtype, **more).eval()
    for name in layer.cell.states:
        if f"{name}_0" in dict(layer.named_parameters()):
            torch.nn.init.normal_(layer.get_parameter(f"{name}_0"))
    return layer


def states_of(state: Any) -> tuple[Tensor, ...]:
    return (state,) if isinstance(state, Tensor) else state


def test_every_cell_is_streamed() -> None:
    assert {built(kind).cell.name for kind in LAYERS} == set(CELLS)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_step_has_the_bits_of_the_scan(kind: str, dtype: torch.dtype) -> None:
    layer = built(kind, dtype, backend="cpu")
    for batch in (1, 2, 5, 8):
        input = torch.randn(6, batch, layer.input_size, dtype=dtype)
        with torch.no_grad():
            output, last = layer(input)
        stream = layer.stream(batch)
        assert stream.backend == layer.last_backend
        assert torch.equal(torch.stack([stream.step(x) for x in input]), output)
        for ours, theirs in zip(states_of(stream.state), states_of(last), strict=True):
            assert torch.equal(ours, theirs)


@needs_kernels
@pytest.mark.parametrize("build", [LSTM, RNN, lambda *sizes: LSTM(*sizes, coupled_gates=True)])
@pytest.mark.parametrize("weights", [None, torch.bfloat16])
def test_a_large_step_has_the_same_bits_on_several_threads(
    build: Callable[..., Recurrent], weights: torch.dtype | None
) -> None:
    layer, x = build(256, 256, 2), torch.randn(8, 8, 256)  # the first four are stepped alone, for comparison
    before = torch.get_num_threads()
    try:
        outputs = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            stream = layer.stream(8, weights=weights)
            outputs.append(torch.stack([stream.step(each) for each in x]))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


@needs_kernels
@pytest.mark.parametrize("kind", LAYERS)
def test_the_plain_twin_computes_the_same(kind: str) -> None:
    layer, input = built(kind), torch.randn(6, 2, LAYERS[kind]().input_size)
    exact = built(kind, torch.float64, backend="reference")
    exact.load_state_dict(layer.state_dict())
    layer.backend = "reference"
    plain, truth = layer.stream(2), exact.stream(2)
    layer.backend = "auto"
    fast = layer.stream(2)
    assert (plain.backend[0], fast.backend[0]) == ("reference", "cpu")
    for x in input:
        true = truth.step(x.double())
        error, allowed = ((s.step(x) - true).abs().max().item() for s in (fast, plain))
        assert error <= 4 * allowed + 1e-7


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_the_state_is_the_streams_own(backend: str) -> None:
    layer = built("gru", backend=backend)
    x = torch.randn(3, layer.input_size)
    stream = layer.stream(3)
    first = stream.step(x)
    with torch.no_grad():  # the weights were copied
        layer.weight_ih_l0.mul_(2)
    start = built("gru").initial_state(3)
    assert torch.equal(stream.fork(3).state, start)
    fork, kept = stream.fork(), stream.state
    assert torch.equal(fork.step(x), stream.step(x))
    fork.step(x)
    assert not torch.equal(fork.state, stream.state)
    stream.reset([0, 2])
    assert torch.equal(stream.state[:, [0, 2]], start[:, [0, 2]])
    assert not torch.equal(stream.state[:, 1], start[:, 1])
    stream.reset(1)
    assert torch.equal(stream.step(x), first)
    assert torch.equal(stream.state, kept)
    stream.reset()
    assert torch.equal(stream.state, start)
    stream.state = kept.transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(stream.state, kept)
    kept.zero_()
    assert stream.state.any()


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_one_sequence_may_come_without_its_batch(backend: str) -> None:
    layer = built("projected", backend=backend)
    one, two, x = layer.stream(), layer.stream(), torch.randn(5)
    assert torch.equal(one.step(x), two.step(x[None])[0])
    assert one.step(torch.nn.Parameter(x).detach()).shape == (9,)
    assert torch.equal(one.step(torch.randn(5, 2).T[0]), one.step(torch.zeros(5))) is False


def test_a_stream_is_of_the_layer_in_evaluation() -> None:
    layer = built("lstm")
    x = torch.randn(1, 7)
    assert torch.equal(layer.eval().stream().step(x), layer.train().stream().step(x))
    assert layer.training
    assert all(parameter.requires_grad for parameter in layer.parameters())


@needs_kernels
@pytest.mark.parametrize("kind", LAYERS)
def test_bfloat16_weights_are_the_layers_rounded(kind: str) -> None:
    layer = built(kind)
    rounded = copy.deepcopy(layer)
    for name, parameter in rounded.named_parameters():
        if name.startswith("weight"):
            parameter.data = parameter.data.bfloat16().float()
    for batch in (1, 2, 5):
        half, whole, exact = (
            layer.stream(batch, weights=torch.bfloat16),
            rounded.stream(batch),
            layer.stream(batch),
        )
        for _ in range(3):
            x = torch.randn(batch, layer.input_size)
            y = half.step(x)
            assert torch.equal(y, whole.step(x))
            # Each weight is off by 1 / 256 at most, and what they are multiplied by is of order 1.
            assert (y - exact.step(x)).abs().max() < 0.02 * max(1.0, y.abs().max().item())
    layer.backend = "reference"
    plain = layer.stream(5, weights=torch.bfloat16)
    half = half.fork(5)
    x = torch.randn(5, layer.input_size)
    torch.testing.assert_close(plain.step(x), half.step(x), rtol=1e-4, atol=1e-5)


@needs_kernels
def test_a_sequence_does_not_see_its_neighbours() -> None:
    layer = built("slstm")
    input = torch.randn(4, 8, 6)
    input[1, 3] = torch.nan
    batch = layer.stream(8)
    alone = [layer.stream() for _ in range(8)]
    for x in input:
        together = batch.step(x)
        apart = torch.stack([one.step(row) for one, row in zip(alone, x, strict=True)])
        assert torch.equal(together[[0, 1, 2, 4, 5, 6, 7]], apart[[0, 1, 2, 4, 5, 6, 7]])
    assert together[3].isnan().all()
    assert apart[3].isnan().all()


@needs_kernels
def test_forks_may_run_at_the_same_time() -> None:
    layer = LSTM(256, 512).eval()  # wide enough for a step of this batch to let go of Python's lock
    input = torch.randn(10, 8, 256)
    stream = layer.stream(8)
    expected = torch.stack([stream.step(x) for x in input])
    found: dict[int, Tensor] = {}

    def read(name: int) -> None:
        mine = stream.fork(8)
        found[name] = torch.stack([mine.step(x) for x in input])

    threads = [threading.Thread(target=read, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 1, 2, 3]
    assert all(torch.equal(each, expected) for each in found.values())


@needs_kernels
def test_two_threads_in_one_stream_are_told_so() -> None:
    stream, x = LSTM(512, 512).stream(16), torch.randn(16, 512)  # steps of a millisecond or more
    raised: list[str] = []

    def step() -> None:
        for _ in range(500):
            if raised:
                return
            try:
                stream.step(x)
            except RuntimeError as error:
                raised.append(str(error))

    threads = [threading.Thread(target=step) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raised[0].endswith("give each thread one of its own: stream.fork()")
    stream.step(x)


def leaky(gates_x: Tensor, gates_h: Tensor, state: Any) -> Any:
    return (), (0.9 * state[0] + 0.1 * torch.tanh(gates_x + gates_h),)


def test_a_cell_of_your_own_is_streamed_by_plain_operators() -> None:
    layer = CellStack(Cell("leaky", (), ("h",), 1, leaky), 3, 4, num_layers=2).eval()
    stream, input = layer.stream(2), torch.randn(5, 2, 3)
    name, reason = stream.backend
    assert name == "reference"
    assert "leaky" in reason or native.missing == reason.rsplit(": ", 1)[-1]
    with torch.no_grad():
        torch.testing.assert_close(torch.stack([stream.step(x) for x in input]), layer(input)[0])


def refusals(stream: Stream) -> dict[str, Callable[[], Any]]:
    def take(state: Any) -> None:
        stream.state = state

    return {
        "input has shape (3, 7); a step of this stream is (batch, input_size) = (2, 7)": lambda: stream.step(
            torch.zeros(3, 7)
        ),
        "input has shape (7,)": lambda: stream.step(torch.zeros(7)),
        "input is torch.float64 and the stream torch.float32; convert it": lambda: stream.step(
            torch.zeros(2, 7).double()
        ),
        "input is on meta and the stream on cpu; move it": lambda: stream.step(
            torch.zeros(2, 7, device="meta")
        ),
        "input asks for a gradient, and a stream computes none": lambda: stream.step(
            torch.zeros(2, 7, requires_grad=True)
        ),
        "rows holds 2; a row of this stream is a whole number from 0 to 1": lambda: stream.reset(2),
        "rows holds True": lambda: stream.reset([True]),
        "batch is 0; a stream reads a whole number of sequences at once, 1 or more": lambda: stream.fork(0),
        "the state: h_0 has shape (3, 1, 37); it must be (3, 2, 37)": lambda: take(
            (torch.zeros(3, 1, 37), torch.zeros(3, 2, 37))
        ),
        "the state must be (h_0, c_0); it is one tensor": lambda: take(torch.zeros(3, 2, 37)),
    }


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_what_does_not_fit_is_refused_and_changes_nothing(backend: str) -> None:
    stream = built("lstm", backend=backend).stream(2)
    stream.step(torch.randn(2, 7))
    before = stream.state
    for message, call in refusals(stream).items():
        with pytest.raises(ValueError, match=re.escape(message)):
            call()
    with pytest.raises(TypeError, match="input is a list; it must be a tensor"):
        stream.step([1.0])  # type: ignore[arg-type]
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=re.escape("call stream.fork()")):
            copied(stream)
    assert all(torch.equal(a, b) for a, b in zip(before, stream.state, strict=True))
    with torch.no_grad():
        stream.step(torch.zeros(2, 7, requires_grad=True))


@needs_kernels
def test_what_torch_would_not_see_is_refused() -> None:
    layer = LSTM(5, 8)
    stream, input = layer.stream(), torch.randn(5)
    state = stream.state
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = mode.from_tensor(input)
        for call in (
            lambda: stream.step(fake),
            lambda: stream.step(input),
            lambda: stream.state,
            stream.fork,
        ):
            with pytest.raises(ValueError, match="FakeTensorMode"):
                call()
        assert layer.stream().backend[0] == "reference"
        states = tuple(mode.from_tensor(each) for each in state)
    with pytest.raises(ValueError, match="a tensor is a FakeTensor"):
        stream.step(fake)
    with pytest.raises(ValueError, match="a tensor is a FakeTensor"):
        stream.state = states
    with pytest.raises(ValueError, match="make_fx"):
        make_fx(lambda x: stream.step(x))(input)
    assert all(torch.equal(each, before) for each, before in zip(stream.state, state, strict=True))


def test_what_cannot_be_streamed_is_refused() -> None:
    refused: dict[str, Callable[[], Any]] = {
        "reads from both ends and cannot be streamed": lambda: GRU(2, 3, bidirectional=True).stream(),
        "batch is -1": lambda: GRU(2, 3).stream(-1),
        "weights is torch.float16; it must be torch.bfloat16": lambda: GRU(2, 3).stream(
            weights=torch.float16
        ),
        "weights is torch.bfloat16 and the layer is torch.float64": lambda: GRU(
            2, 3, dtype=torch.float64
        ).stream(weights=torch.bfloat16),
    }
    for message, call in refused.items():
        with pytest.raises(ValueError, match=message):
            call()
