"""Recurrences whose memory is known in closed form: linear filters of white noise.

A filter's last answer is y_T = sum_k h_k x_(T-k) with the impulse response h_k (size,), and x is one channel of
uncorrelated numbers of variance 1 (`white`). Then all that the instruments measure follows from h alone:

    gradient        || dy_T / dx_(T-k) || = || h_k ||
    counterfactual  swapping what lies k or more back changes y by sum_(j>=k) h_j (x'_j - x_j), whose mean square is
                    2 sum_(j>=k) || h_j ||^2; so R(k) = sqrt( sum_(j>=k) || h_j ||^2 / sum_j || h_j ||^2 )
    use             with y_T itself as the target, L(k) = sum_(j>=k) || h_j ||^2 / size, and L = 0
    recall          y given the fact is normal, its means 2 p h_k apart (the facts are the 16th and the 84th
                    percentile, p = .994 standard deviations either side of the middle), its covariance
                    S_k = sum_(j != k) h_j h_j'. The best readout is right with probability
                    Phi( p sqrt(h_k' S_k^-1 h_k) ) (Fisher 1936)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import comb, ndtr, ndtri
from torch import Tensor

Response = NDArray[np.float64]
# Standard deviations from the middle to a fact: it stands at the 84th percentile.
FACT = float(ndtri(0.84))


def white(sequences: int, steps: int, seed: int) -> Tensor:
    """(sequences, steps, 1) float64 normal numbers, of mean 0, variance 1 and uncorrelated in the sample itself.

    The sample moments of fresh normal numbers are off by 2 / sqrt(sequences), 3 % of 4,096: of a horizon of 23 steps
    that is a step. Here they are exact, so that what an instrument is off is its own error.
    """
    if sequences <= steps:
        raise ValueError(
            f"{sequences} sequences of {steps} steps cannot be uncorrelated; more sequences are wanted"
        )
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(sequences, steps, generator=generator, dtype=torch.float64)
    drawn -= drawn.mean(0)
    factor = torch.linalg.cholesky(drawn.T @ drawn / sequences)
    found: Tensor = torch.linalg.solve_triangular(factor, drawn.T, upper=False)
    return found.T[..., None].contiguous()


@dataclass(frozen=True)
class Filter:
    """A recurrence and its impulse response.

    name      as it is called in the results
    run       (batch, time, 1) -> (batch, time, size), step by step
    response  time -> h (time, size), by formula
    steps     length of the sequences that its memory fits into
    """

    name: str
    run: Callable[[Tensor], Tensor]
    response: Callable[[int], Response]
    steps: int

    def expected(self, measure: str, threshold: float = 0.01) -> int:
        """The horizon by the formulas above, for sequences of `steps` steps."""
        h = self.response(self.steps)
        squares = np.square(h).sum(1)
        tail = np.cumsum(squares[::-1])[::-1]
        if measure == "gradient":
            # a pure delay has no value at lag 0; then the largest counts
            return _last(np.sqrt(squares / (squares[0] or squares.max())) >= threshold)
        if measure == "counterfactual":
            return _last(np.sqrt(tail / tail[0]) >= threshold)
        assert measure == "use"
        loss = np.append(tail, 0.0)
        return _last(loss > threshold * loss[1]) + 1


def leaks(*decays: float, steps: int) -> Filter:
    """h_t = a h_(t-1) + x_t, a unit for each a: h_k = a^k."""
    a = torch.tensor(decays, dtype=torch.float64)

    def run(inputs: Tensor) -> Tensor:
        state = inputs.new_zeros(len(inputs), len(a))
        found = []
        for step in inputs.unbind(1):
            state = a.to(step) * state + step
            found.append(state)
        return torch.stack(found, 1)

    name = "leak " + " ".join(f"{each:g}" for each in decays)
    return Filter(name, run, lambda time: np.array(decays) ** np.arange(time)[:, None], steps)


def delay(lag: int, steps: int) -> Filter:
    """y_t = x_(t-lag): h_k is 1 at k = lag, else 0."""

    def run(inputs: Tensor) -> Tensor:
        return torch.cat([inputs.new_zeros(len(inputs), lag, 1), inputs], 1)[:, : inputs.shape[1]]

    return Filter(f"delay {lag}", run, lambda time: (np.arange(time) == lag).astype(float)[:, None], steps)


def register(taps: int, steps: int) -> Filter:
    """All of x_t ... x_(t-taps+1) at once: h_k is the unit vector k, 0 from k = taps on."""

    def run(inputs: Tensor) -> Tensor:
        past = torch.cat([inputs.new_zeros(len(inputs), taps - 1, 1), inputs], 1)
        return past[..., 0].unfold(1, taps, 1).flip(-1)

    return Filter(f"register {taps}", run, lambda time: np.eye(time, taps), steps)


def delayed_leak(lag: int, decay: float, steps: int) -> Filter:
    """A leak behind a delay: h_k = a^(k - lag) from k = lag on, 0 before."""
    first, second = delay(lag, steps), leaks(decay, steps=steps)

    def response(time: int) -> Response:
        k = np.arange(time)[:, None] - lag
        return np.where(k >= 0, decay ** np.maximum(k, 0), 0.0)

    return Filter(f"delay {lag} then leak {decay:g}", lambda x: second.run(first.run(x)), response, steps)


def cascade(order: int, decay: float, steps: int) -> Filter:
    """`order` leaks one after the other: h_k = C(k + order - 1, order - 1) a^k, about k^(order - 1) a^k."""
    one = leaks(decay, steps=steps)

    def run(inputs: Tensor) -> Tensor:
        for _ in range(order):
            inputs = one.run(inputs)
        return inputs

    def response(time: int) -> Response:
        k = np.arange(time)
        return (comb(k + order - 1, order - 1) * decay**k)[:, None]

    return Filter(f"{order} leaks {decay:g}", run, response, steps)


FILTERS = (
    leaks(0.9, steps=150),
    leaks(0.97, steps=400),
    leaks(0.99, steps=1000),
    leaks(0.5, 0.9, 0.95, 0.98, steps=600),
    delay(137, steps=300),
    register(90, steps=200),
    delayed_leak(120, 0.95, steps=400),
    cascade(2, 0.95, steps=400),
    cascade(3, 0.9, steps=300),
)


@dataclass(frozen=True)
class NoisyRegister:
    """A shift register whose tap k is a^k x_(t-k) + s n_k: facts grow faint at a rate that is known.

    The step has channels (x, n_0 ... n_(taps-1)), independent and normal; x has standard deviation 3, so that the
    facts, p standard deviations either side along the first principal component, are 6 p a^k apart in tap k, and a
    readout is right with probability Phi(3 p a^k / s).
    """

    decay: float
    noise: float
    taps: int
    steps: int

    @property
    def name(self) -> str:
        """As it is called in the results."""
        return f"noisy register {self.decay:g}"

    def draw(self, sequences: int, generator: torch.Generator) -> Tensor:
        """(sequences, steps, 1 + taps)."""
        steps = torch.randn(sequences, self.steps, 1 + self.taps, generator=generator)
        steps[..., 0] *= 3.0
        return steps

    def run(self, inputs: Tensor) -> Tensor:
        """(batch, time, 1 + taps) -> (batch, time, taps)."""
        past = torch.cat([inputs.new_zeros(len(inputs), self.taps - 1, 1), inputs[..., :1]], 1)[..., 0]
        faint = self.decay ** torch.arange(self.taps, dtype=inputs.dtype)
        return past.unfold(1, self.taps, 1).flip(-1) * faint + self.noise * inputs[..., 1:]

    def skill(self, planted: int) -> NDArray[np.float64]:
        """(taps,) (Phi(3 p a^k / s) - chance) / (1 - chance).

        Chance is the 95th percentile of a share of `planted` right at 1/2: 1/2 + 1.645 / (2 sqrt(planted)).
        """
        chance = 0.5 + 1.645 / (2.0 * math.sqrt(planted))
        right = ndtr(3.0 * FACT * self.decay ** np.arange(self.taps) / self.noise)
        found: NDArray[np.float64] = (right - chance) / (1.0 - chance)
        return found

    def expected(self, threshold: float, planted: int) -> int:
        """The largest k at which the skill is at the threshold."""
        return _last(self.skill(planted) >= threshold)


def _last(reached: NDArray[np.bool_]) -> int:
    return int(np.flatnonzero(reached)[-1])
