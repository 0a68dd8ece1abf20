"""The native kernels' rounding, in sums long enough to show it: at most 4 times that of the reference, + 1e-7."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest
import torch
from drawn_layer import CELL_NAMES, DrawnLayer, Given, call, draw_given, draw_layer
from torch import Tensor

from storyline.cells import State
from storyline.kernels import Weights, native

pytestmark = pytest.mark.skipif(native.missing is not None, reason=str(native.missing))


def in_double(layer: DrawnLayer, given: Given) -> tuple[DrawnLayer, Given]:
    def wide(values: State) -> State:
        return tuple(each.detach().double() for each in values)

    parts = [*layer.named().values()]
    own = len(layer.cell.parameters)
    doubles = [each.detach().double().requires_grad_() for each in parts]
    first, rest = doubles[: len(doubles) - own], doubles[len(doubles) - own :]
    weights = Weights(*first, own=tuple(rest))
    return replace(layer, weights=weights, state=wide(layer.state)), replace(
        given,
        input=given.input.double(),
        state=wide(given.state),
        fresh=wide(given.fresh),
        weigh=[None if each is None else each.double() for each in given.weigh],
    )


def worst_errors(layer: DrawnLayer, cases: list[Given]) -> tuple[dict[str, float], dict[str, float]]:
    """Of the kernels and of the reference, the greatest error of each result over the cases."""
    fast: dict[str, float] = defaultdict(float)
    plain: dict[str, float] = defaultdict(float)
    for given in cases:
        exact = call(*in_double(layer, given), backend="reference")
        for worst, backend in ((fast, "cpu"), (plain, "reference")):
            for name, value in call(layer, given, backend).items():
                worst[name] = max(worst[name], error(value, exact[name]))
    return fast, plain


def error(got: Tensor, exact: Tensor) -> float:
    return float((got.double() - exact).abs().max() / exact.abs().max().clamp_min(1))


@pytest.mark.parametrize("name", CELL_NAMES)
def test_gradient_that_lives_on_while_small_ones_are_added(name: str) -> None:
    """A GRU hands most of dh to the step before, and adds a product of small numbers: each to the last place of dh."""
    layer = draw_layer(name, 8, 256)
    fast, plain = worst_errors(layer, [draw_given(layer, 12, 4, seed) for seed in range(3)])
    for result, allowed in plain.items():
        assert fast[result] <= 4 * allowed + 1e-7, result


@pytest.mark.parametrize("name", CELL_NAMES)
def test_sums_over_many_steps(name: str) -> None:
    """Weight gradients are sums over all steps of all rows; a plain running sum would lose a digit in ten thousand."""
    layer = draw_layer(name, 3, 4)
    given = draw_given(layer, 60, 2000)
    ones = [torch.ones_like(each) for each in given.weigh if each is not None]
    fast, plain = worst_errors(layer, [replace(given, weigh=ones)])
    for result in (f"gradient of {each}" for each in layer.named()):
        assert fast[result] <= 4 * plain[result] + 1e-7, result
