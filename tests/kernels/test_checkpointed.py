"""A checkpointed recurrence against the plain run: the same numbers, from memory for a few steps only."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from storyline import GRU, LSTM, RNN, SLSTM, CellStack
from storyline.cells import Cell, OwnParameter, vector
from storyline.kernels import BACKENDS
from storyline.layers.recurrent import Recurrent

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

TIME, BATCH, INPUT, HIDDEN, EVERY = 21, 5, 3, 8, 5
LENGTHS = [21, 3, 10, 20, 11]


def _leak(gates_x: Tensor, gates_h: Tensor, state: tuple[Tensor, ...], a: Tensor, b: Tensor) -> Any:
    (h,) = state
    n = torch.tanh(gates_x + gates_h)
    return (n,), (h + torch.sigmoid(a + b) * (n - h),)  # autograd hands a and b one tensor as their gradients


leaky = Cell("leaky", ("n",), ("h",), 1, _leak, tuple(OwnParameter(name, vector(1)) for name in "ab"))

LAYERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "rnn": (RNN, {}),
    "lstm": (LSTM, {}),
    "gru": (GRU, {}),
    "projected": (LSTM, {"proj_size": 3}),
    "without bias": (LSTM, {"bias": False}),
    "own cell": (CellStack, {}),
    "slstm": (SLSTM, {"num_heads": 2}),
    "peepholes": (LSTM, {"peepholes": True}),
    "layer norm": (LSTM, {"layer_norm": True}),
    "noise": (LSTM, {"zoneout": (0.3, 0.1), "recurrent_dropout": 0.2, "proj_size": 3}),
    "deep": (GRU, {"num_layers": 3, "dropout": 0.3}),
}


def _cases() -> list[Any]:
    cases = []
    for name, (kind, options) in LAYERS.items():
        for backend in BACKENDS:
            try:
                _layer(kind, {**options, "backend": backend})
            except ValueError:  # this backend does not serve this cell
                continue
            cases.append(pytest.param(kind, {**options, "backend": backend}, id=f"{name}-{backend}"))
    return cases


def _layer(kind: Any, options: dict[str, Any]) -> Recurrent:
    torch.manual_seed(0)
    first = (leaky,) if kind is CellStack else ()
    layer: Recurrent = kind(
        *first, INPUT, HIDDEN, bidirectional=True, learn_initial_state=True, dtype=torch.float64, **options
    )
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return layer


def _run(layer: Recurrent, input: Tensor, arguments: dict[str, Any]) -> dict[str, Tensor]:
    """Output, last state and all gradients of one pass that depends on everything."""
    torch.manual_seed(1)
    given = layer.initial_state(BATCH)
    given = given if isinstance(given, tuple) else (given,)
    state = tuple((each.detach() + 0.1 * torch.rand_like(each)).requires_grad_() for each in given)
    input = input.detach().requires_grad_(input.requires_grad)
    torch.manual_seed(2)
    output, last = layer(input, state if len(state) > 1 else state[0], **arguments)
    last = last if isinstance(last, tuple) else (last,)
    generator = torch.Generator().manual_seed(3)
    loss = sum(
        (each * torch.randn(each.shape, generator=generator, dtype=each.dtype)).sum()
        for each in (output, *last)
    )
    assert isinstance(loss, Tensor)
    leaves = {
        **({"input": input} if input.requires_grad else {}),
        **{f"state {i}": each for i, each in enumerate(state)},
        **dict(layer.named_parameters()),
    }
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused="resets" not in arguments)
    results = {"output": output, **{f"last {i}": each for i, each in enumerate(last)}}
    gradients = {f"of {name}": g for name, g in zip(leaves, found, strict=True) if g is not None}
    return {**results, **gradients}


def _arguments(ragged: bool, resets: bool) -> dict[str, Any]:
    drawn = torch.rand(TIME, BATCH, generator=torch.Generator().manual_seed(4)) < 0.15
    # Cuts where chunks meet, and at both ends of rows.
    drawn[[0, 5, 5, 10, 15, 20], [0, 0, 2, 2, 3, 3]] = True
    return {**({"lengths": LENGTHS} if ragged else {}), **({"resets": drawn} if resets else {})}


@pytest.mark.parametrize("resets", [False, True], ids=["", "resets"])
@pytest.mark.parametrize("ragged", [False, True], ids=["dense", "ragged"])
@pytest.mark.parametrize(("kind", "options"), _cases())
def test_checkpointed_is_the_plain_run(
    kind: Any, options: dict[str, Any], ragged: bool, resets: bool
) -> None:
    """Both directions; the initial and the fresh state, the input, every parameter."""
    arguments = _arguments(ragged, resets)
    input = torch.randn(TIME, BATCH, INPUT, dtype=torch.float64, requires_grad=True)
    plain = _run(_layer(kind, options), input, arguments)
    chunked = _run(_layer(kind, {**options, "checkpoint_every": EVERY}), input, arguments)
    assert chunked.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(chunked[name], value, rtol=1e-12, atol=1e-12, msg=name)


@pytest.mark.skipif("cpu" not in BACKENDS, reason="the native kernels are not built")
@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
def test_same_bits_where_chunked_is_whole(kind: Any) -> None:
    """The native kernels compute a row's chunk as its whole: only sums over steps come in another order."""
    input = torch.randn(TIME, BATCH, INPUT, dtype=torch.float64, requires_grad=True)
    options = {"backend": "cpu", "num_layers": 2}
    plain = _run(_layer(kind, options), input, _arguments(ragged=True, resets=True))
    every = {**options, "checkpoint_every": EVERY}
    chunked = _run(_layer(kind, every), input, _arguments(ragged=True, resets=True))
    exact = [name for name in plain if "l0" not in name and "l1" not in name and "_0" not in name]
    assert {"output", "last 0", "of input", "of state 0"} <= set(exact)
    for name in exact:
        assert torch.equal(chunked[name], plain[name]), name


def test_what_needs_no_gradient_gets_none() -> None:
    """A frozen weight and an input that is data; the rest is as it was."""
    layers = [_layer(LSTM, {}), _layer(LSTM, {"checkpoint_every": EVERY})]
    input = torch.randn(TIME, BATCH, INPUT, dtype=torch.float64)
    gradients = []
    for layer in layers:
        layer.weight_ih_l0.requires_grad_(False)
        output, _ = layer(input, lengths=[10, 3, 1, 7, 9])  # all end before the batch does
        output.sum().backward()
        gradients.append([parameter.grad for parameter in layer.parameters()])
    assert [each is None for each in gradients[0]] == [each is None for each in gradients[1]]
    for plain, chunked in zip(*gradients, strict=True):
        if plain is not None:
            torch.testing.assert_close(chunked, plain, rtol=1e-12, atol=1e-12)


def test_gradient_of_the_last_state_alone() -> None:
    layers = [_layer(LSTM, {}), _layer(LSTM, {"checkpoint_every": EVERY})]
    input = torch.randn(TIME, BATCH, INPUT, dtype=torch.float64)
    for layer in layers:
        _, (_, c_n) = layer(input)
        c_n.square().sum().backward()
    for plain, chunked in zip(layers[0].parameters(), layers[1].parameters(), strict=True):
        torch.testing.assert_close(chunked.grad, plain.grad, rtol=1e-12, atol=1e-12)


def test_backward_twice_and_second_derivatives() -> None:
    torch.manual_seed(0)
    layer = GRU(2, 3, backend="reference", checkpoint_every=2, dtype=torch.float64)
    input = torch.randn(5, 2, 2, dtype=torch.float64, requires_grad=True)
    output, _ = layer(input)
    first, second = (torch.autograd.grad(output.sum(), input, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
    torch.autograd.gradgradcheck(lambda x: layer(x)[0], (input,))


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_autocast(lengths: list[int] | None) -> None:
    """The way back computes in the precision of the way there, and casts of weights stay in the graph."""
    input = torch.randn(TIME, BATCH, INPUT, requires_grad=True)
    found = []
    for every in (None, EVERY):
        layer = _layer(LSTM, {"checkpoint_every": every, "backend": "reference"}).float()
        with torch.autocast("cpu", torch.bfloat16):
            output, _ = layer(input, lengths=lengths)
            again, _ = layer(input[:EVERY])  # which is the plain run, of the same weights
        of_input = torch.autograd.grad(output.float().sum(), input, retain_graph=True)[0]
        (again.float().sum() + output.float().sum()).backward()
        found.append((output, of_input, [parameter.grad for parameter in layer.parameters()]))
    (output, of_input, plain), (chunked_output, chunked_of_input, chunked) = found
    assert output.dtype == chunked_output.dtype
    assert torch.equal(output, chunked_output)
    assert torch.equal(of_input, chunked_of_input)
    for one, other in zip(plain, chunked, strict=True):
        if one is not None and other is not None:
            # Gradients of weights are sums in bfloat16, of 8 bits, in another order.
            torch.testing.assert_close(other, one, rtol=0.05, atol=0.05 * float(one.abs().max()))
    assert [each is None for each in plain] == [each is None for each in chunked]


def test_changing_what_the_way_back_needs_is_noticed() -> None:
    layer = _layer(LSTM, {"checkpoint_every": EVERY})
    resets = torch.zeros(TIME, BATCH, dtype=torch.bool)
    resets[7] = True
    output, _ = layer(torch.randn(TIME, BATCH, INPUT, dtype=torch.float64), resets=resets)
    resets[7] = False
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def _kept_bytes(layer: Recurrent, input: Tensor) -> int:
    """What a pass keeps for the way back, each storage once."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(input)
    return sum(kept.values())


@pytest.mark.parametrize("backend", sorted(set(BACKENDS) - {"reference"}))
def test_keeps_a_state_for_each_chunk_and_no_more(backend: str) -> None:
    time, every, hidden = 20_000, 100, 32
    input = torch.randn(time, 1, 1)
    layer = LSTM(1, hidden, backend=backend, checkpoint_every=every)
    parameters = sum(4 * parameter.numel() for parameter in layer.parameters())
    states = (time // every + 2) * 2 * hidden * 4  # two more: the initial and the fresh one
    assert _kept_bytes(layer, input) <= input.numel() * 4 + parameters + states


# Not ru_maxrss, which a process inherits from the one that has started it.
_PEAK = """
import sys, torch
from pathlib import Path
from storyline import LSTM
torch.set_num_threads(1)
layer = LSTM(1, 32, checkpoint_every=int(sys.argv[1]) or None)
def train(time):
    layer(torch.zeros(time, 32, 1))[0].sum().backward()
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
train(50)
Path("/proc/self/clear_refs").write_text("5")
before = peak()
train(10_000)
print((peak() - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.skipif("cpu" not in BACKENDS, reason="torch's own operators are too slow for so many steps")
def test_peak_memory_of_a_training_step() -> None:
    """10,000 steps of 32 rows of 32 units: an output is 40 MB, what the plain run keeps beside it 200 MB."""
    plain, chunked = (
        float(
            subprocess.run(
                [sys.executable, "-c", _PEAK, str(every)], capture_output=True, text=True, check=True
            ).stdout
        )
        for every in (0, 200)
    )
    assert plain > 200
    assert chunked < 80


@pytest.mark.parametrize("every", [0, -1, 2.0, True, "10"])
def test_a_number_of_steps_is_wanted(every: Any) -> None:
    with pytest.raises(ValueError, match=r"checkpoint_every is .*; it must be a whole number of steps, 1 or"):
        LSTM(2, 3, checkpoint_every=every)


def test_transforms_are_refused() -> None:
    layer = LSTM(2, 3, checkpoint_every=2, backend="reference")

    def loss(input: Tensor) -> Tensor:
        output: Tensor = layer(input)[0]
        return output.sum()

    with pytest.raises(ValueError, match=r"checkpoint_every is 2, but torch.func .*build the layer without"):
        torch.func.grad(loss)(torch.randn(5, 1, 2))
    with pytest.raises(ValueError, match="forward-mode"), torch.autograd.forward_ad.dual_level():
        loss(torch.randn(5, 1, 2))


def test_a_trace_is_whole() -> None:
    layer = LSTM(2, 3, checkpoint_every=2)
    input = torch.randn(5, 1, 2)
    output, _, trace = layer(input, return_trace=True)
    assert torch.equal(trace.states["h_l0"][1:], output)
    assert "checkpoint_every=2" in repr(layer)
