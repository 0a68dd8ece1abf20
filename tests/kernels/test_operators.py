"""The native kernels as operators and under torch.func, which must equal the reference in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, jacrev, vmap

from storyline.cells import CELLS, Cell, Noise, gru, lstm, lstm_layer_norm, slstm
from storyline.kernels import native
from storyline.kernels.native_call import Arguments
from storyline.kernels.operators import described
from storyline.kernels.second_derivative import on_reference
from storyline.kernels.transformed import transformed_scan

pytestmark = [
    pytest.mark.skipif(native.missing is not None, reason=str(native.missing)),
    pytest.mark.filterwarnings("ignore:`torch.jit.script"),
]

# A whole number of vectors, so that nothing kept is padding, which is never written and so never twice the same.
TIME, BATCH, INPUT, HIDDEN, PROJECTED = 3, 2, 3, 16, 8

VARIANTS: dict[str, dict[str, bool]] = {
    "dense": {},
    "ragged, reversed": {"ragged": True, "reverse": True},
    "resets": {"resets": True},
    "noise": {"noisy": True},
    "all": {"ragged": True, "reverse": True, "resets": True, "noisy": True},
}
CASES: dict[str, tuple[Cell, dict[str, bool]]] = {
    "lstm, projected": (lstm, {"projected": True}),
    "lstm, projected, all": (lstm, {"projected": True, **VARIANTS["all"]}),
    **{
        f"{cell.name}, {name}": (cell, options)
        for cell in CELLS.values()
        if cell.name in native.cells()
        for name, options in VARIANTS.items()
        if name in ("dense", "all") or cell is lstm
    },
}
few = pytest.mark.parametrize("cell", [lstm, gru, lstm_layer_norm, slstm], ids=lambda cell: cell.name)


def call_of(
    cell: Cell,
    *,
    ragged: bool = False,
    resets: bool = False,
    reverse: bool = False,
    noisy: bool = False,
    projected: bool = False,
) -> tuple[Arguments, list[Tensor]]:
    """A random call; every tensor wants its gradient."""
    generator = torch.Generator().manual_seed(2)

    def draw(*shape: int, scale: float = 1.0) -> Tensor:
        values = torch.randn(*shape, generator=generator, dtype=torch.float64) * scale
        return values.requires_grad_()

    rows, h_size = cell.preactivations * HIDDEN, PROJECTED if projected else HIDDEN
    sizes = [h_size] + [HIDDEN] * (len(cell.states) - 1)

    def state() -> list[Tensor]:
        # The n of an sLSTM is the weight of what was written, and above 0.
        return [
            draw(BATCH, size) if name != "n" else (draw(BATCH, size).detach().abs() + 0.5).requires_grad_()
            for name, size in zip(cell.states, sizes, strict=True)
        ]

    fresh = state() if resets else []
    weights = [draw(rows, INPUT, scale=0.3), draw(rows, h_size // cell.heads, scale=0.3)]
    weights += [] if cell.has_own_bias else [draw(rows), draw(rows)]
    weights += [draw(PROJECTED, HIDDEN, scale=0.3)] if projected else []
    own = [draw(*each.shape(HIDDEN)) for each in cell.parameters]
    counts = (len(cell.states), len(fresh), len(weights), len(own))
    noise = None
    if noisy:
        mask = torch.tensor([[0.0, 2.0], [2.0, 0.0]], dtype=torch.float64).repeat(1, h_size // 2)
        drawn = torch.rand(TIME, BATCH, HIDDEN, generator=generator, dtype=torch.float64).round()
        rates = (torch.tensor(0.125, dtype=torch.float64), drawn)[: len(cell.states)]
        noise = Noise(mask, rates if set(cell.states) <= {"h", "c"} else ())
    cut = torch.tensor([[False, True], [True, False], [False, True]]) if resets else None
    lengths = torch.tensor([2, 3]) if ragged else None
    arguments = Arguments(cell.name, counts, lengths, cut, noise, reverse)
    return arguments, [draw(TIME, BATCH, INPUT), *state(), *fresh, *weights, *own]


def plain_scan(arguments: Arguments, tensors: list[Tensor]) -> list[Tensor]:
    done = on_reference(arguments, tensors)
    return [done.output, *done.state]


def score(results: list[Tensor]) -> Tensor:
    return sum((each * torch.cos(each)).sum() for each in results)  # type: ignore[return-value]


def assert_close(some: Any, others: Any) -> None:
    torch.testing.assert_close(some, others, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("case", CASES)
def test_operators_keep_what_torch_library_asks(case: str) -> None:
    cell, options = CASES[case]
    arguments, tensors = call_of(cell, **options)
    call = described(arguments, tensors)
    outputs = 1 + arguments.counts[0]
    # What was kept has no defined numbers to compare; the compiled layers of test_transforms.py read it.
    torch.library.opcheck(torch.ops.storyline.scan.default, (*call, False))
    shapes = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.storyline.scan.default, (*call, True), test_utils=shapes)
    with torch.no_grad():
        found = torch.ops.storyline.scan(*call, True)
    bare = described(arguments, [each.detach() for each in tensors])
    for results, wants_input in ((found[:1] + found[outputs:], True), ([], False)):
        gradients = [torch.cos(each) for each in found[:outputs]]
        torch.library.opcheck(
            torch.ops.storyline.scan_backward.default, (*bare, results, gradients, wants_input)
        )


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "made again"])
@pytest.mark.parametrize("case", CASES)
def test_operators_equal_the_reference(case: str, keep: bool) -> None:
    cell, options = CASES[case]
    arguments, tensors = call_of(cell, **options)
    found = torch.ops.storyline.scan(*described(arguments, tensors), keep)[: 1 + arguments.counts[0]]
    plain = plain_scan(arguments, tensors)
    assert_close(found, plain)
    gradients = [
        torch.autograd.grad(score(each), tensors, retain_graph=True, materialize_grads=True)
        for each in (found, found, plain)
    ]
    assert_close(gradients[0], gradients[2])
    assert_close(gradients[1], gradients[2])  # a second pass over the same graph


def test_a_graph_that_reads_wrong_lengths_is_stopped() -> None:
    arguments, tensors = call_of(lstm, ragged=True)
    call = described(arguments, tensors)
    for wrong in (0, TIME + 1):
        with pytest.raises(RuntimeError, match="lengths must lie between 1 and the steps of input"):
            torch.ops.storyline.scan(call[0], torch.tensor([1, wrong]), *call[2:], False)


@few
@pytest.mark.parametrize("which", ["input", "state", "weight_hh", "all"])
def test_vmap_over_any_argument(cell: Cell, which: str) -> None:
    """The weights are one model a sample, an ensemble; else the samples share them."""
    arguments, tensors = call_of(cell, ragged=True, resets=True, reverse=True, noisy=True)
    first_weight = 1 + sum(arguments.counts[:2])
    places = {"input": [0], "state": [1], "weight_hh": [first_weight + 1], "all": list(range(len(tensors)))}
    mapped = [index in places[which] for index in range(len(tensors))]
    dims = tuple(1 if is_ else None for is_ in mapped)
    every = tuple(range(len(tensors)))
    found = []
    for run in (transformed_scan, plain_scan):
        samples = [
            torch.stack([each, 1.5 * each], dim=1) if is_ else each
            for each, is_ in zip(tensors, mapped, strict=True)
        ]
        results = vmap(lambda *each, run=run: run(arguments, list(each)), in_dims=dims)(*samples)

        def loss(*each: Tensor, run: Callable[..., list[Tensor]] = run) -> Tensor:
            return score(run(arguments, list(each)))

        # The gradients of one loss of all samples, and of a loss for each sample.
        outside = torch.autograd.grad(score(results), tensors, retain_graph=True)
        found.append([*results, *outside, *vmap(grad(loss, argnums=every), in_dims=dims)(*samples)])
    assert_close(*found)


@few
def test_derivatives_of_derivatives(cell: Cell) -> None:
    arguments, tensors = call_of(cell, resets=True, noisy=True)
    every = tuple(range(len(tensors)))

    def penalty(run: Any) -> Any:
        def slope(*each: Tensor) -> Tensor:
            first = grad(lambda *inner: score(run(arguments, list(inner))), argnums=(0, 1))(*each)
            return sum(one.square().sum() for one in first)  # type: ignore[return-value]

        return grad(slope, argnums=every)(*tensors)

    assert_close(penalty(transformed_scan), penalty(plain_scan))


def test_a_jacobian_by_rows() -> None:
    arguments, tensors = call_of(lstm, ragged=True)
    found, wanted = (
        jacrev(lambda x, run=run: run(arguments, [x, *tensors[1:]])[1])(tensors[0])
        for run in (transformed_scan, plain_scan)
    )
    assert_close(found, wanted)
