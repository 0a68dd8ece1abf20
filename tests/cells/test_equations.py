"""Each cell against the textbook, written out unit by unit in NumPy without a line of the package's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from storyline.cells import CELLS, Cell, Noise, rnn_tanh, scan

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


def textbook_peephole(
    x: Array, h: Array, c: Array, W: Array, U: Array, b: Array, d: Array, p_i: Array, p_f: Array, p_o: Array
) -> list[Array]:
    i, f, g, o, c_new, h_new = (np.zeros(HIDDEN) for _ in range(6))
    for k in range(HIDDEN):
        a_i, a_f, a_g, a_o = (W[n] @ x + b[n] + U[n] @ h + d[n] for n in range(k, 4 * HIDDEN, HIDDEN))
        i[k], f[k], g[k] = sigma(a_i + p_i[k] * c[k]), sigma(a_f + p_f[k] * c[k]), np.tanh(a_g)
        c_new[k] = f[k] * c[k] + i[k] * g[k]
        o[k] = sigma(a_o + p_o[k] * c_new[k])
        h_new[k] = o[k] * np.tanh(c_new[k])
    return [h_new, c_new, i, f, g, o]


def textbook_coupled(x: Array, h: Array, c: Array, W: Array, U: Array, b: Array, d: Array) -> list[Array]:
    f, g, o, c_new, h_new = (np.zeros(HIDDEN) for _ in range(5))
    for k in range(HIDDEN):
        a_f, a_g, a_o = (W[n] @ x + b[n] + U[n] @ h + d[n] for n in range(k, 3 * HIDDEN, HIDDEN))
        f[k], g[k], o[k] = sigma(a_f), np.tanh(a_g), sigma(a_o)
        c_new[k] = f[k] * c[k] + (1 - f[k]) * g[k]
        h_new[k] = o[k] * np.tanh(c_new[k])
    return [h_new, c_new, f, g, o]


def normal(a: Array) -> Array:
    """Layer normalisation without gain and shift."""
    mean = a.sum() / a.size
    return (a - mean) / np.sqrt(((a - mean) ** 2).sum() / a.size + 1e-5)


def textbook_lstm_norm(
    x: Array, h: Array, c: Array, W: Array, U: Array, b: None, d: None,
    gain_x: Array, gain_h: Array, bias: Array, gain_c: Array, shift_c: Array,
) -> list[Array]:  # fmt: skip
    a = gain_x * normal(W @ x) + gain_h * normal(U @ h) + bias
    i, f, g, o = (a[n * HIDDEN : (n + 1) * HIDDEN] for n in range(4))
    i, f, g, o = sigma(i), sigma(f), np.tanh(g), sigma(o)
    c_new = f * c + i * g
    return [o * np.tanh(gain_c * normal(c_new) + shift_c), c_new, i, f, g, o]


def textbook_gru_norm(
    x: Array, h: Array, W: Array, U: Array, b: None, d: None,
    gain_x: Array, gain_h: Array, bias: Array, shift_n: Array,
) -> list[Array]:  # fmt: skip
    first, last = slice(0, 2 * HIDDEN), slice(2 * HIDDEN, 3 * HIDDEN)
    both = gain_x[first] * normal(W[first] @ x) + gain_h[first] * normal(U[first] @ h) + bias[first]
    r, z = sigma(both[:HIDDEN]), sigma(both[HIDDEN:])
    x_n = gain_x[last] * normal(W[last] @ x) + bias[last]
    n = np.tanh(x_n + r * (gain_h[last] * normal(U[last] @ h) + shift_n))
    return [(1 - z) * n + z * h, r, z, n]


def textbook_slstm(
    x: Array, h: Array, c: Array, n: Array, m: Array, W: Array, R: Array, b: Array, d: Array
) -> list[Array]:
    """Without a stabiliser (eq. 8-14), whose c and n are those with one times exp(m)."""
    out = np.zeros((8, HIDDEN))
    size = R.shape[1]
    for k in range(HIDDEN):
        own = h[k // size * size :][:size]
        a_i, a_f, a_z, a_o = (W[q] @ x + b[q] + R[q] @ own + d[q] for q in range(k, 4 * HIDDEN, HIDDEN))
        i, f, z, o = np.exp(a_i), sigma(a_f), np.tanh(a_z), sigma(a_o)
        bare_c = f * c[k] * np.exp(m[k]) + i * z
        bare_n = f * n[k] * np.exp(m[k]) + i
        new_m = max(np.log(f) + m[k], np.log(i))
        scale = np.exp(-new_m)
        out[:, k] = (o * bare_c / bare_n, bare_c * scale, bare_n * scale, new_m,
                     i * scale, f * np.exp(m[k]) * scale, z, o)  # fmt: skip
    return list(out)


TEXTBOOK = {
    "rnn_tanh": lambda *a: textbook_rnn(np.tanh, *a),
    "rnn_relu": lambda *a: textbook_rnn(lambda v: max(v, 0.0), *a),
    "lstm": textbook_lstm,
    "lstm_peephole": textbook_peephole,
    "lstm_coupled": textbook_coupled,
    "lstm_layer_norm": textbook_lstm_norm,
    "gru": textbook_gru,
    "gru_layer_norm": textbook_gru_norm,
    "slstm": textbook_slstm,
}


def draw_state(random: np.random.Generator, cell: Cell, batch: int, h_size: int) -> list[Array]:
    """Any state, but for the weight n of what has been written, which is above 0."""
    sizes = [h_size] + [HIDDEN] * (len(cell.states) - 1)
    state = [random.normal(size=(batch, size)) for size in sizes]
    return [abs(each) + 0.5 if name == "n" else each for name, each in zip(cell.states, state, strict=True)]


CASES = [(cell, False) for cell in CELLS.values()] + [
    (cell, True) for cell in CELLS.values() if cell.name.startswith("lstm")
]


@pytest.mark.parametrize("noisy", [False, True], ids=["", "noise"])
@pytest.mark.parametrize(
    ("cell", "projected"), CASES, ids=[f"{cell.name}{'-projected' * p}" for cell, p in CASES]
)
def test_scan_is_the_textbook(cell: Cell, projected: bool, noisy: bool) -> None:
    random = np.random.default_rng(3)
    rows, h_size = cell.preactivations * HIDDEN, PROJECTED if projected else HIDDEN
    cell = replace(cell, heads=min(cell.heads, 2))
    x = random.normal(size=(TIME, BATCH, INPUT))
    W, U = random.normal(size=(rows, INPUT)), random.normal(size=(rows, h_size // cell.heads))
    b, d = (None if cell.has_own_bias else random.normal(size=rows) for _ in range(2))
    P = random.normal(size=(PROJECTED, HIDDEN)) if projected else None
    own = [random.normal(size=each.shape(HIDDEN)) for each in cell.parameters]
    initial, fresh = (draw_state(random, cell, BATCH, h_size) for _ in range(2))
    mask = random.uniform(0, 2, size=(BATCH, h_size)) if noisy else np.ones((BATCH, h_size))
    # h is kept in part, as in evaluation; c, where there is one, by masks
    keep_h, keep_c = 0.25, random.integers(0, 2, size=(TIME, BATCH, HIDDEN)).astype(float)
    kept = [keep_h, keep_c][: len(cell.states)] if noisy and cell.name != "slstm" else []
    lengths = np.array([5, 1, 3])
    resets = np.zeros((TIME, BATCH), dtype=bool)
    resets[2, 0] = resets[0, 1] = resets[1, 2] = resets[4, 2] = True  # the last is beyond its row's length

    tensor = torch.as_tensor
    got = scan(
        cell,
        tensor(x @ W.T if b is None else x @ W.T + b),
        tuple(map(tensor, initial)),
        tensor(U),
        None if d is None else tensor(d),
        tensor(lengths),
        tensor(resets),
        tuple(map(tensor, fresh)),
        None if P is None else tensor(P),
        tuple(map(tensor, own)),
        Noise(tensor(mask), tuple(map(tensor, kept))) if noisy else None,
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
                # The mask is on what U reads, the same as one on its columns; z h of a GRU sees the bare h.
                masked = (
                    U
                    * np.resize(mask[row], (cell.heads, U.shape[1]))[
                        np.arange(rows) % HIDDEN * cell.heads // HIDDEN
                    ]
                )
                new = TEXTBOOK[cell.name](x[t, row], *state, W, masked, b, d, *own)
                after, values = new[: len(state)], new[len(state) :]
                if P is not None:
                    after[0] = P @ after[0]
                for k, keep in enumerate(kept):
                    share = keep if k == 0 else keep[t, row]
                    after[k] = share * state[k] + (1 - share) * after[k]
                state = after
                gates = dict(zip(cell.gates, values, strict=True))
            for name, value in zip(cell.states, state, strict=True):
                np.testing.assert_allclose(got.states[name][t + 1, row], value, rtol=0, atol=1e-13)
            for name, value in gates.items():
                np.testing.assert_allclose(got.gates[name][t, row], value, rtol=0, atol=1e-13)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_gradients_of_the_scan_are_those_of_finite_differences(cell: Cell) -> None:
    generator = torch.Generator().manual_seed(1)
    random = np.random.default_rng(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    cell = replace(cell, heads=min(cell.heads, 2))
    rows, k, own = HIDDEN * cell.preactivations, len(cell.states), len(cell.parameters)
    states = [*draw_state(random, cell, 2, HIDDEN), *draw_state(random, cell, 2, HIDDEN)]
    state = [torch.from_numpy(each).requires_grad_() for each in states]
    parameters = [draw(*each.shape(HIDDEN)) for each in cell.parameters]
    resets = torch.tensor([[False, False], [False, True], [True, False]])
    keep = [] if "m" in cell.states else [draw(3, 2, HIDDEN) for _ in cell.states]

    def run(gates_x, weight_hh, bias_hh, mask, *rest):
        got = scan(
            cell, gates_x, rest[:k], weight_hh, bias_hh, torch.tensor([3, 2]), resets, rest[k : 2 * k],
            own=rest[2 * k : 2 * k + own], noise=Noise(mask, rest[2 * k + own :]),
        )  # fmt: skip
        return (*got.states.values(), *got.gates.values())

    leaves = draw(3, 2, rows), draw(rows, HIDDEN // cell.heads), draw(rows), draw(2, HIDDEN)
    assert torch.autograd.gradcheck(run, (*leaves, *state, *parameters, *keep), fast_mode=True)


def test_slstm_of_an_empty_memory_writes_all() -> None:
    """Where nothing was written, h = o z however small exp(a) is; the plain quotient would be 0 / 0."""
    gates_x = torch.tensor([[-300.0, 0.0, 0.5, 0.2]], requires_grad=True)
    zero = tuple(torch.zeros(1, 1) for _ in range(4))
    cell = replace(CELLS["slstm"], heads=1)
    _, (h, c, n, m) = cell.step(gates_x, torch.zeros(1, 4), zero)
    assert h.item() == pytest.approx(sigma(0.2) * np.tanh(0.5))
    assert (c.item(), n.item(), m.item()) == (pytest.approx(np.tanh(0.5)), 1, -300)
    (gradient,) = torch.autograd.grad(h, gates_x)
    assert torch.isfinite(gradient).all()


def test_slstm_does_not_overflow() -> None:
    """exp(200) is beyond float32, and the quotient c / n is not."""
    gates_x = torch.tensor([200.0, 100.0, 0.5, 0.2]).repeat(50, 1, 1).requires_grad_()
    zero = tuple(torch.zeros(1, 1) for _ in range(4))
    got = scan(replace(CELLS["slstm"], heads=1), gates_x, zero, torch.zeros(4, 1))
    torch.testing.assert_close(got.states["h"][1:], torch.full((50, 1, 1), float(sigma(0.2) * np.tanh(0.5))))
    (gradient,) = torch.autograd.grad(got.states["h"].sum(), gates_x)
    assert torch.isfinite(gradient).all()


def test_zoneout_of_one_holds_the_state_to_the_last_bit() -> None:
    cell, generator = CELLS["lstm"], torch.Generator().manual_seed(0)
    state = tuple(torch.randn(3, 4, generator=generator) * 1e3 for _ in range(2))
    gates_x = torch.randn(5, 3, 16, generator=generator)
    held = scan(
        cell, gates_x, state, torch.zeros(16, 4), noise=Noise(zoneout=(torch.ones(()), torch.ones(5, 3, 4)))
    )
    free = scan(cell, gates_x, state, torch.zeros(16, 4))
    idle = scan(
        cell, gates_x, state, torch.zeros(16, 4), noise=Noise(torch.ones(3, 4), (torch.zeros(()), None))
    )
    for name, value in zip(cell.states, state, strict=True):
        assert (held.states[name] == value).all()
        assert torch.equal(idle.states[name], free.states[name])


def test_a_held_state_takes_no_reset() -> None:
    resets = torch.tensor([[False], [True], [True]])
    state = (torch.tensor([[0.5]]),)
    got = scan(rnn_tanh, torch.ones(3, 1, 1), state, torch.ones(1, 1), None, torch.tensor([1]), resets)
    assert got.states["h"][1].item() == pytest.approx(np.tanh(1.5))
    assert (got.states["h"][2:] == got.states["h"][1]).all()
