"""A plain call has the bits of the general way, gradients included, whatever its tensors look like and do."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from storyline.kernels import ShortScan, native, native_call, reads_tensors
from storyline.layers import GRU, LSTM, RNN, SLSTM, Recurrent

pytestmark = [
    pytest.mark.skipif(native.missing is not None, reason=str(native.missing)),
    pytest.mark.skipif(not reads_tensors, reason="torch has no table of DLPack's functions before 2.10"),
]
TIME, BATCH, INPUT, HIDDEN = 7, 3, 5, 12
LAYERS: dict[str, Callable[..., Recurrent]] = {
    "lstm": LSTM,
    "lstm without bias": lambda *sizes, **more: LSTM(*sizes, bias=False, **more),
    "lstm coupled": lambda *sizes, **more: LSTM(*sizes, coupled_gates=True, **more),
    "gru": GRU,
    "rnn": RNN,
    "slstm": lambda *sizes, **more: SLSTM(*sizes, 4, **more),
}
EVERY = pytest.mark.parametrize("kind", LAYERS)


def states_of(state: Any) -> tuple[Tensor, ...]:
    return (state,) if isinstance(state, Tensor) else state


def generally(layer: Recurrent, input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
    """The same call with lengths, full ones, which no plain call has."""
    time, batch = input.shape[:2] if not layer.batch_first else (input.shape[1], input.shape[0])
    output, state = layer(input, hx, lengths=[time] * batch)
    return output, state


def everything(
    call: Callable[..., tuple[Tensor, Any]], layer: Recurrent, input: Tensor, hx: Any = None
) -> list[Tensor]:
    """Output, states, and the gradients of their weighted sum by input and weights, where they are wanted."""
    output, state = call(layer, input, hx) if call is generally else call(input, hx)
    results = [output, *states_of(state)]
    wanted = [each for each in (input, *layer.parameters()) if each.requires_grad]
    if not output.requires_grad:
        return results
    total = sum((each * torch.linspace(-1, 1, each.numel()).view_as(each)).sum() for each in results)
    return [*results, *torch.autograd.grad(total, wanted)]  # type: ignore[arg-type]


def assert_as_generally(layer: Recurrent, input: Tensor, hx: Any = None, *, plainly: bool = True) -> None:
    plain = everything(layer, layer, input, hx)
    assert isinstance(layer.__dict__["_short_scan"], ShortScan) == plainly
    backend = layer.last_backend
    general = everything(generally, layer, input, hx)
    assert backend == layer.last_backend
    for got, wanted in zip(plain, general, strict=True):
        assert got.shape == wanted.shape
        assert torch.equal(got, wanted)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("batch_first", [False, True], ids=["time first", "batch first"])
def test_the_bits_of_the_general_way(kind: str, dtype: torch.dtype, batch_first: bool) -> None:
    layer = LAYERS[kind](INPUT, HIDDEN, batch_first=batch_first, dtype=dtype)
    input = torch.randn(TIME, BATCH, INPUT, dtype=dtype, requires_grad=True)
    assert_as_generally(layer, input)
    assert_as_generally(layer, input.detach())
    state = tuple(
        torch.rand_like(each) for each in states_of(layer.initial_state(input.shape[not batch_first]))
    )
    hx = state if len(state) > 1 else state[0]
    with torch.no_grad():
        assert_as_generally(layer, input.detach())
        assert_as_generally(layer, input.detach(), hx)
    assert_as_generally(layer.requires_grad_(False), input, hx)


@pytest.mark.parametrize("time", [1, 300])
def test_plain_calls_are_not_served_generally(time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, input = LSTM(INPUT, HIDDEN), torch.randn(time, BATCH, INPUT)
    wanted = generally(layer, input)[0]
    monkeypatch.setattr(Recurrent, "_layer_by_layer", None)
    assert torch.equal(layer(input)[0], wanted)


def test_tensors_that_lie_otherwise_in_memory() -> None:
    layer = LSTM(INPUT, HIDDEN)
    wide = torch.randn(TIME, 2 * BATCH, 2 * INPUT)
    for input in (
        wide[:, ::2, :INPUT],
        wide[:, :BATCH, ::2],
        torch.randn(INPUT, BATCH, TIME).permute(2, 1, 0),
        torch.randn(1, 1, INPUT).expand(TIME, BATCH, INPUT),
        torch._neg_view(torch.randn(TIME, BATCH, INPUT)),
    ):
        assert_as_generally(layer, input)
    with torch.no_grad():
        layer.weight_hh_l0 = torch.nn.Parameter(torch.randn(HIDDEN, 4 * HIDDEN).T)
        assert_as_generally(layer, torch.randn(TIME, BATCH, INPUT))


def test_threads_that_share_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights beyond the first cache: after four calls on one thread, for comparison, they work on the units."""
    layer, input = LSTM(16, 96), torch.randn(5, 1, 16, requires_grad=True)
    wanted = everything(generally, layer, input)
    before = torch.get_num_threads()
    monkeypatch.setattr(native_call, "_WORTH_A_THREAD", 0)
    try:
        torch.set_num_threads(3)
        for _ in range(7):
            for got, each in zip(everything(layer, layer, input), wanted, strict=True):
                assert torch.equal(got, each)
            with torch.no_grad():
                assert torch.equal(layer(input)[0], wanted[0])
    finally:
        torch.set_num_threads(before)


def rows_swapped(weight: Tensor) -> None:
    weight.data[[0, 1]] = weight.data[[1, 0]]


@pytest.mark.parametrize(
    "change",
    [
        lambda weight: weight.data.mul_(0.5),
        lambda weight: weight.data.neg_(),
        lambda weight: weight.detach().numpy().__setitem__((3, 2), 7.0),
        lambda weight: weight.data[0, :2].neg_(),
        rows_swapped,
        lambda weight: setattr(weight, "data", torch.randn_like(weight)),
    ],
)
@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "bias_hh_l0"])
def test_changed_weights_are_seen_without_a_version(name: str, change: Callable[[Tensor], Any]) -> None:
    layer = LSTM(64, 64).eval()
    input = torch.randn(2, 1, 64)
    with torch.inference_mode():
        layer(input)
    weight = layer.get_parameter(name)
    change(weight if weight.dim() == 2 else weight.view(-1, 4))
    with torch.inference_mode():
        assert torch.equal(layer(input)[0], generally(layer, input)[0])


def test_gradients_of_every_layout_and_of_gradients() -> None:
    layer = LSTM(2, 3, dtype=torch.float64)
    input = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    layer(input)[0].sum().backward()  # a gradient that is one number, expanded
    wanted = torch.autograd.grad(generally(layer, input)[0].sum(), input)[0]
    assert input.grad is not None
    assert torch.equal(input.grad, wanted)
    assert torch.autograd.gradgradcheck(lambda x: layer(x)[0], (input,), fast_mode=True)
    output = layer(input)[0]
    first = torch.autograd.grad(output.sum(), input, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(output.sum(), input)[0])


def test_results_may_be_written_to_and_weights_may_not() -> None:
    layer, input = LSTM(INPUT, HIDDEN), torch.randn(TIME, BATCH, INPUT, requires_grad=True)
    wanted = torch.autograd.grad(layer(input)[0].sum(), input)[0]
    output = layer(input)[0]
    output.mul_(1.0).add_(3.0)
    assert torch.equal(torch.autograd.grad(output.sum(), input)[0], wanted)
    output = layer(input)[0]
    with torch.no_grad():
        layer.weight_ih_l0.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


@pytest.mark.parametrize("grad", [False, True])
def test_a_state_in_a_tuple_is_refused_where_there_is_one(grad: bool) -> None:
    state = torch.zeros(1, BATCH, HIDDEN)
    with torch.set_grad_enabled(grad):
        for layer, given in ((GRU(INPUT, HIDDEN), (state,)), (LSTM(INPUT, HIDDEN), state)):
            for call in (layer, partial(generally, layer)):
                with pytest.raises((ValueError, TypeError), match="the initial state must be"):
                    call(torch.randn(TIME, BATCH, INPUT), given)


def test_copies_and_conversions_of_a_layer_that_was_called() -> None:
    layer = LSTM(INPUT, HIDDEN)
    input = torch.randn(TIME, BATCH, INPUT)
    assert_as_generally(layer, input)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert "_short_scan" not in twin.__dict__
        assert_as_generally(twin, input)
    layer.double()(input.double())
    assert_as_generally(layer, input.double())
    with pytest.raises(ValueError, match=r"input is torch\.float32 and the layer is torch\.float64"):
        layer(input)


@pytest.mark.parametrize(
    "layer",
    [
        LSTM(INPUT, HIDDEN, 2),
        LSTM(INPUT, HIDDEN, bidirectional=True),
        LSTM(INPUT, HIDDEN, peepholes=True),
        LSTM(INPUT, HIDDEN, proj_size=4),
        LSTM(INPUT, HIDDEN, learn_initial_state=True),
    ],
    ids=["stack", "bidirectional", "peepholes", "projected", "learned"],
)
def test_what_is_not_plain_goes_the_general_way(layer: Recurrent) -> None:
    assert_as_generally(layer, torch.randn(TIME, BATCH, INPUT), plainly=False)
