"""Tensors as users have them: strided, overlapping, misaligned, expanded, aliased; the bits are those of plain ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from drawn_layer import LAYERS, DrawnLayer, Given, call, draw_given, draw_layer
from torch import Tensor

from storyline.kernels import Weights, native

pytestmark = pytest.mark.skipif(native.missing is not None, reason=str(native.missing))
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
EVERY_LAYER = pytest.mark.parametrize("name", LAYERS)


def batch_first(values: Tensor) -> Tensor:
    """The same numbers, with the second dimension outermost in memory."""
    return values.transpose(0, 1).contiguous().transpose(0, 1)


def last_is_not_dense(values: Tensor) -> Tensor:
    return values.transpose(0, -1).contiguous().transpose(0, -1)


def misaligned(values: Tensor) -> Tensor:
    """From the second number of a buffer on, and with a gap of one behind each row."""
    buffer = values.new_full((values.numel() // values.shape[-1] * (values.shape[-1] + 1) + 1,), float("nan"))
    view = buffer[1:].view(*values.shape[:-1], values.shape[-1] + 1)[..., :-1]
    return view.copy_(values)


def every_second(values: Tensor) -> Tensor:
    return torch.stack([values, torch.full_like(values, float("nan"))], dim=-1)[..., 0]


def marked_negative(values: Tensor) -> Tensor:
    view = torch._neg_view(-values)
    assert view.is_neg()
    return view


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    each.__name__: each
    for each in (batch_first, last_is_not_dense, misaligned, every_second, marked_negative)
}


def drawn(name: str, dtype: torch.dtype = torch.float32) -> tuple[DrawnLayer, Given]:
    layer = draw_layer(name, 7, 11, dtype)
    resets = torch.zeros(6, 5, dtype=torch.bool)
    resets[3, 1] = resets[2, 4] = True
    given = draw_given(layer, time=6, batch=5)
    return layer, replace(given, lengths=torch.tensor([6, 4, 6, 1, 5]), resets=resets)


def assert_same(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    for name, value in wanted.items():
        assert got[name].shape == value.shape
        assert torch.equal(got[name], value), name


@DTYPES
@pytest.mark.parametrize("layout", LAYOUTS)
@EVERY_LAYER
def test_layouts(name: str, layout: str, dtype: torch.dtype) -> None:
    layer, given = drawn(name, dtype)
    change = LAYOUTS[layout]
    assert given.resets is not None
    assert given.lengths is not None
    changed = replace(
        given,
        input=change(given.input),
        state=tuple(change(each) for each in given.state),
        fresh=tuple(change(each) for each in given.fresh),
        weigh=[change(each) for each in given.weigh if each is not None],
        resets=batch_first(given.resets),
        lengths=torch.stack([given.lengths, given.lengths * 1000], dim=1)[:, 0],
    )
    assert_same(call(layer, changed), call(layer, given))


@DTYPES
@pytest.mark.parametrize("layout", [last_is_not_dense, misaligned, every_second, marked_negative])
@EVERY_LAYER
def test_layouts_of_weights(name: str, layout: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    layer, given = drawn(name, dtype)

    def change(weight: Tensor | None) -> Tensor | None:
        return None if weight is None else layout(weight.detach()).requires_grad_()

    parts = layer.weights
    changed = Weights(
        *(
            change(each)
            for each in (parts.weight_ih, parts.weight_hh, parts.bias_ih, parts.bias_hh, parts.weight_hr)
        ),
        own=tuple(change(each) for each in parts.own),
    )
    assert_same(call(replace(layer, weights=changed), given), call(layer, given))


@EVERY_LAYER
def test_expanded(name: str) -> None:
    """Stride 0: one step for all, one row for all, one state for all, one number as the gradient of everything."""
    layer, given = drawn(name)
    input = torch.randn(1, 1, 7, generator=torch.Generator().manual_seed(0))
    for part in (
        input.expand(6, 5, 7),
        given.input[:1].expand(6, -1, -1),
        given.input[:, :1].expand(-1, 5, -1),
    ):
        expanded = replace(
            given,
            input=part,
            state=tuple(each[:1].expand(5, -1) for each in given.state),
            fresh=tuple(each[:1].expand(5, -1) for each in given.fresh),
            weigh=[torch.tensor(0.5).expand(each.shape) for each in given.weigh if each is not None],
        )
        dense = replace(
            expanded,
            input=part.clone(memory_format=torch.contiguous_format),
            state=tuple(each.contiguous() for each in expanded.state),
            fresh=tuple(each.contiguous() for each in expanded.fresh),
            weigh=[each.contiguous() for each in expanded.weigh if each is not None],
        )
        assert_same(call(layer, expanded), call(layer, dense))


@pytest.mark.parametrize("steps", [2, 3, 6, 7, 12])
@EVERY_LAYER
def test_sliding_windows(name: str, steps: int) -> None:
    """Windows of one series share their numbers: time and input have the same stride, and either may be longer."""
    layer = draw_layer(name, 7, 11)
    given = draw_given(layer, steps, 3)
    series = torch.randn(3, steps + 6, generator=torch.Generator().manual_seed(0))
    windows = series.unfold(1, 7, 1).transpose(0, 1)
    assert windows.stride() == (1, steps + 6, 1)
    assert_same(
        call(layer, replace(given, input=windows)), call(layer, replace(given, input=windows.contiguous()))
    )


@EVERY_LAYER
def test_one_tensor_as_everything(name: str) -> None:
    """Input, state and fresh state in the same memory, and one bias for both."""
    layer = draw_layer(name, 12, 12)
    h_size = layer.state[0].shape[1]
    given = draw_given(layer, time=1, batch=h_size)
    square = torch.rand(h_size, 12, generator=torch.Generator().manual_seed(0)) + 0.5
    views = tuple(square[:, : each.shape[1]] for each in layer.state)
    aliased = replace(
        given, input=square.unsqueeze(0), state=views, fresh=views, lengths=torch.ones(h_size).long()
    )
    apart = replace(
        aliased,
        input=square.unsqueeze(0).clone(),
        state=tuple(each.clone() for each in views),
        fresh=tuple(each.clone() for each in views),
    )
    got = call(layer, aliased)
    assert_same(got, call(layer, apart))
    if layer.weights.bias_ih is None:
        return
    shared = replace(layer, weights=replace(layer.weights, bias_hh=layer.weights.bias_ih))
    copied = replace(
        layer, weights=replace(layer.weights, bias_hh=layer.weights.bias_ih.detach().clone().requires_grad_())
    )
    once, twice = call(shared, given), call(copied, given)
    both = twice["gradient of bias_ih"] + twice["gradient of bias_hh"]
    assert torch.equal(once["gradient of bias_ih"], both)


@EVERY_LAYER
def test_gradients_of_some_results_only(name: str) -> None:
    """A result that the loss does not use counts as one with a gradient of 0."""
    layer, given = drawn(name)
    for used in range(len(given.weigh)):
        alone = [each if i == used else None for i, each in enumerate(given.weigh)]
        zeros = [each if i == used else torch.zeros_like(each) for i, each in enumerate(given.weigh)]
        assert_same(call(layer, replace(given, weigh=alone)), call(layer, replace(given, weigh=zeros)))
