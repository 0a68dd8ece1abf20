"""What the native kernels owe bit for bit: a row alone, the threads, chunks, single steps, reading backwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from drawn_layer import LAYERS, DrawnLayer, Given, call, draw_given, draw_layer, of_rows
from torch import Tensor

from storyline.cells import State
from storyline.kernels import Ragged, native, native_call, recurrence, reverse_resets

pytestmark = pytest.mark.skipif(native.missing is not None, reason=str(native.missing))
# (hidden, input): a unit, whole vectors, tails, more than one block of depth
SIZES = [(1, 1), (5, 3), (16, 8), (17, 300), (130, 17)]
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
EVERY_LAYER = pytest.mark.parametrize("name", LAYERS)
EVERY_SIZE = pytest.mark.parametrize(
    ("hidden_size", "input_size"), SIZES, ids=[f"H{hidden}-I{size}" for hidden, size in SIZES]
)


@pytest.fixture
def many_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every call is shared out among threads, however small; the test sets how many."""
    before = torch.get_num_threads()
    monkeypatch.setattr(native_call, "_WORTH_A_THREAD", 0)
    yield
    torch.set_num_threads(before)


def ragged_with_resets(layer: DrawnLayer, time: int, batch: int) -> Given:
    generator = torch.Generator().manual_seed(3)
    lengths = torch.randint(1, time + 1, (batch,), generator=generator)
    resets = torch.rand(time, batch, generator=generator) < 0.15
    return replace(draw_given(layer, time, batch), lengths=lengths, resets=resets)


def assert_same_bits(got: dict[str, Tensor], wanted: dict[str, Tensor], names: set[str]) -> None:
    for name in names:
        assert torch.equal(got[name], wanted[name]), name


@DTYPES
@EVERY_SIZE
@EVERY_LAYER
def test_each_row_is_as_alone(name: str, hidden_size: int, input_size: int, dtype: torch.dtype) -> None:
    layer = draw_layer(name, input_size, hidden_size, dtype)
    given = ragged_with_resets(layer, time=11, batch=14)
    assert given.lengths is not None
    assert given.resets is not None
    together = call(layer, given)
    for row, length in enumerate(given.lengths.tolist()):
        one = slice(row, row + 1)
        alone = call(
            layer,
            Given(
                given.input[:length, one],
                tuple(each[one] for each in given.state),
                tuple(each[one] for each in given.fresh),
                [given.weigh[0][:length, one], *(each[one] for each in given.weigh[1:])],
                resets=given.resets[:length, one],
            ),
        )
        for key in of_rows(layer):
            timed = key in ("output", "gradient of input")
            assert torch.equal(together[key][:length, one] if timed else together[key][one], alone[key]), key
        assert not together["output"][length:, row].any()
        assert not together["gradient of input"][length:, row].any()


@DTYPES
@EVERY_LAYER
def test_rows_do_not_depend_on_threads(name: str, dtype: torch.dtype, many_threads: None) -> None:
    """As many parts of the batch as threads, and one a row where there are more threads than rows."""
    for batch in (1, 2, 13):
        layer = draw_layer(name, 7, 19, dtype)
        given = ragged_with_resets(layer, time=9, batch=batch)
        torch.set_num_threads(1)
        one = call(layer, given)
        for threads in (2, 3, 4, 6):
            torch.set_num_threads(threads)
            more = call(layer, given)
            assert_same_bits(more, one, of_rows(layer))
            for key in more.keys() - of_rows(layer):  # sums over rows, in another order
                torch.testing.assert_close(more[key], one[key])


@DTYPES
@pytest.mark.parametrize("chunk", [1, 4], ids=["steps", "chunks"])
@EVERY_SIZE
@EVERY_LAYER
def test_chunked_is_whole(
    name: str, hidden_size: int, input_size: int, chunk: int, dtype: torch.dtype
) -> None:
    """The state carried from chunk to chunk, of one step or of four, forward and back."""
    layer = draw_layer(name, input_size, hidden_size, dtype)
    given = draw_given(layer, time=10, batch=5)
    whole = call(layer, given)
    input = given.input.requires_grad_()
    state: State = tuple(each.requires_grad_() for each in given.state)
    start, outputs = state, []
    for piece in input.split(chunk):
        done = recurrence("cpu", layer.cell, layer.weights, piece, state, given.fresh)
        outputs.append(done.output)
        state = done.state
    gradients = torch.autograd.grad([torch.cat(outputs), *state], [input, *start], given.weigh)
    assert torch.equal(torch.cat(outputs), whole["output"])
    for key, value in zip(layer.cell.states, state, strict=True):
        assert torch.equal(value, whole[key])
    for key, value in zip(["input", *(f"{key}_0" for key in layer.cell.states)], gradients, strict=True):
        assert torch.equal(value, whole[f"gradient of {key}"]), key


@DTYPES
@pytest.mark.parametrize("ragged", [False, True], ids=["dense", "ragged"])
@EVERY_LAYER
def test_reversed_is_flipped(name: str, ragged: bool, dtype: torch.dtype) -> None:
    layer = draw_layer(name, 6, 13, dtype)
    given = ragged_with_resets(layer, time=12, batch=7)
    lengths = given.lengths if ragged else torch.full((7,), 12)
    assert lengths is not None
    assert given.resets is not None
    given = replace(given, lengths=lengths if ragged else None)
    backwards = call(layer, replace(given, reverse=True))
    turn = Ragged(lengths, 12).flip
    turned = replace(
        given,
        input=turn(given.input),
        weigh=[turn(given.weigh[0]), *given.weigh[1:]],
        resets=reverse_resets(given.resets, lengths),
    )
    forwards = call(layer, turned)
    for key in ("output", "gradient of input"):
        forwards[key] = turn(forwards[key])
    assert_same_bits(backwards, forwards, set(forwards))


@EVERY_LAYER
def test_keeping_nothing_for_a_backward_pass_changes_nothing(name: str) -> None:
    layer = draw_layer(name, 6, 13)
    given = ragged_with_resets(layer, time=12, batch=7)
    assert given.lengths is not None
    kept = call(layer, given)
    with torch.inference_mode():
        done = recurrence(
            "cpu", layer.cell, layer.weights, given.input, given.state, given.fresh,
            Ragged(given.lengths, 12), given.resets,
        )  # fmt: skip
        assert done.output.is_inference()
    for key, value in zip(["output", *layer.cell.states], [done.output, *done.state], strict=True):
        assert torch.equal(value, kept[key])


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@EVERY_LAYER
def test_what_is_not_finite_stays_in_its_row(name: str, poison: float) -> None:
    layer = draw_layer(name, 6, 13)
    given = ragged_with_resets(layer, time=12, batch=7)
    assert given.lengths is not None
    given = replace(given, lengths=given.lengths.clamp_min(6), resets=None)
    clean = call(layer, given)
    poisoned = given.input.clone()
    poisoned[3, 2, 4] = poison
    struck = call(layer, replace(given, input=poisoned))
    others = [row for row in range(7) if row != 2]
    for key in of_rows(layer):
        axis = 1 if key in ("output", "gradient of input") else 0
        index = torch.tensor(others)
        assert torch.equal(struck[key].index_select(axis, index), clean[key].index_select(axis, index)), key
    assert torch.equal(struck["output"][:3, 2], clean["output"][:3, 2])
    if poison != poison:
        assert struck["output"][3, 2].isnan().all()
        assert struck[layer.cell.states[-1]][2].isnan().all()
        assert struck["gradient of weight_ih"].isnan().any()


@EVERY_LAYER
def test_padding_is_never_read(name: str) -> None:
    layer = draw_layer(name, 6, 13)
    given = ragged_with_resets(layer, time=12, batch=7)
    assert given.lengths is not None
    outside = ~Ragged(given.lengths, 12).inside
    wanted = call(layer, given)
    weigh = [given.weigh[0].masked_fill(outside, float("nan")), *given.weigh[1:]]
    input = given.input.masked_fill(outside, float("nan"))
    got = call(layer, replace(given, input=input, weigh=weigh))
    assert_same_bits(got, wanted, set(wanted))
