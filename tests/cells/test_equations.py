"""Each cell against the textbook, written out unit by unit in NumPy without a line of the package's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from storyline.cells import Cell, gru, lstm, rnn_relu, rnn_tanh, scan

TIME, BATCH, INPUT, HIDDEN, PROJECTED = 5, 3, 2, 4, 3

Array = np.ndarray


def sigma(a: float) -> float:
    return 1.0 / (1.0 + np.exp(-a))


def textbook_rnn(squash, x: Array, h: Array, W: Array, U: Array, b: Array, d: Array) -> list[Array]:
    new = [squash(W[k] @ x + b[k] + U[k] @ h + d[k]) for k in range(HIDDEN)]
    return [np.array(new)]


def textbook_lstm(x: Array, h: Array, c: Array, W: Array, U: Array, b: Array, d: Array) -> list[Array]:
    names = ["i", "f", "g", "o", "c", "h"]
    out = {name: np.zeros(HIDDEN) for name in names}
    for k in range(HIDDEN):
        a = {gate: W[n * HIDDEN + k] @ x + b[n * HIDDEN + k] + U[n * HIDDEN + k] @ h + d[n * HIDDEN + k]
             for n, gate in enumerate("ifgo")}  # fmt: skip
        out["i"][k], out["f"][k], out["o"][k] = sigma(a["i"]), sigma(a["f"]), sigma(a["o"])
        out["g"][k] = np.tanh(a["g"])
        out["c"][k] = out["f"][k] * c[k] + out["i"][k] * out["g"][k]
        out["h"][k] = out["o"][k] * np.tanh(out["c"][k])
    return [out[name] for name in ("h", "c", "i", "f", "g", "o")]


def textbook_gru(x: Array, h: Array, W: Array, U: Array, b: Array, d: Array) -> list[Array]:
    r, z, n, new = (np.zeros(HIDDEN) for _ in range(4))
    for k in range(HIDDEN):
        z_row, n_row = HIDDEN + k, 2 * HIDDEN + k
        r[k] = sigma(W[k] @ x + b[k] + U[k] @ h + d[k])
        z[k] = sigma(W[z_row] @ x + b[z_row] + U[z_row] @ h + d[z_row])
        n[k] = np.tanh(W[n_row] @ x + b[n_row] + r[k] * (U[n_row] @ h + d[n_row]))
        new[k] = (1 - z[k]) * n[k] + z[k] * h[k]
    return [new, r, z, n]


TEXTBOOK = {
    "rnn_tanh": lambda *a: textbook_rnn(np.tanh, *a),
    "rnn_relu": lambda *a: textbook_rnn(lambda v: max(v, 0.0), *a),
    "lstm": textbook_lstm,
    "gru": textbook_gru,
}


@pytest.mark.parametrize(
    ("cell", "projected"),
    [(rnn_tanh, False), (rnn_relu, False), (lstm, False), (lstm, True), (gru, False)],
    ids=["rnn_tanh", "rnn_relu", "lstm", "lstm-projected", "gru"],
)
def test_scan_is_the_textbook(cell: Cell, projected: bool) -> None:
    random = np.random.default_rng(3)
    rows, h_size = cell.preactivations * HIDDEN, PROJECTED if projected else HIDDEN
    x = random.normal(size=(TIME, BATCH, INPUT))
    W, U = random.normal(size=(rows, INPUT)), random.normal(size=(rows, h_size))
    b, d = random.normal(size=rows), random.normal(size=rows)
    P = random.normal(size=(PROJECTED, HIDDEN)) if projected else None
    sizes = [h_size] + [HIDDEN] * (len(cell.states) - 1)
    initial = [random.normal(size=(BATCH, size)) for size in sizes]
    lengths = np.array([5, 1, 3])
    resets = np.zeros((TIME, BATCH), dtype=bool)
    resets[2, 0] = resets[0, 1] = resets[1, 2] = resets[4, 2] = True  # the last is beyond its row's length
    fresh = [random.normal(size=(BATCH, size)) for size in sizes]

    tensor = torch.from_numpy
    got = scan(
        cell,
        tensor(x @ W.T + b),
        tuple(map(tensor, initial)),
        tensor(U),
        tensor(d),
        tensor(lengths),
        tensor(resets),
        tuple(map(tensor, fresh)),
        None if P is None else tensor(P),
    )

    for row in range(BATCH):
        state = [each[row] for each in initial]
        for name, value in zip(cell.states, state, strict=True):
            np.testing.assert_array_equal(got.states[name][0, row], value)
        for t in range(TIME):
            gates = {name: np.zeros(HIDDEN) for name in cell.gates}
            if t < lengths[row]:
                if resets[t, row]:
                    state = [each[row] for each in fresh]
                new = TEXTBOOK[cell.name](x[t, row], *state, W, U, b, d)
                state, values = new[: len(state)], new[len(state) :]
                if P is not None:
                    state[0] = P @ state[0]
                gates = dict(zip(cell.gates, values, strict=True))
            for name, value in zip(cell.states, state, strict=True):
                np.testing.assert_allclose(got.states[name][t + 1, row], value, rtol=0, atol=1e-13)
            for name, value in gates.items():
                np.testing.assert_allclose(got.gates[name][t, row], value, rtol=0, atol=1e-13)


@pytest.mark.parametrize("cell", [rnn_tanh, rnn_relu, lstm, gru], ids=lambda cell: cell.name)
def test_gradients_of_the_scan_are_those_of_finite_differences(cell: Cell) -> None:
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    rows = 2 * cell.preactivations
    state = [draw(2, 2) for _ in cell.states]
    fresh = [draw(2, 2) for _ in cell.states]
    resets = torch.tensor([[False, False], [False, True], [True, False]])

    def run(gates_x, weight_hh, bias_hh, *states):
        half = len(states) // 2
        got = scan(
            cell, gates_x, states[:half], weight_hh, bias_hh, torch.tensor([3, 2]), resets, states[half:]
        )
        return (*got.states.values(), *got.gates.values())

    assert torch.autograd.gradcheck(run, (draw(3, 2, rows), draw(rows, 2), draw(rows), *state, *fresh))


def test_a_held_state_takes_no_reset() -> None:
    resets = torch.tensor([[False], [True], [True]])
    state = (torch.tensor([[0.5]]),)
    got = scan(rnn_tanh, torch.ones(3, 1, 1), state, torch.ones(1, 1), None, torch.tensor([1]), resets)
    assert got.states["h"][1].item() == pytest.approx(np.tanh(1.5))
    assert (got.states["h"][2:] == got.states["h"][1]).all()
