"""A stack of any cell, a user's own included."""

from __future__ import annotations

from typing import Any, final

import torch

from storyline.cells import CELLS, Cell
from storyline.layers.parameters import SHARED
from storyline.layers.recurrent import Recurrent
from storyline.layers.rnn import Device


@final
class CellStack(Recurrent):
    """A recurrent stack of `cell`, which may be your own: an equation in torch, and all else comes with it.

    The minimal gated unit (Zhou et al. 2016), its gate applied after the product as in the GRU of torch.nn:

        import torch
        from storyline import CellStack
        from storyline.cells import Cell

        def step(gates_x, gates_h, state):
            (h,) = state
            x_f, x_n = gates_x.chunk(2, dim=-1)         # W_f x_t + b_f, W_n x_t + b_n
            h_f, h_n = gates_h.chunk(2, dim=-1)         # U_f h_(t-1) + d_f, U_n h_(t-1) + d_n
            f = torch.sigmoid(x_f + h_f)
            n = torch.tanh(x_n + f * h_n)
            return (f, n), ((1 - f) * h + f * n,)

        mgu = Cell("mgu", gates=("f", "n"), states=("h",), preactivations=2, step=step)
        layer = CellStack(mgu, 8, 16, num_layers=2, bidirectional=True)
        output, h_n = layer(torch.randn(5, 3, 8), lengths=[5, 2, 4])

    Parameters that only your cell has are `OwnParameter`s in `Cell.parameters`, and arguments of the step behind
    the state. The layer runs the plain loop, as fast as its step is; gradients are autograd's. To pickle
    the layer, define the step at the top of a module.

    The other arguments, forward, step and initial_state are explained at `Recurrent`.
    Raises ValueError where the step returns something other than what the cell says, or where the cell takes
    the name of one of storyline's without being it.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        zoneout: float | tuple[float, ...] = 0.0,
        recurrent_dropout: float = 0.0,
        learn_initial_state: bool = False,
        backend: str = "auto",
        checkpoint_every: int | None = None,
    ) -> None:
        check_cell(cell)
        super().__init__(
            cell,
            input_size,
            hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
            zoneout=zoneout,
            recurrent_dropout=recurrent_dropout,
            learn_initial_state=learn_initial_state,
            backend=backend,
            checkpoint_every=checkpoint_every,
            variant=f", cell={cell.name}",
        )


def check_cell(cell: Any) -> None:
    """Refuse a cell that a stack cannot run, after one step of it on zeros."""
    if not isinstance(cell, Cell):
        raise TypeError(f"cell is a {type(cell).__name__}; it must be a storyline.cells.Cell")
    house = CELLS.get(cell.name)
    if house is not None:
        if house.step is not cell.step:
            # Backends choose their fast path by the name.
            raise ValueError(f"{cell.name!r} is the name of one of storyline's cells; give yours another")
        return
    if cell.states[:1] != ("h",):
        raise ValueError(f"the states of cell {cell.name!r} are {cell.states}; the first one must be 'h'")
    names = [*SHARED, *(f"{name}_0" for name in cell.states), *(each.name for each in cell.parameters)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"cell {cell.name!r} has {twice[0]!r} twice; every parameter needs its own name")
    batch, size = 2, 3 * cell.heads
    gates_x = torch.zeros(batch, cell.preactivations * size)
    own = [torch.zeros(each.shape(size)) for each in cell.parameters]
    state = tuple(torch.zeros(batch, size) for _ in cell.states)
    with torch.no_grad():
        gates, after = cell.step(gates_x, gates_x.clone(), state, *own)
    for what, names_, values in (("gates", cell.gates, gates), ("states", cell.states, after)):
        shapes = [tuple(each.shape) for each in values]
        if shapes != [(batch, size)] * len(names_):
            raise ValueError(
                f"the step of cell {cell.name!r} returned {what} of shapes {shapes}; it must return one tensor "
                f"(batch, hidden_size) = {(batch, size)} for each of {names_}"
            )
