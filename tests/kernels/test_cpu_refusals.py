"""What does not fit is refused in a sentence that names the tensor, before any address is taken."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from drawn_layer import call, draw_given, draw_layer
from torch import Tensor

from storyline.cells import lstm
from storyline.kernels import Ragged, Weights, native, recurrence

pytestmark = pytest.mark.skipif(native.missing is not None, reason=str(native.missing))
TIME, BATCH, INPUT, HIDDEN, PROJECTED = 4, 3, 5, 8, 5


def tensors() -> dict[str, Tensor]:
    """What an LSTM with a projection is given, by name."""
    return {
        "input": torch.randn(TIME, BATCH, INPUT),
        "weight_ih": torch.randn(4 * HIDDEN, INPUT),
        "weight_hh": torch.randn(4 * HIDDEN, PROJECTED),
        "bias_ih": torch.randn(4 * HIDDEN),
        "bias_hh": torch.randn(4 * HIDDEN),
        "weight_hr": torch.randn(PROJECTED, HIDDEN),
        "h_0": torch.randn(BATCH, PROJECTED),
        "c_0": torch.randn(BATCH, HIDDEN),
        "h_fresh": torch.randn(BATCH, PROJECTED),
        "c_fresh": torch.randn(BATCH, HIDDEN),
        "lengths": torch.tensor([4, 1, 2]),
        "resets": torch.zeros(TIME, BATCH, dtype=torch.bool),
    }


def run(given: dict[str, Tensor]) -> None:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    weights = Weights(**{name: given[name] for name in names if name in given})
    state, fresh = ((given[f"h_{which}"], given[f"c_{which}"]) for which in ("0", "fresh"))
    ragged = Ragged(given["lengths"], TIME)
    recurrence("cpu", lstm, weights, given["input"], state, fresh, ragged, given["resets"])


def refused(changed: dict[str, Tensor], sentence: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(sentence)):
        run(tensors() | changed)


def test_what_fits_is_not_refused() -> None:
    run(tensors())


@pytest.mark.parametrize("name", sorted(tensors().keys() - {"input", "weight_ih", "weight_hr"}))
def test_shape(name: str) -> None:
    value = tensors()[name]
    longer = torch.cat([value, value])
    wanted = f"{name} is {tuple(longer.shape)}"
    if name in ("lengths", "resets"):
        refused(
            {name: longer}, f"{wanted} of {value.dtype}; it must be {tuple(value.shape)} of {value.dtype}"
        )
    else:
        refused({name: longer}, f"{wanted}; it must be {tuple(value.shape)}")
    with pytest.raises(ValueError, match=f"^{name} is "):
        run(tensors() | {name: value.unsqueeze(0)})


def test_shapes_that_size_the_others() -> None:
    refused({"weight_ih": torch.randn(33, INPUT)}, "weight_ih is (33, 5); it must be (32, 5)")
    refused({"weight_ih": torch.randn(32, 6)}, "weight_ih is (32, 6); it must be (32, 5)")
    refused({"weight_hr": torch.randn(PROJECTED, 9)}, "weight_hr is (5, 9); it must be (5, 8)")
    refused({"weight_hr": torch.randn(HIDDEN)}, "weight_hr is (8,); it must be ")
    refused({"weight_ih": torch.randn(0, INPUT)}, "weight_ih is (0, 5); it must be (4, 5)")


@pytest.mark.parametrize("shape", [(0, 3, 5), (4, 0, 5), (4, 3, 0), (4, 3), (4, 3, 5, 1)])
def test_input_that_is_empty_or_of_other_dimensions(shape: tuple[int, ...]) -> None:
    refused(
        {"input": torch.zeros(shape)},
        f"input is {shape}; it must be (time, batch, input_size), each at least 1",
    )


@pytest.mark.parametrize("name", sorted(tensors().keys() - {"input"}))
@pytest.mark.parametrize("dtype", [torch.float64, torch.int32, torch.bfloat16])
def test_dtype(name: str, dtype: torch.dtype) -> None:
    value = tensors()[name].to(dtype)
    shape = tuple(value.shape)
    if name in ("lengths", "resets"):
        wanted = {"lengths": torch.int64, "resets": torch.bool}[name]
        refused({name: value}, f"{name} is {shape} of {dtype}; it must be {shape} of {wanted}")
    else:
        refused({name: value}, f"{name} is {dtype}, but input is torch.float32; they must be of one dtype")


def test_dtype_that_no_kernel_computes_in() -> None:
    halves = {name: value.bfloat16() for name, value in tensors().items() if value.is_floating_point()}
    refused(halves, "input is torch.bfloat16; the native kernels compute in torch.float32 and torch.float64")


@pytest.mark.parametrize("name", sorted(tensors()))
def test_device(name: str) -> None:
    refused(
        {name: tensors()[name].to("meta")},
        f"{name} is torch.strided on meta; the native kernels read strided tensors on cpu",
    )


@pytest.mark.parametrize("name", ["input", "weight_hh", "c_0"])
def test_layout(name: str) -> None:
    refused(
        {name: tensors()[name].to_sparse()}, f"{name} is torch.sparse_coo on cpu; the native kernels read"
    )


@pytest.mark.parametrize("wrong", [0, -1, 5, 2**40])
def test_length_outside_the_input(wrong: int) -> None:
    refused(
        {"lengths": torch.tensor([4, wrong, 2])},
        f"lengths[1] is {wrong}; it must be from 1 to 4, the steps of input",
    )


def test_one_bias() -> None:
    given = tensors()
    weights = Weights(given["weight_ih"], given["weight_hh"], given["bias_ih"], None, given["weight_hr"])
    state = (given["h_0"], given["c_0"])
    with pytest.raises(
        ValueError, match=r"^only one of bias_ih and bias_hh is there; both must be, or neither"
    ):
        recurrence("cpu", lstm, weights, given["input"], state, state)


def test_states_that_are_missing() -> None:
    layer = draw_layer("lstm")
    given = draw_given(layer, 3, 2)
    one = given.state[:1]
    with pytest.raises(ValueError, match=r"^state has 1 and fresh 0 tensors; lstm has 2 states: h, c"):
        recurrence("cpu", lstm, layer.weights, given.input, one, one)


def test_gradient_of_another_dtype_is_made_one_of_the_results() -> None:
    """Autograd does so before the kernels see it; numbers of 8 bytes read as two of 4 would be garbage."""
    layer = draw_layer("lstm")
    given = draw_given(layer, 3, 2)
    wide = call(layer, replace(given, weigh=[each.double() for each in given.weigh if each is not None]))
    for key, value in call(layer, given).items():
        assert torch.equal(wide[key], value), key
