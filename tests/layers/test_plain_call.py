"""A plain call has the bits of the general way, gradients included, whatever its tensors look like and do."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from storyline.kernels import ShortScan, native, native_call, reads_tensors, short_scan
from storyline.layers import GRU, LSTM, RNN, SLSTM, Recurrent, plain_call

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


def test_a_torch_without_the_table_is_served_generally(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Tensor, "__dlpack_c_exchange_api__")
    assert not short_scan._learn()
    monkeypatch.setattr(plain_call, "reads_tensors", False)
    assert_as_generally(LSTM(INPUT, HIDDEN), torch.randn(TIME, BATCH, INPUT), plainly=False)


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


class Named(Tensor):
    """A subclass with the numbers of any tensor."""


def test_gradients_and_saved_tensors_of_a_subclass() -> None:
    layer, input = LSTM(INPUT, HIDDEN), torch.randn(TIME, BATCH, INPUT, requires_grad=True)
    wanted = everything(layer, layer, input)[3:]
    tensors = [input, *layer.parameters()]
    output, (h, c) = layer(input)
    results = [output, h, c]
    along = [torch.linspace(-1, 1, each.numel()).view_as(each).as_subclass(Named) for each in results]
    for _ in range(2):
        found = torch.autograd.grad(results, tensors, along, retain_graph=True)
        assert all(torch.equal(got, each) for got, each in zip(found, wanted, strict=True))
    with torch.autograd.graph.saved_tensors_hooks(lambda each: each.as_subclass(Named), lambda each: each):
        output, (h, c) = layer(input)
    for _ in range(2):
        found = torch.autograd.grad(
            [output, h, c], tensors, [each.as_subclass(Tensor) for each in along], retain_graph=True
        )
        assert all(torch.equal(got, each) for got, each in zip(found, wanted, strict=True))


@pytest.mark.parametrize("call", [lambda layer, input: layer(input), generally], ids=["plain", "general"])
def test_batched_gradients_are_refused(call: Callable[..., tuple[Tensor, Any]]) -> None:
    layer, input = LSTM(INPUT, HIDDEN), torch.randn(TIME, BATCH, INPUT, requires_grad=True)
    output = call(layer, input)[0]
    along = torch.randn(2, *output.shape)
    with pytest.raises(ValueError, match="a tensor is batched"):
        torch.autograd.grad(output, input, along, is_grads_batched=True, retain_graph=True)
    with pytest.raises(ValueError, match="a tensor is batched"):
        torch.vmap(lambda each: torch.autograd.grad(output, input, each, retain_graph=True)[0])(along)
    with pytest.raises(ValueError, match="a tensor is batched"):
        torch.autograd.functional.jacobian(lambda x: call(layer, x)[0], input.detach(), vectorize=True)


def traced(tool: str, call: Callable[[Tensor], Tensor], example: Tensor) -> Any:
    if tool == "make_fx":
        return make_fx(call)(example)
    return torch.jit.trace(call, example, check_trace=False)  # type: ignore[no-untyped-call]


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("tool", ["make_fx", "jit"])
@pytest.mark.parametrize("kind", ["lstm", "slstm"])
def test_a_traced_layer_is_no_constant(kind: str, tool: str) -> None:
    layer = LAYERS[kind](INPUT, HIDDEN).requires_grad_(False)
    first, other = torch.randn(2, TIME, BATCH, INPUT)
    graph = traced(tool, lambda input: layer(input)[0], first)
    assert layer.last_backend is not None
    assert ("make_fx" if tool == "make_fx" else "torch.jit.trace") in layer.last_backend[1]
    torch.testing.assert_close(graph(other), layer(other)[0])


class Watching(TorchDispatchMode):
    """Sees every operator, and changes nothing."""

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return operator(*args, **(kwargs or {}))


@pytest.mark.parametrize("call", [lambda layer, input: layer(input), generally], ids=["plain", "general"])
def test_a_way_back_that_a_mode_would_not_see_is_refused(call: Callable[..., tuple[Tensor, Any]]) -> None:
    layer, input = LSTM(INPUT, HIDDEN), torch.randn(TIME, BATCH, INPUT, requires_grad=True)
    output, along = call(layer, input)[0], torch.ones(TIME, BATCH, HIDDEN)
    with Watching(), pytest.raises(ValueError, match="a TorchDispatchMode"):
        torch.autograd.grad(output, input, along, retain_graph=True)
    assert torch.autograd.grad(output, input, along)[0].any()


def test_fake_tensors_are_refused_or_served_by_operators() -> None:
    layer, input = LSTM(INPUT, HIDDEN), torch.randn(TIME, BATCH, INPUT)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = mode.from_tensor(input)
        assert isinstance(layer(fake)[0], FakeTensor)
        of_fakes = LSTM(INPUT, HIDDEN)
    for each, given in ((layer, fake), (of_fakes, input)):
        with pytest.raises(ValueError, match="a tensor is a FakeTensor"):
            each(given)
    with pytest.raises(ValueError, match="a tensor is a FakeTensor"):
        of_fakes.stream()


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


def test_threads_that_share_a_converted_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each finds that what C++ has made is of the old dtype, and drops it, when the others have already."""
    layer = LSTM(INPUT, HIDDEN)
    layer(torch.randn(TIME, BATCH, INPUT))
    input = torch.randn(TIME, BATCH, INPUT, dtype=torch.float64)
    layer.double()
    scan, together = layer.__dict__["_short_scan"], threading.Barrier(4, timeout=30)
    compute = ShortScan.__call__

    def all_at_once(self: ShortScan, *given: Any) -> Any:
        done = compute(self, *given)
        if self is scan:
            together.wait()
        return done

    monkeypatch.setattr(ShortScan, "__call__", all_at_once)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: layer(input)[0], range(4)))
    assert all(torch.equal(each, generally(layer, input)[0]) for each in found)


@pytest.mark.parametrize("grad", [False, True])
def test_a_state_comes_as_the_general_way_wants_it(grad: bool) -> None:
    gru, lstm = GRU(INPUT, HIDDEN), LSTM(INPUT, HIDDEN)
    input, h = torch.randn(TIME, BATCH, INPUT), torch.zeros(1, BATCH, HIDDEN)
    with torch.set_grad_enabled(grad):
        for layer, state in ((gru, (h,)), (lstm, (h,)), (lstm, h)):
            layer(input)
            with pytest.raises(ValueError, match="the initial state"):
                layer(input, state)


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
