"""torch's transformations of a layer: compile, export, vmap, per-sample gradients, forward mode, double backward."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, jvp, vmap

from storyline.kernels import native
from storyline.layers import GRU, LSTM, RNN, Recurrent

# torch's own forward mode and inductor still use what torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script")

# What serves a traced or transformed call.
SERVES = "cpu" if native.missing is None else "reference"
TIME, BATCH, INPUT, HIDDEN = 4, 3, 3, 4
LENGTHS = torch.tensor([2, 4, 1])
RESETS = torch.tensor([[False, True, False], [True, False, False], [False, True, True], [False, False, True]])
CALLS: dict[str, dict[str, Any]] = {
    "dense": {},
    "ragged": {"lengths": LENGTHS},
    "resets": {"resets": RESETS},
    "ragged resets": {"lengths": LENGTHS, "resets": RESETS},
}

kinds = pytest.mark.parametrize("kind", [RNN, LSTM, GRU], ids=["rnn", "lstm", "gru"])
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def build(kind: Callable[..., Recurrent], **more: Any) -> Recurrent:
    torch.manual_seed(4)
    return kind(INPUT, HIDDEN, dtype=torch.float64, **more)


def draw(*batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(6)
    return torch.randn(*batch, TIME, BATCH, INPUT, generator=generator, dtype=torch.float64)


def flat(result: Any) -> list[Tensor]:
    output, last = result
    return [output, *last] if isinstance(last, tuple) else [output, last]


def score(result: Any) -> Tensor:
    """One number that every value of the result moves."""
    return sum((each * torch.cos(each)).sum() for each in flat(result))  # type: ignore[return-value]


def assert_close(some: Any, others: Any) -> None:
    torch.testing.assert_close(some, others, rtol=0, atol=1e-12)


def assert_compiled_is_eager(layer: Recurrent, call: dict[str, Any], backend: str) -> None:
    torch.compiler.reset()
    input = draw().requires_grad_()
    result = torch.compile(layer, fullgraph=True, backend=backend)(input, **call)
    assert layer.last_backend is not None
    assert layer.last_backend[0] == SERVES
    leaves = [input, *layer.parameters()]
    gradients = torch.autograd.grad(score(result), leaves)
    eager = layer(input, **call)
    assert_close(flat(result), flat(eager))
    assert_close(gradients, torch.autograd.grad(score(eager), leaves))


@kinds
@calls
def test_the_whole_layer_is_one_graph(kind: Any, call: dict[str, Any]) -> None:
    assert_compiled_is_eager(build(kind, bidirectional=True), call, "aot_eager")


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, g++")
def test_compiled_to_machine_code() -> None:
    assert_compiled_is_eager(build(LSTM), {}, "inductor")


def test_a_compiled_layer_refuses_a_wrong_length() -> None:
    torch.compiler.reset()
    compiled = torch.compile(build(GRU), fullgraph=True, backend="aot_eager")
    compiled(draw(), lengths=LENGTHS)
    for wrong in (0, TIME + 1):
        with pytest.raises(RuntimeError, match="lengths must lie between 1 and the steps of input"):
            compiled(draw(), lengths=torch.tensor([1, wrong, 2]))


@kinds
@calls
def test_exported_with_batch_and_time_of_any_size(kind: Any, call: dict[str, Any]) -> None:
    layer = build(kind, bidirectional=True)
    batch = torch.export.Dim("batch")
    # The plain loop is unrolled, and so has the steps that it was traced with.
    any_time = SERVES == "cpu"
    time = {0: torch.export.Dim("time")} if any_time else {}
    sizes = {"input": {**time, 1: batch}, "lengths": {0: batch}, "resets": {**time, 1: batch}}
    shapes = {name: size for name, size in sizes.items() if name in ("input", *call)}
    program = torch.export.export(layer, (draw(),), call, dynamic_shapes=shapes)
    longer = [draw(), draw().flip(0)] if any_time else [draw()]
    input = torch.cat([torch.cat(longer), -torch.cat(longer)], dim=1)
    values = {
        "lengths": torch.tensor([1, 2, 3, 4, 2, len(input)]),
        "resets": RESETS.repeat(len(longer), 2),
    }
    options = {name: values[name] for name in call}
    assert_close(flat(program.module()(input, **options)), flat(layer(input, **options)))


@pytest.mark.parametrize(
    "arguments", [{"zoneout": 0.2}, {"layer_norm": True, "batch_first": True}, {"proj_size": 2}]
)
def test_variants_are_one_graph_too(arguments: dict[str, Any]) -> None:
    layer = build(LSTM, **arguments).eval()  # in training zoneout would be drawn anew
    shape = {"lengths": torch.tensor([2, 3, 1, 3])} if layer.batch_first else {"lengths": LENGTHS}
    assert_compiled_is_eager(layer, shape, "aot_eager")


@pytest.mark.parametrize("transform", ["vmap", "grad", "jvp"])
def test_compiled_around_a_transform_of_torch_func(transform: str) -> None:
    torch.compiler.reset()
    layer, input = build(GRU), draw()
    run = {
        "vmap": vmap(lambda row: layer(row)[0], in_dims=1),
        "grad": grad(lambda input: score(layer(input))),
        "jvp": lambda input: jvp(lambda input: layer(input)[0], (input,), (input,))[1],
    }[transform]
    eager = run(input)
    assert_close(torch.compile(lambda input: run(input), fullgraph=True, backend="aot_eager")(input), eager)
    assert layer.last_backend is not None
    assert layer.last_backend[0] == "reference"


@kinds
@calls
def test_vmap_is_each_sample_alone(kind: Any, call: dict[str, Any]) -> None:
    layer, inputs = build(kind, num_layers=2), draw(5)
    result = vmap(lambda input: layer(input, **call))(inputs)
    assert layer.last_backend is not None
    assert layer.last_backend[0] == SERVES
    singly = [flat(layer(input, **call)) for input in inputs]
    assert_close(flat(result), [torch.stack(each) for each in zip(*singly, strict=True)])


def test_vmap_over_lengths_and_resets() -> None:
    layer, inputs = build(LSTM, bidirectional=True), draw(2)
    lengths = torch.stack([LENGTHS, LENGTHS.flip(0)])
    resets = torch.stack([RESETS, RESETS.flip(0)])

    def run(input: Tensor, lengths: Tensor, resets: Tensor) -> list[Tensor]:
        return flat(layer(input, lengths=lengths, resets=resets))

    singly = [run(*each) for each in zip(inputs, lengths, resets, strict=True)]
    assert_close(vmap(run)(inputs, lengths, resets), [torch.stack(e) for e in zip(*singly, strict=True)])
    lengths[1, 2] = 9
    with pytest.raises(ValueError, match=r"lengths\[1, 2\] is 9, but input has only 4 steps"):
        vmap(run)(inputs, lengths, resets)


@kinds
@calls
def test_per_sample_gradients_are_those_of_each_row_alone(kind: Any, call: dict[str, Any]) -> None:
    layer, input = build(kind, bidirectional=True), draw()
    weights = dict(layer.named_parameters())

    def loss(weights: dict[str, Tensor], row: Tensor, options: dict[str, Tensor]) -> Tensor:
        return score(functional_call(layer, weights, (row,), options))

    rows = {name: value if value.dim() == 1 else value.T for name, value in call.items()}
    together = vmap(grad(loss), in_dims=(None, 1, 0))(weights, input, rows)
    for index in range(BATCH):
        options = {name: value[index] for name, value in rows.items()}
        alone = torch.autograd.grad(score(layer(input[:, index], **options)), list(weights.values()))
        assert_close([together[name][index] for name in weights], list(alone))


@kinds
@calls
def test_forward_mode_is_reverse_mode(kind: Any, call: dict[str, Any]) -> None:
    layer = build(kind, num_layers=2)
    input, direction = draw(2)
    _, slope = jvp(lambda input: score(layer(input, **call)), (input,), (direction,))
    assert layer.last_backend is not None
    assert layer.last_backend[0] == "reference"
    assert "torch's fused operators have no forward-mode derivative" in layer.last_backend[1]
    input.requires_grad_()
    (gradient,) = torch.autograd.grad(score(layer(input, **call)), input)
    assert_close(slope, (gradient * direction).sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@kinds
@calls
def test_double_backward_is_the_loops(kind: Any, call: dict[str, Any], dtype: torch.dtype) -> None:
    """float32 too: on the CPU it runs torch's oneDNN operator, which float64 does not."""
    found = []
    for backend, type_ in (("auto", dtype), ("reference", torch.float64)):
        layer, input = build(kind, backend=backend).to(type_), draw().to(type_).requires_grad_()
        (gradient,) = torch.autograd.grad(score(layer(input, **call)), input, create_graph=True)
        found.append(torch.autograd.grad(gradient.square().sum(), [input, *layer.parameters()]))
    for a, b in zip(*found, strict=True):
        tolerance = 1e-12 if dtype == torch.float64 else 1e-5
        torch.testing.assert_close(a.double(), b, rtol=tolerance, atol=tolerance)


def test_a_backend_asked_for_by_name_says_why_it_cannot() -> None:
    layer = build(LSTM, backend="torch")
    with pytest.raises(ValueError, match=r"backend='torch' cannot serve this call: torch\.func\.vmap"):
        vmap(lambda input: layer(input)[0])(draw(2))
