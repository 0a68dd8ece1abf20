"""Every backend against the reference: a fast path may be wrong by four times what the plain loop is."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields
from statistics import median

import pytest
import torch
from torch import Tensor

from storyline.cells import CELLS, Cell, Noise, lstm, rnn_relu
from storyline.kernels import BACKENDS, Ragged, Weights, choose_backend, recurrence

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

TIME, BATCH, INPUT, HIDDEN, PROJECTED = 13, 6, 7, 12, 5
LENGTHS = [13, 1, 9, 12, 2, 13]


class Problem:
    """One random layer and batch in float64, which can be run on any backend in any dtype."""

    def __init__(
        self,
        cell: Cell,
        ragged: bool,
        resets: bool,
        reverse: bool,
        projected: bool,
        noisy: bool = False,
        seed: int = 0,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int, scale: float = 1.0) -> Tensor:
            # Rounded to float32, so that all dtypes start from the same numbers.
            return (torch.randn(*shape, generator=generator) * scale).double()

        rows, h_size = cell.preactivations * HIDDEN, PROJECTED if projected else HIDDEN
        scale = HIDDEN**-0.5
        self.cell, self.reverse = cell, reverse
        self.ragged = Ragged(torch.tensor(LENGTHS), TIME) if ragged else None
        self.resets = torch.rand(TIME, BATCH, generator=generator) < 0.2 if resets else None
        sizes = [h_size] + [HIDDEN] * (len(cell.states) - 1)

        def state(name: str, size: int) -> Tensor:
            # The n of an sLSTM is the weight of what was written, and above 0.
            return draw(BATCH, size).abs() + 0.5 if name == "n" else draw(BATCH, size)

        self.leaves = {
            "input": draw(TIME, BATCH, INPUT),
            "weight_ih": draw(rows, INPUT, scale=scale),
            "weight_hh": draw(rows, h_size // cell.heads, scale=scale),
            **(
                {}
                if cell.has_own_bias
                else {name: draw(rows, scale=scale) for name in ("bias_ih", "bias_hh")}
            ),
            **({"weight_hr": draw(PROJECTED, HIDDEN, scale=scale)} if projected else {}),
            **{each.name: draw(*each.shape(HIDDEN)) for each in cell.parameters},
            **{f"{name}_0": state(name, size) for name, size in zip(cell.states, sizes, strict=True)},
            **{f"{name}_fresh": state(name, size) for name, size in zip(cell.states, sizes, strict=True)},
        }
        self.noise = _noise(cell, sizes, generator) if noisy else None
        if self.ragged is not None:
            self.leaves["input"] = self.ragged.clear(self.leaves["input"])
        self.weigh = [draw(TIME, BATCH, h_size)] + [draw(BATCH, size) for size in sizes]

    def run(self, backend: str, dtype: torch.dtype) -> dict[str, Tensor]:
        """Output, last states, and the gradients of a random weighing of them with respect to all leaves."""
        leaf = {name: value.to(dtype).requires_grad_() for name, value in self.leaves.items()}
        weights = Weights(
            **{field.name: leaf[field.name] for field in fields(Weights) if field.name in leaf},
            own=tuple(leaf[each.name] for each in self.cell.parameters),
        )
        state, fresh = (
            tuple(leaf[f"{name}_{which}"] for name in self.cell.states) for which in ("0", "fresh")
        )
        done = recurrence(
            backend, self.cell, weights, leaf["input"], state, fresh, self.ragged, self.resets,
            reverse=self.reverse, noise=self.noise and _in_dtype(self.noise, dtype),
        )  # fmt: skip
        results = [done.output, *done.state]
        loss = sum(
            (result * weigh.to(dtype)).sum() for result, weigh in zip(results, self.weigh, strict=True)
        )
        gradients = torch.autograd.grad(loss, list(leaf.values()), allow_unused=self.resets is None)
        named = dict(zip((f"gradient of {name}" for name in leaf), gradients, strict=True))
        unused = {name for name, gradient in named.items() if gradient is None}
        assert unused <= {f"gradient of {name}_fresh" for name in self.cell.states}
        values = dict(zip(["output", *self.cell.states], results, strict=True))
        return {**values, **{name: named[name] for name in named.keys() - unused}}


def error(got: Tensor, exact: Tensor) -> float:
    """The greatest deviation, in units of the greatest exact value where that is above 1."""
    return float(((got.double() - exact).abs().max() / exact.abs().max().clamp_min(1)).detach())


def _noise(cell: Cell, sizes: list[int], generator: torch.Generator) -> Noise:
    """A mask on h; h zoned out by a rate, as in evaluation, and c by masks, as in training."""
    mask = (torch.rand(BATCH, sizes[0], generator=generator) < 0.75) / 0.75
    drawn = (torch.rand(TIME, BATCH, HIDDEN, generator=generator) < 0.5).double()
    zoneout = (torch.tensor(0.125), drawn)[: len(cell.states)] if set(cell.states) <= {"h", "c"} else ()
    return Noise(mask, zoneout)


def _in_dtype(noise: Noise, dtype: torch.dtype) -> Noise:
    assert noise.recurrent_mask is not None
    return Noise(noise.recurrent_mask.to(dtype), tuple(each.to(dtype) for each in noise.zoneout))


def _serves(backend: str, cell: Cell, noisy: bool) -> bool:
    try:
        choose_backend(backend, cell, noise=noisy)
    except ValueError:
        return False
    return True


CASES = {
    f"{backend}-{cell.name}{'-projected' * projected}{'-noise' * noisy}": (backend, cell, projected, noisy)
    # triton has no float64 and needs its package: test_triton.py.
    for backend in sorted(set(BACKENDS) - {"reference", "triton"})
    for cell in CELLS.values()
    for projected in ([False, True] if cell.name.startswith("lstm") else [False])
    for noisy in (False, True)
    if _serves(backend, cell, noisy)
}


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("resets", [False, True], ids=["", "resets"])
@pytest.mark.parametrize("ragged", [False, True], ids=["dense", "ragged"])
@pytest.mark.parametrize("case", CASES)
def test_backend_equals_reference(case: str, ragged: bool, resets: bool, reverse: bool) -> None:
    backend, cell, projected, noisy = CASES[case]
    # In float32 the greatest error of one draw is a matter of luck on either side (a normalised row of nearly equal
    # numbers magnifies it tenfold), so the median of five draws counts; in float64 every draw.
    fast, plain = defaultdict(list), defaultdict(list)
    for seed in range(5):
        problem = Problem(cell, ragged, resets, reverse, projected, noisy, seed)
        exact = problem.run("reference", torch.float64)
        same_dtype = problem.run(backend, torch.float64)
        runs = [(fast, problem.run(backend, torch.float32)), (plain, problem.run("reference", torch.float32))]
        for name in exact:
            assert error(same_dtype[name], exact[name]) < 1e-13, name
        for errors, run in runs:
            assert run.keys() == exact.keys()
            for name in exact:
                errors[name].append(error(run[name], exact[name]))
    for name in exact:
        assert median(fast[name]) <= 4 * median(plain[name]) + 1e-7, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cell", [lstm, rnn_relu], ids=lambda cell: cell.name)
def test_long_padding_is_held(cell: Cell, dtype: torch.dtype) -> None:
    """A forget gate one ulp below 1 would lose 3e-5 of c over 500 steps in float32; nothing is lost."""
    problem = Problem(cell, ragged=True, resets=False, reverse=False, projected=False)
    leaf = {name: value.to(dtype) for name, value in problem.leaves.items()}
    weights = Weights(leaf["weight_ih"], leaf["weight_hh"], leaf["bias_ih"], leaf["bias_hh"])
    state = tuple(leaf[f"{name}_0"] for name in cell.states)
    long = torch.cat([leaf["input"], torch.zeros(500, BATCH, INPUT, dtype=dtype)])
    lengths = torch.tensor(LENGTHS)
    short = recurrence("torch", cell, weights, leaf["input"], state, state, Ragged(lengths, TIME))
    padded = recurrence("torch", cell, weights, long, state, state, Ragged(lengths, TIME + 500))
    tolerance = 4 * torch.finfo(dtype).eps
    for a, b in zip(short.state, padded.state, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(short.output, padded.output[:TIME], rtol=tolerance, atol=tolerance)
    assert not padded.output[TIME:].any()


def test_relu_network_that_would_overflow_in_the_padding() -> None:
    """A free run over the padding would reach infinity, and 0 * infinity is NaN in the gradient."""
    weight_hh = torch.full((1, 1), 10.0, requires_grad=True)
    weights = Weights(torch.ones(1, 1), weight_hh)
    input = torch.zeros(100, 2, 1)
    input[0] = 1
    zero = (torch.zeros(2, 1),)
    done = recurrence("torch", rnn_relu, weights, input, zero, zero, Ragged(torch.tensor([3, 2]), 100))
    torch.testing.assert_close(done.state[0], torch.tensor([[100.0], [10.0]]))
    done.output.sum().backward()
    # sum over rows of d/dw (1 + w + w^2) and d/dw (1 + w) at w = 10
    assert weight_hh.grad is not None
    assert weight_hh.grad.item() == pytest.approx((1 + 20) + 1)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_noise_reads_backwards_in_the_order_of_reading(cell: Cell) -> None:
    """Read backwards, a row is what its own steps turned round are forwards, under the same noise."""
    problem = Problem(cell, ragged=True, resets=False, reverse=True, projected=False, noisy=True)
    backwards = problem.run("reference", torch.float64)
    assert problem.ragged is not None
    problem.leaves["input"] = problem.ragged.flip(problem.leaves["input"])
    problem.reverse, problem.weigh[0] = False, problem.ragged.flip(problem.weigh[0])
    forwards = problem.run("reference", torch.float64)
    for name, value in backwards.items():
        turned = problem.ragged.flip(value) if name in ("output", "gradient of input") else value
        torch.testing.assert_close(turned, forwards[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_backend_that_lacks_the_cell_is_refused_by_name(cell: Cell) -> None:
    for noisy in (False, True):
        name, reason = choose_backend("auto", cell, noise=noisy)
        assert name in BACKENDS
        assert reason
    with pytest.raises(ValueError, match="backend='torch' cannot serve this call: torch"):
        choose_backend("torch", cell, noise=True)
