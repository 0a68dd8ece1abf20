"""A user's own cell: a few lines of torch, and everything else that a layer does."""

from __future__ import annotations

import inspect
import re
import textwrap
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from storyline.cells import CELLS, Cell, OwnParameter, vector
from storyline.layers import LSTM, CellStack


def example() -> dict[str, Any]:
    """The names that the example in the docstring leaves behind."""
    lines = inspect.getdoc(CellStack).split("\n\n    import torch", 1)
    code = textwrap.dedent("    import torch" + lines[1].split("Parameters that only your cell", 1)[0])
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def test_the_example_of_the_docstring() -> None:
    names = example()
    assert names["output"].shape == (5, 3, 32)
    assert names["h_n"].shape == (4, 3, 16)
    assert not names["output"][2:, 1].any()
    assert repr(names["layer"]) == "CellStack(8, 16, num_layers=2, bidirectional=True, cell=mgu)"
    # one unit, written out: Zhou et al. 2016, eq. 6a-6c, the gate after the product
    layer = CellStack(names["mgu"], 1, 1, bias=False, dtype=torch.float64)
    w_f, w_n = layer.weight_ih_l0.flatten().tolist()
    u_f, u_n = layer.weight_hh_l0.flatten().tolist()
    f = torch.sigmoid(torch.tensor(w_f * 2 + u_f * 0.5, dtype=torch.float64))
    n = torch.tanh(w_n * 2 + f * (u_n * 0.5))
    output, _ = layer(torch.full((1, 1, 1), 2.0).double(), torch.full((1, 1, 1), 0.5).double())
    assert output.item() == pytest.approx(float((1 - f) * 0.5 + f * n), abs=1e-15)


def leaky(gates_x: Tensor, gates_h: Tensor, state: Any, leak: Tensor, mix: Tensor) -> Any:
    """A leaky integrator whose cell state is mixed by a matrix of its own."""
    h, c = state
    c = torch.sigmoid(leak) * c @ mix + torch.tanh(gates_x + gates_h)
    return (), (torch.tanh(c) + 0 * h, c)


def square(hidden_size: int) -> tuple[int, ...]:
    return hidden_size, hidden_size


LEAKY = Cell(
    "leaky", (), ("h", "c"), 1, leaky,
    parameters=(OwnParameter("leak", vector(1), start=0.5), OwnParameter("mix", square)),
)  # fmt: skip


def test_all_else_comes_with_it() -> None:
    torch.manual_seed(0)
    layer = CellStack(
        LEAKY, 3, 4, num_layers=2, batch_first=True, learn_initial_state=True, zoneout=(0.1, 0.2),
        recurrent_dropout=0.2, dtype=torch.float64,
    )  # fmt: skip
    assert layer.get_parameter("mix_l1").shape == (4, 4)
    assert (layer.get_parameter("leak_l1") == 0.5).all()
    layer(torch.randn(2, 5, 3, dtype=torch.float64))[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())
    layer.eval()
    input = torch.randn(2, 5, 3, dtype=torch.float64)
    resets = torch.tensor([[False, False, True, False, False], [False] * 5])
    output, _, trace = layer(input, lengths=[5, 3], resets=resets, return_trace=True)
    assert set(trace.states) == {"h_l0", "c_l0", "h_l1", "c_l1"}
    torch.testing.assert_close(output[:1, 2:], layer(input[:1, 2:])[0], rtol=0, atol=1e-13)
    state, steps = None, []
    for t in range(3):
        step, state = layer.step(input[:, t], state)
        steps.append(step[1])
    torch.testing.assert_close(output[1, :3], torch.stack(steps), rtol=0, atol=1e-13)


@pytest.mark.parametrize("heads", [1, 2])
def test_a_built_in_cell_may_be_stacked_too(heads: int) -> None:
    torch.manual_seed(1)
    stack = CellStack(CELLS["lstm"], 3, 4, 2)
    torch.manual_seed(1)
    layer = LSTM(3, 4, 2)
    input = torch.randn(5, 2, 3)
    assert torch.equal(stack(input)[0], layer(input)[0])
    assert CellStack(replace(CELLS["slstm"], heads=heads), 3, 4)(input)[0].shape == (5, 2, 4)


def two(gates_x: Tensor, gates_h: Tensor, state: Any) -> Any:
    return (gates_x,), (*state, gates_x)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (Cell("lstm", ("f",), ("h",), 1, two), "'lstm' is the name of one of storyline's cells; give yours another"),
        (Cell("mine", ("f",), ("c",), 1, two), "the states of cell 'mine' are ('c',); the first one must be 'h'"),
        (
            Cell("mine", ("f",), ("h",), 1, two),
            "the step of cell 'mine' returned states of shapes [(2, 3), (2, 3)]; it must return one tensor "
            "(batch, hidden_size) = (2, 3) for each of ('h',)",
        ),
        (
            Cell("mine", ("f",), ("h",), 2, two),
            "the step of cell 'mine' returned gates of shapes [(2, 6)]; it must return one tensor",
        ),
        (
            Cell("mine", (), ("h",), 1, two, parameters=(OwnParameter("weight_hh", vector(1)),)),
            "cell 'mine' has 'weight_hh' twice; every parameter needs its own name",
        ),
    ],
)  # fmt: skip
def test_refused(cell: Cell, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        CellStack(cell, 3, 4)


def test_other_objects_and_zoneout_of_joined_states() -> None:
    with pytest.raises(TypeError, match="cell is a str; it must be a storyline"):
        CellStack("lstm", 3, 4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="slstm has the states h, c, n, m, which belong together"):
        CellStack(CELLS["slstm"], 3, 4, zoneout=0.1)
    with pytest.raises(ValueError, match="which gate of leaky keeps its state is not known"):
        CellStack(LEAKY, 3, 4).stretch(2.0)
