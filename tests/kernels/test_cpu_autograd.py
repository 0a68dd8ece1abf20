"""The native kernels under autograd: retained graphs, second derivatives, tensors changed behind its back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from drawn_layer import LAYERS, DrawnLayer, Given, draw_given, draw_layer
from torch import Tensor

from storyline.kernels import Ragged, Recurrence, Weights, native, recurrence

pytestmark = pytest.mark.skipif(native.missing is not None, reason=str(native.missing))
EVERY_LAYER = pytest.mark.parametrize("name", LAYERS)


def small(name: str, dtype: torch.dtype = torch.float64) -> tuple[DrawnLayer, Given]:
    layer = draw_layer(name, 2, 3, dtype)
    return layer, draw_given(layer, 4, 3)


def run(layer: DrawnLayer, given: Given, **more: Any) -> Recurrence:
    return recurrence("cpu", layer.cell, layer.weights, given.input, given.state, given.fresh, **more)


def loss_of(done: Recurrence, given: Given) -> Tensor:
    results = [done.output, *done.state]
    return torch.stack([(r * w).sum() for r, w in zip(results, given.weigh, strict=True)]).sum()


@EVERY_LAYER
def test_second_backward_over_a_retained_graph(name: str) -> None:
    layer, given = small(name, torch.float32)
    given.input.requires_grad_()
    wanted = [given.input, *layer.named().values()]
    loss = loss_of(run(layer, given), given)
    first = torch.autograd.grad(loss, wanted, retain_graph=True)
    for _ in range(2):
        for again, value in zip(torch.autograd.grad(loss, wanted, retain_graph=True), first, strict=True):
            assert torch.equal(again, value)


@EVERY_LAYER
def test_backward_twice_adds_up(name: str) -> None:
    layer, given = small(name)
    loss = loss_of(run(layer, given), given)
    loss.backward(retain_graph=True)
    once = {key: value.grad.clone() for key, value in layer.named().items() if value.grad is not None}
    loss.backward()
    assert once.keys() == layer.named().keys()
    for key, value in layer.named().items():
        assert value.grad is not None
        assert torch.equal(value.grad, 2 * once[key])


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@EVERY_LAYER
def test_second_derivatives(name: str, reverse: bool) -> None:
    """Against finite differences in float64, ragged and with a reset, in all tensors at once."""
    layer, given = small(name)
    resets = torch.zeros(4, 3, dtype=torch.bool)
    resets[2, 0] = resets[1, 2] = True
    ragged = Ragged(torch.tensor([4, 2, 3]), 4)
    named, states = layer.named(), len(layer.state)

    def call(input: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        state, fresh, values = rest[:states], rest[states : 2 * states], rest[2 * states :]
        value = dict(zip(named, values, strict=True))
        own = tuple(value.pop(each.name) for each in layer.cell.parameters)
        done = recurrence(
            "cpu", layer.cell, Weights(**value, own=own), ragged.clear(input), state, fresh, ragged, resets,
            reverse=reverse,
        )  # fmt: skip
        return done.output, *done.state

    inputs = [each.detach().requires_grad_() for each in (given.input, *given.state, *given.fresh)]
    inputs += [each.detach().requires_grad_() for each in named.values()]
    assert torch.autograd.gradcheck(call, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)


@pytest.mark.parametrize("what", ["weight_hh", "weight_ih", "input", "output", "lengths"])
def test_change_between_the_passes_is_an_error(what: str) -> None:
    layer, given = small("lstm")
    lengths = torch.tensor([4, 2, 3])
    done = run(layer, given, ragged=Ragged(lengths, 4))
    loss = loss_of(done, given)
    changed = {
        **layer.named(), "input": given.input, "output": done.output, "lengths": lengths,
    }  # fmt: skip
    with torch.no_grad():
        changed[what].sub_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("frozen", ["weight_ih", "weight_hh", "bias_ih", "input", "h_0"])
def test_what_wants_no_gradient_gets_none(frozen: str) -> None:
    layer, given = small("gru")
    leaves = {**layer.named(), "input": given.input, "h_0": given.state[0]}
    for each in leaves.values():
        each.requires_grad_()
    wanted = torch.autograd.grad(loss_of(run(layer, given), given), list(leaves.values()))
    leaves[frozen].requires_grad_(False)
    loss_of(run(layer, given), given).backward()
    assert leaves[frozen].grad is None
    for (key, leaf), value in zip(leaves.items(), wanted, strict=True):
        if key != frozen:
            assert leaf.grad is not None
            assert torch.equal(leaf.grad, value), key
