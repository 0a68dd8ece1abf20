"""JAX: `lax.scan` over the cell's equations, the input's product before it for all steps at once, jitted whole.

How many threads XLA takes is decided before it is loaded, see `threads.environment`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.speed.problem import Answer, Implementation, Problem, UnavailableError

# Nothing of JAX is loaded before a case asks for it; its arrays are `Any` here.
Array = Any
Step = Callable[[Array, Array, tuple[Array, ...]], tuple[Array, ...]]


def jax_peers(problem: Problem) -> dict[str, Callable[[], Implementation]]:
    """By name."""
    if problem.case.work == "step":
        return {"jax": lambda: _stepwise(problem)}
    return {"jax": lambda: _whole(problem)}


def _jax() -> Any:
    try:
        import jax
    except ImportError as error:
        raise UnavailableError(f"{error.name} is not installed; `make bench-speed` installs it") from error
    return jax


def _steps(jax: Any) -> dict[str, Step]:
    """The cells by name, in torch.nn's order of gates: (input's share, recurrent share, state) -> state."""
    sigmoid, tanh, split = jax.nn.sigmoid, jax.numpy.tanh, jax.numpy.split

    def lstm(x: Array, r: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        i, f, g, o = split(x + r, 4, -1)
        c = sigmoid(f) * state[1] + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c

    def gru(x: Array, r: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        (x_r, x_z, x_n), (r_r, r_z, r_n) = split(x, 3, -1), split(r, 3, -1)
        z = sigmoid(x_z + r_z)
        return ((1 - z) * tanh(x_n + sigmoid(x_r + r_r) * r_n) + z * state[0],)

    def rnn(x: Array, r: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        return (tanh(x + r),)

    return {"lstm": lstm, "gru": gru, "rnn": rnn}


def _normalise(values: Array) -> Array:
    centred = values - values.mean(-1, keepdims=True)
    return centred * (1 / (((centred**2).mean(-1, keepdims=True) + 1e-5) ** 0.5))


def _shares(problem: Problem, weights: dict[str, Array], suffix: str) -> tuple[Callable[..., Array], ...]:
    """The input's share of the preactivations and the recurrent one, each with its bias."""
    if not problem.case.layer_norm:
        return (
            lambda x: x @ weights[f"weight_ih{suffix}"].T + weights[f"bias_ih{suffix}"],
            lambda h: h @ weights[f"weight_hh{suffix}"].T + weights[f"bias_hh{suffix}"],
        )
    return (
        lambda x: weights["gain_x_l0"] * _normalise(x @ weights["weight_ih_l0"].T) + weights["bias_l0"],
        lambda h: weights["gain_h_l0"] * _normalise(h @ weights["weight_hh_l0"].T),
    )


def _cell(problem: Problem, jax: Any) -> Callable[..., tuple[Array, ...]]:
    plain = _steps(jax)[problem.case.cell]
    if not problem.case.layer_norm:
        return lambda x, r, state, weights: plain(x, r, state)

    def normalised(x: Array, r: Array, state: tuple[Array, ...], weights: Any) -> tuple[Array, ...]:
        i, f, g, o = jax.numpy.split(x + r, 4, -1)
        c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jax.numpy.tanh(g)
        read = jax.numpy.tanh(weights["gain_c_l0"] * _normalise(c) + weights["shift_c_l0"])
        return jax.nn.sigmoid(o) * read, c

    return normalised


def _forward(problem: Problem, jax: Any) -> Callable[[dict[str, Array], Array], tuple[Array, ...]]:
    """(weights, input) -> output, h_n and, of the LSTM, c_n."""
    case, jnp, step = problem.case, jax.numpy, _cell(problem, jax)
    lengths = None if problem.lengths is None else jnp.asarray(problem.lengths.numpy())
    count = 2 if case.cell == "lstm" else 1

    def one_direction(weights: dict[str, Array], input: Array, suffix: str) -> tuple[Array, ...]:
        share_x, share_h = _shares(problem, weights, suffix)

        def body(state: tuple[Array, ...], now: tuple[Array, Array]) -> tuple[Any, Array]:
            t, x = now
            after = step(x, share_h(state[0]), state, weights)
            if lengths is None:
                return after, after[0]
            inside = (t < lengths)[:, None]
            after = tuple(jnp.where(inside, new, old) for new, old in zip(after, state, strict=True))
            return after, jnp.where(inside, after[0], 0)

        start = (jnp.zeros((case.batch, case.hidden_size)),) * count
        steps = (jnp.arange(case.time), share_x(input))
        last, output = jax.lax.scan(body, start, steps, reverse=suffix.endswith("reverse"))
        return output, *last

    def forward(weights: dict[str, Array], input: Array) -> tuple[Array, ...]:
        suffixes = ("_l0", "_l0_reverse") if case.bidirectional else ("_l0",)
        parts = [one_direction(weights, input, suffix) for suffix in suffixes]
        outputs, *states = zip(*parts, strict=True)
        return jnp.concatenate(outputs, -1), *(jnp.stack(each) for each in states)

    return forward


def _whole(problem: Problem) -> Implementation:
    jax = _jax()
    forward = _forward(problem, jax)
    weights = {name: jax.numpy.asarray(value.numpy()) for name, value in problem.weights.items()}
    input, cotangent = (jax.numpy.asarray(each.numpy()) for each in (problem.input, problem.cotangent))

    def loss(weights: dict[str, Array], input: Array, cotangent: Array) -> tuple[Array, Any]:
        found = forward(weights, input)
        return (found[0] * cotangent).sum(), found

    if problem.case.work == "training":
        train = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
        run = lambda: jax.block_until_ready(train(weights, input, cotangent))  # noqa: E731
    else:
        infer = jax.jit(forward)
        run = lambda: (({}, None), jax.block_until_ready(infer(weights, input)))  # noqa: E731

    def answered() -> Answer:
        (of_weights, of_input), found = run()
        answer = dict(zip(("output", "h_n", "c_n"), map(np.asarray, found), strict=False))
        if of_input is not None:
            answer |= {f"grad {name}": np.asarray(value) for name, value in of_weights.items()}
            answer["grad input"] = np.asarray(of_input)
        return answer

    return Implementation(run, answered)


def _stepwise(problem: Problem) -> Implementation:
    jax = _jax()
    weights = {name: jax.numpy.asarray(value.numpy()) for name, value in problem.weights.items()}
    share_x, share_h = _shares(problem, weights, "_l0")
    cell, zeros = _cell(problem, jax), jax.numpy.zeros((1, problem.case.hidden_size))
    step = jax.jit(lambda x, state: cell(share_x(x), share_h(state[0]), state, weights))
    first, state = jax.numpy.asarray(problem.input.numpy()[0]), (zeros, zeros)

    def run() -> None:
        nonlocal state
        state = jax.block_until_ready(step(first, state))

    def answered() -> Answer:
        outputs, state = [], (zeros, zeros)
        for x in problem.input.numpy():
            state = step(x, state)
            outputs.append(np.asarray(state[0]))
        return {"output": np.stack(outputs), "h_n": np.asarray(state[0])[None]}

    return Implementation(run, answered)
