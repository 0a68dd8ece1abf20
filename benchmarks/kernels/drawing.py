"""Random cases: a group of them shares a layer's sizes; each has weights, lengths, layouts and threads of its own.

The cases of a group are padded to common sizes and stacked, so that the reference runs them all at once: rows and
steps beyond a case's own have no weight in the loss, and features beyond its own are 0.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from storyline.cells import CELLS, Cell
from storyline.kernels import native

CASES_A_GROUP = 40


@dataclass(frozen=True)
class Case:
    """What is a case's own, beside its numbers. layouts: a name in LAYOUTS for what the kernels are given."""

    time: int
    batch: int
    input_size: int
    ragged: bool
    resets: bool
    threads: int
    layouts: dict[str, str]


@dataclass(frozen=True)
class Group:
    """Cases of one layer; all tensors begin with the dimension of the cases, and hold float32 numbers in float64.

    leaves: input, parameters, states `h_0`, fresh states `h_fresh`, by name. weigh: the gradients of the output
    and of the last states. lengths (cases, batch); resets (cases, time, batch).
    """

    cell: Cell
    name: str
    reverse: bool
    cases: list[Case]
    leaves: dict[str, Tensor]
    weigh: list[Tensor]
    lengths: Tensor
    resets: Tensor

    @property
    def hidden_size(self) -> int:
        return int(self.leaves["weight_ih"].shape[1]) // self.cell.preactivations


def layers() -> list[str]:
    """The cells that have a native kernel, and `-projected` where that takes a projection."""
    names = list(native.cells())
    return names + [f"{name}-projected" for name in names if name == "lstm"]


def draw_group(seed: int, index: int) -> Group:
    """The same group for the same seed and index, on any machine."""
    rng = random.Random(f"{seed} {index}")
    name = rng.choice(layers())
    cell = CELLS[name.removesuffix("-projected")]
    big = rng.random() < 0.03
    hidden_size = rng.randint(41, 300) if big else rng.randint(1, 40)
    hidden_size = -(-hidden_size // cell.heads) * cell.heads
    time = rng.randint(1, 40)
    batch = rng.randint(1, max(1, 400 // time)) if big else rng.randint(1, 20)
    input_size = rng.randint(1, 300 if big else 40)
    projected = rng.randint(1, hidden_size) if name.endswith("-projected") else None
    threads = rng.choice(
        (1, 1, 1, 1, 2, 3)
    )  # of a group: a team of another size costs more to make than a case
    cases = [_draw_case(rng, (time, batch, input_size), threads) for _ in range(5 if big else CASES_A_GROUP)]
    generator = torch.Generator().manual_seed(rng.getrandbits(60))
    sizes = [projected or hidden_size] + [hidden_size] * (len(cell.states) - 1)
    leaves = _draw_leaves(cell, cases, (time, batch, input_size), sizes, projected, rng, generator)
    count = (len(cases), time, batch)
    lengths = torch.stack([_draw_lengths(case, batch, generator) for case in cases])
    rare = torch.rand(count, generator=generator) < rng.choice((0.02, 0.2, 0.9))
    resets = rare & torch.tensor([case.resets for case in cases]).view(-1, 1, 1)
    inside = torch.tensor([[b < case.batch for b in range(batch)] for case in cases]).unsqueeze(-1)
    steps = torch.arange(time).view(1, -1, 1) < lengths.unsqueeze(1)
    weigh = [_normal(generator, *count, sizes[0]) * (steps.unsqueeze(-1) & inside.unsqueeze(1))]
    weigh += [_normal(generator, len(cases), batch, size) * inside for size in sizes]
    return Group(cell, name, rng.random() < 0.4, cases, leaves, weigh, lengths, resets)


def _draw_case(rng: random.Random, most: tuple[int, int, int], threads: int) -> Case:
    kinds = ("input", "weights", "states", "gradients")
    return Case(
        *(rng.randint(1, each) for each in most), rng.random() < 0.6, rng.random() < 0.4, threads,
        {kind: rng.choice(tuple(LAYOUTS)) for kind in kinds},
    )  # fmt: skip


def _draw_lengths(case: Case, batch: int, generator: torch.Generator) -> Tensor:
    if not case.ragged:
        return torch.full((batch,), case.time)
    return torch.randint(1, case.time + 1, (batch,), generator=generator)


def _draw_leaves(
    cell: Cell, cases: list[Case], shape: tuple[int, int, int], sizes: list[int], projected: int | None,
    rng: random.Random, generator: torch.Generator,
) -> dict[str, Tensor]:  # fmt: skip
    (time, batch, input_size), hidden_size = shape, sizes[-1]  # a projected cell has a state beside h
    rows, scale, count = cell.preactivations * hidden_size, hidden_size**-0.5, len(cases)
    features = torch.tensor([[i < case.input_size for i in range(input_size)] for case in cases])
    shapes = {"weight_ih": (rows, input_size), "weight_hh": (rows, sizes[0] // cell.heads)}
    if not cell.has_own_bias and rng.random() < 0.8:
        shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
    if projected is not None:
        shapes["weight_hr"] = (projected, hidden_size)
    leaves = {"input": _normal(generator, count, time, batch, input_size) * features.view(count, 1, 1, -1)}
    leaves |= {name: _normal(generator, count, *each) * scale for name, each in shapes.items()}
    leaves |= {each.name: _normal(generator, count, *each.shape(hidden_size)) for each in cell.parameters}
    leaves["weight_ih"] = leaves["weight_ih"] * features.unsqueeze(1)
    for which in ("0", "fresh"):
        for name, size in zip(cell.states, sizes, strict=True):
            drawn = _normal(generator, count, batch, size)
            # The n of an sLSTM is the weight of what was written, and above 0.
            leaves[f"{name}_{which}"] = drawn.abs() + 0.5 if name == "n" else drawn
    return {name: value.float().double() for name, value in leaves.items()}


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator).double()


def _plain(values: Tensor) -> Tensor:
    return values.contiguous()


def _second_dimension_outermost(values: Tensor) -> Tensor:
    return values.transpose(0, 1).contiguous().transpose(0, 1) if values.dim() > 1 else _plain(values)


def _gapped(values: Tensor) -> Tensor:
    """From the second number of a buffer on, with a gap of three behind each row, full of NaN."""
    size = values.shape[-1]
    buffer = values.new_full((values.numel() // size * (size + 3) + 1,), float("nan"))
    return buffer[1:].view(*values.shape[:-1], size + 3)[..., :size].copy_(values)


def _last_not_dense(values: Tensor) -> Tensor:
    return torch.stack([values, torch.full_like(values, float("nan"))], dim=-1)[..., 0]


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": _plain,
    "second dimension outermost": _second_dimension_outermost,
    "gapped": _gapped,
    "last not dense": _last_not_dense,
}
