"""The triton backend against the reference in float64; on a CPU in Triton's interpreter, so sizes are tiny."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from storyline import GRU, LSTM, RNN, cells
from storyline.cells import Cell, lstm, rnn_relu
from storyline.kernels import Ragged, Recurrence, Weights, recurrence, triton

pytest.importorskip("triton", reason="the package triton is not installed, so its kernels cannot run")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CELLS = pytest.mark.parametrize(
    "cell", [cells.CELLS[name] for name in triton.CELLS], ids=lambda cell: cell.name
)


class Problem:
    """One random layer and batch, which can be run on either backend in any dtype."""

    def __init__(
        self, cell: Cell, time: int, batch: int, hidden_size: int,
        ragged: bool = True, resets: bool = True, bias: bool = True, seed: int = 0,
    ) -> None:  # fmt: skip
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator).to(DEVICE)

        rows, scale = cell.preactivations * hidden_size, hidden_size**-0.5
        self.cell, self.hidden_size = cell, hidden_size
        lengths = torch.randint(1, time + 1, (batch,), generator=generator)
        self.ragged = Ragged(lengths.to(DEVICE), time) if ragged else None
        self.resets = (torch.rand(time, batch, generator=generator) < 0.3).to(DEVICE) if resets else None
        self.leaves = {
            "input": draw(time, batch, 3),
            "weight_ih": draw(rows, 3) * scale,
            "weight_hh": draw(rows, hidden_size) * scale,
            **({"bias_ih": draw(rows) * scale, "bias_hh": draw(rows) * scale} if bias else {}),
            **{each.name: draw(*each.shape(hidden_size)) for each in cell.parameters},
            **{f"{name}_{which}": draw(batch, hidden_size) for which in ("0", "new") for name in cell.states},
        }
        if self.ragged is not None:
            self.leaves["input"] = self.ragged.clear(self.leaves["input"])
        self.weigh = [draw(time, batch, hidden_size), *(draw(batch, hidden_size) for _ in cell.states)]

    def forward(self, backend: str, leaf: dict[str, Tensor]) -> Recurrence:
        own = tuple(leaf[each.name] for each in self.cell.parameters)
        shared = {name: value for name, value in leaf.items() if name.startswith(("weight", "bias"))}
        weights = Weights(**shared, own=own)
        state, fresh = (tuple(leaf[f"{name}_{which}"] for name in self.cell.states) for which in ("0", "new"))
        return recurrence(backend, self.cell, weights, leaf["input"], state, fresh, self.ragged, self.resets)

    def run(self, backend: str, dtype: torch.dtype) -> dict[str, Tensor]:
        """Output, last states, and the gradients of a random weighing of them with respect to all leaves."""
        leaf = {name: value.to(dtype).requires_grad_() for name, value in self.leaves.items()}
        done = self.forward(backend, leaf)
        results = [done.output, *done.state]
        loss = sum((one * by.to(dtype)).sum() for one, by in zip(results, self.weigh, strict=True))
        gradients = torch.autograd.grad(loss, list(leaf.values()), allow_unused=self.resets is None)
        named = dict(zip((f"gradient of {name}" for name in leaf), gradients, strict=True))
        values = dict(zip(["output", *self.cell.states], results, strict=True))
        return values | {name: value for name, value in named.items() if value is not None}


def error(got: Tensor, exact: Tensor) -> float:
    return float(((got.double() - exact).abs().max() / exact.abs().max().clamp_min(1)).detach())


def check(problems: list[Problem], dtype: torch.dtype = torch.float32) -> None:
    """The house's rule: at most four times the error of the plain loop in the same dtype, and 1e-7."""
    fast, plain = defaultdict(float), defaultdict(float)
    for problem in problems:
        exact = problem.run("reference", torch.float64)
        for worst, backend in ((fast, "triton"), (plain, "reference")):
            run = problem.run(backend, dtype)
            assert run.keys() == exact.keys()
            for name, value in run.items():
                assert value.dtype == dtype, name
                worst[name] = max(worst[name], error(value, exact[name]))
    for name in fast:
        assert fast[name] <= 4 * plain[name] + 1e-7, name


@CELLS
@pytest.mark.parametrize("resets", [False, True], ids=["", "resets"])
@pytest.mark.parametrize("ragged", [False, True], ids=["dense", "ragged"])
def test_tiny(cell: Cell, ragged: bool, resets: bool) -> None:
    check([Problem(cell, 4, 13, 15, ragged, resets)])


@CELLS
def test_several_programs_and_tiles(cell: Cell) -> None:
    """17 rows are two programs; 70 units are two tiles to write and three to read, the last ones part full."""
    check([Problem(cell, 3, 17, 70)])


@CELLS
def test_one_unit_one_step_without_bias(cell: Cell) -> None:
    # So few numbers that some draws of the plain loop are exact by luck; many draws are not.
    check([Problem(cell, 1, 1, 1, bias=False, seed=seed) for seed in range(20)])


def distance_to_the_kink(problem: Problem) -> float:
    """The least |preactivation| of a relu network: one that rounding moves over 0 takes its gradient along."""
    cell = replace(rnn_relu, gates=("p",), step=lambda x, h, _: ((x + h,), (torch.relu(x + h),)))
    problem = copy(problem)
    problem.cell = cell
    done = problem.forward("reference", problem.leaves)
    assert done.scan is not None
    inside = torch.ones_like(done.scan.gates["p"]) if problem.ragged is None else problem.ragged.inside
    return float(done.scan.gates["p"].abs().where(inside.bool(), torch.inf).min())


@CELLS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_half_precision(cell: Cell, dtype: torch.dtype) -> None:
    if cell is rnn_relu:
        few = (Problem(cell, 4, 3, 5, seed=seed) for seed in range(100))
        check([problem for problem in few if distance_to_the_kink(problem) > 2**-6][:4], dtype)
    else:
        check([Problem(cell, 4, 16, 16, seed=seed) for seed in range(2)], dtype)


@CELLS
def test_inference_gives_the_bits_of_training(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without gradients no gate is kept, and c for two steps only."""
    # Not at the top: it imports the kernels, which need the package.
    from storyline.kernels.triton import scan

    problem = Problem(cell, 5, 3, 5)
    trained = problem.run("triton", torch.float32)
    kernel, saved = scan.forward_kernel, []

    class Spy:
        def __getitem__(self, grid: tuple[int]) -> Any:
            return lambda *given, **known: (saved.append(known["SAVE"]), kernel[grid](*given, **known))

    monkeypatch.setattr(scan, "forward_kernel", Spy())
    leaves = {name: value.clone().requires_grad_() for name, value in problem.leaves.items()}
    with torch.no_grad():
        inferred = problem.forward("triton", leaves)
    assert saved == [False]
    for name, value in zip(["output", *cell.states], [inferred.output, *inferred.state], strict=True):
        assert torch.equal(value, trained[name]), name


@CELLS
def test_rows_do_not_know_each_other(cell: Cell) -> None:
    """NaN in one row stays there, and does not move a bit of the others; a row alone is the same row."""
    problem = Problem(cell, 4, 3, 5, resets=False)
    with torch.no_grad():
        together = problem.forward("triton", problem.leaves).output
        poisoned = dict(problem.leaves, input=problem.leaves["input"].clone())
        poisoned["input"][0, 1] = float("nan")
        output = problem.forward("triton", poisoned).output
        assert output[0, 1].isnan().all()
        assert torch.equal(output[:, [0, 2]], together[:, [0, 2]])
        alone = {name: value[:1] if name[1] == "_" else value for name, value in problem.leaves.items()}
        alone["input"] = alone["input"][:, :1]
        problem.ragged = Ragged(problem.ragged.lengths[:1], 4)
        # cuBLAS and oneDNN project one row in another order than three.
        torch.testing.assert_close(problem.forward("triton", alone).output, together[:, :1])


def test_large_preactivations_do_not_overflow() -> None:
    weights = Weights(torch.full((4, 1), 1e30, device=DEVICE), torch.zeros(4, 1, device=DEVICE))
    zero = (torch.zeros(2, 1, device=DEVICE),) * 2
    input = torch.tensor([[[1.0], [-1.0]]], device=DEVICE)
    done = recurrence("triton", lstm, weights, input, zero, zero)
    torch.testing.assert_close(done.state[1].cpu(), torch.tensor([[1.0], [0.0]]), rtol=0, atol=0)


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU], ids=lambda kind: kind.__name__)
def test_layers_run_on_it(kind: type[RNN] | type[LSTM] | type[GRU]) -> None:
    torch.manual_seed(0)
    layer = kind(3, 5, num_layers=2, bidirectional=True, batch_first=True, backend="triton").to(DEVICE)
    input = torch.randn(3, 4, 3, device=DEVICE)
    resets = torch.rand(3, 4, device=DEVICE) < 0.3
    fast, last = layer(input, lengths=[2, 4, 3], resets=resets)
    assert layer.last_backend == ("triton", "asked for")
    layer.backend = "reference"
    plain, plain_last = layer(input, lengths=[2, 4, 3], resets=resets)
    torch.testing.assert_close(fast, plain)
    torch.testing.assert_close(last, plain_last)


def test_autocast_narrows_the_products_and_keeps_the_dtype_of_the_state() -> None:
    layer = LSTM(3, 5, backend="triton").to(DEVICE)
    with torch.autocast(DEVICE, torch.bfloat16):
        output, (h, c) = layer(torch.randn(4, 2, 3, device=DEVICE))
    assert (output.dtype, h.dtype, c.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    output.float().sum().backward()
    assert all(weight.grad.dtype == torch.float32 for weight in layer.parameters())


def test_kernels_compile_for_a_gpu(tmp_path: Path) -> None:
    """For compute capability 8.6, whose programs have the least shared memory of all that are common: 99 KiB."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("compile_triton.py"), "86"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kernels = [line.split() for line in done.stdout.splitlines()]
    assert len(kernels) == 14
    for *_, shared, barriers in kernels:
        assert int(shared) <= 99 * 1024
        assert barriers == "1", "h must be ordered by a barrier at the end of a step that is not pipelined"
