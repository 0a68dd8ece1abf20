"""What may happen between the way there and the way back of a native call, or tie its arguments to each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from storyline.kernels import native
from storyline.layers import GRU, LSTM, Recurrent

pytestmark = pytest.mark.skipif(native.missing is not None, reason=str(native.missing))


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def gradients(layer: Recurrent, input: Tensor, there: int, back: int, **call: object) -> list[Tensor]:
    torch.set_num_threads(there)
    output = layer(input, **call)[0]
    torch.set_num_threads(back)
    leaves = [input, *layer.parameters()]
    return list(torch.autograd.grad((output * torch.cos(output)).sum(), leaves))


@pytest.mark.parametrize(("there", "back"), [(1, 2), (2, 1), (4, 3)])
@pytest.mark.parametrize("batch", [5, 2])
def test_other_threads_on_the_way_back(there: int, back: int, batch: int) -> None:
    layer = LSTM(
        16, 256 if batch == 2 else 64, dtype=torch.float64
    )  # 2 rows of 256 units: the units are split
    input = torch.randn(40, batch, 16, dtype=torch.float64, requires_grad=True)
    lengths = torch.arange(batch) + 36
    same = gradients(layer, input, 1, 1, lengths=lengths)
    for a, b in zip(gradients(layer, input, there, back, lengths=lengths), same, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


def test_other_threads_in_a_compiled_graph() -> None:
    layer = LSTM(16, 64, dtype=torch.float64)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    input = torch.randn(40, 5, 16, dtype=torch.float64, requires_grad=True)
    torch.set_num_threads(2)
    output = compiled(input)[0]
    torch.set_num_threads(1)
    (found,) = torch.autograd.grad(output.sum(), input)
    (wanted,) = torch.autograd.grad(layer(input)[0].sum(), input)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_split_units_have_the_bits_of_one_thread_over_many_blocks() -> None:
    layer = GRU(8, 192)
    input = torch.randn(250, 1, 8, requires_grad=True)
    alone = gradients(layer, input, 1, 1)
    for _ in range(5):
        for a, b in zip(gradients(layer, input, 2, 2), alone, strict=True):
            assert torch.equal(a, b)


def test_lengths_that_change_after_the_call() -> None:
    layer, lengths = LSTM(3, 4), np.array([5, 9])
    input = torch.randn(9, 2, 3, requires_grad=True)
    (wanted,) = torch.autograd.grad(layer(input, lengths=torch.from_numpy(lengths))[0].sum(), input)
    output = layer(input, lengths=torch.from_numpy(lengths))[0]
    lengths[:] = 10**7
    (found,) = torch.autograd.grad(output.sum(), input)
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("num_layers", [1, 2])
def test_the_output_may_be_written_to(num_layers: int) -> None:
    layer = LSTM(3, 4, num_layers)
    input = torch.randn(9, 2, 3, requires_grad=True)
    (plain,) = torch.autograd.grad(layer(input)[0].sum(), input)
    output, _ = layer(input)
    (doubled,) = torch.autograd.grad(output.mul_(2).sum(), input)
    torch.testing.assert_close(doubled, 2 * plain)


@pytest.mark.parametrize("every", [None, 4])
def test_a_second_derivative_where_one_argument_depends_on_another(every: int | None) -> None:
    layer = LSTM(3, 4, dtype=torch.float64, checkpoint_every=every)
    plain = LSTM(3, 4, dtype=torch.float64, backend="reference")
    plain.load_state_dict(layer.state_dict())
    first, second = torch.randn(2, 6, 2, 3, dtype=torch.float64)
    results = []
    for each in (layer, plain):
        _, state = each(first)
        output, _ = each(second, state)  # the state depends on the very weights
        slopes = torch.autograd.grad(output.square().sum(), list(each.parameters()), create_graph=True)
        bend = torch.autograd.grad(sum(slope.square().sum() for slope in slopes), each.weight_hh_l0)
        results.append([*slopes, *bend])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("every", [None, 4])
def test_a_second_derivative_with_tied_biases(every: int | None) -> None:
    layer = LSTM(3, 4, dtype=torch.float64, checkpoint_every=every)
    layer.bias_hh_l0 = layer.bias_ih_l0
    input = torch.randn(6, 2, 3, dtype=torch.float64)
    loss = layer(input)[0].square().sum()
    (once,) = torch.autograd.grad(loss, layer.bias_ih_l0, retain_graph=True)
    (graph,) = torch.autograd.grad(loss, layer.bias_ih_l0, create_graph=True)
    torch.testing.assert_close(graph, once, rtol=1e-9, atol=1e-11)
