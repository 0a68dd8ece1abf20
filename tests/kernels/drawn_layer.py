"""One layer in one direction with drawn weights, and one call of it: the results and all gradients, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from storyline.cells import CELLS, Cell, State
from storyline.kernels import Ragged, Weights, native, recurrence

CELL_NAMES = list(native.cells())
# Those whose kernel has a projection too.
LAYERS = [*CELL_NAMES, *(f"{name}-projected" for name in CELL_NAMES if name == "lstm")]


@dataclass(frozen=True)
class DrawnLayer:
    """Weights of a cell, and one state (1, size) a name in `cell.states`; all of one dtype."""

    cell: Cell
    weights: Weights
    state: State

    def named(self) -> dict[str, Tensor]:
        """The parameters that are there, the cell's own included."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        held = {name: getattr(self.weights, name) for name in names}
        own = {each.name: value for each, value in zip(self.cell.parameters, self.weights.own, strict=True)}
        return {name: value for name, value in (held | own).items() if value is not None}

    def states(self, batch: int, seed: int = 1) -> State:
        """Drawn states of a batch, (batch, size) a name."""
        generator = torch.Generator().manual_seed(seed)
        return tuple(
            _state(name, torch.randn(batch, each.shape[1], generator=generator).to(each.dtype))
            for name, each in zip(self.cell.states, self.state, strict=True)
        )


def draw_layer(
    name: str,
    input_size: int = 5,
    hidden_size: int = 8,
    dtype: torch.dtype = torch.float32,
    *,
    bias: bool = True,
    requires_grad: bool = True,
) -> DrawnLayer:
    """A layer by its name in LAYERS; a projection takes 3/5 of the hidden size, rounded up."""
    cell = CELLS[name.removesuffix("-projected")]
    hidden_size = -(-hidden_size // cell.heads) * cell.heads
    projected = -(-3 * hidden_size // 5) if name.endswith("-projected") else None
    h_size = projected or hidden_size
    generator = torch.Generator().manual_seed(hidden_size)

    def draw(*shape: int) -> Tensor:
        values = torch.randn(*shape, generator=generator) * hidden_size**-0.5
        return values.to(dtype).requires_grad_(requires_grad)

    rows = cell.preactivations * hidden_size
    biased = bias and not cell.has_own_bias
    weights = Weights(
        draw(rows, input_size), draw(rows, h_size // cell.heads), draw(rows) if biased else None,
        draw(rows) if biased else None, draw(projected, hidden_size) if projected else None,
        tuple(draw(*each.shape(hidden_size)) for each in cell.parameters),
    )  # fmt: skip
    sizes = [h_size] + [hidden_size] * (len(cell.states) - 1)
    state = tuple(_state(name, draw(1, size).detach()) for name, size in zip(cell.states, sizes, strict=True))
    return DrawnLayer(cell, weights, state)


@dataclass(frozen=True)
class Given:
    """What a call is given beside the layer. weigh: the output's gradient, then those of the last states."""

    input: Tensor
    state: State
    fresh: State
    weigh: Sequence[Tensor | None]
    lengths: Tensor | None = None
    resets: Tensor | None = None
    reverse: bool = False


def draw_given(layer: DrawnLayer, time: int, batch: int, seed: int = 0) -> Given:
    """A dense batch without resets, drawn."""
    generator = torch.Generator().manual_seed(seed)
    kind = layer.weights.weight_ih

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(kind.dtype)

    sizes = [each.shape[1] for each in layer.state]
    return Given(
        draw(time, batch, kind.shape[1]), layer.states(batch, seed + 1), layer.states(batch, seed + 2),
        [draw(time, batch, sizes[0]), *(draw(batch, size) for size in sizes)],
    )  # fmt: skip


def call(layer: DrawnLayer, given: Given, backend: str = "cpu") -> dict[str, Tensor]:
    """Output and last states, and the gradients of input, states, fresh states and parameters."""
    leaf = {"input": given.input.detach().requires_grad_()}
    states = layer.cell.states
    for which, values in (("_0", given.state), ("_fresh", given.fresh)):
        for name, value in zip(states, values, strict=True):
            leaf[name + which] = value.detach().requires_grad_()
    ragged = None if given.lengths is None else Ragged(given.lengths, given.input.shape[0])
    done = recurrence(
        backend, layer.cell, layer.weights, leaf["input"], tuple(leaf[f"{name}_0"] for name in states),
        tuple(leaf[f"{name}_fresh"] for name in states), ragged, given.resets, reverse=given.reverse,
    )  # fmt: skip
    results = dict(zip(["output", *states], [done.output, *done.state], strict=True))
    pairs = [(r, w) for r, w in zip(results.values(), given.weigh, strict=True) if w is not None]
    wanted = leaf | layer.named()
    gradients = torch.autograd.grad(
        [result for result, _ in pairs], list(wanted.values()), [weigh for _, weigh in pairs],
        allow_unused=True, materialize_grads=True,
    )  # fmt: skip
    named = {f"gradient of {name}": value for name, value in zip(wanted, gradients, strict=True)}
    return {name: value.detach() for name, value in (results | named).items()}


def of_rows(layer: DrawnLayer) -> set[str]:
    """The names of those results of `call` that belong to one row of the batch; the others are sums over rows."""
    states = layer.cell.states
    of_states = {f"gradient of {name}_{which}" for name in states for which in ("0", "fresh")}
    return {"output", *states, "gradient of input", *of_states}


def _state(name: str, values: Tensor) -> Tensor:
    # The n of an sLSTM is the weight of what was written, and above 0.
    return values.abs() + 0.5 if name == "n" else values
