"""How far back the learning signal reaches: the gradient of the last state by the inputs, over the lag."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storyline.memory.measures.jacobian import directions_of, squared_norms
from storyline.memory.steps import MeasureError, Steps

PERCENT = 0.01
MILLIONTH = 1e-6


@dataclass(frozen=True, eq=False)
class GradientReach:
    """Size of the gradient of the last state by the input ``lag`` steps before it.

    For every sequence b and lag k = 0 ... time - 1, with T the last step,

        g_b(k) = || d h_T / d x_(T-k) ||_F

    ``norms`` is the median of g_b(k) over the sequences, ``low`` and ``high`` its quartiles.

    Attributes:
        lags: (time,) int64, 0 ... time - 1, in steps.
        norms: (time,) float64, median over sequences, in units of state per unit of input.
        low: (time,) float64, first quartile over sequences.
        high: (time,) float64, third quartile over sequences.
        per_sequence: (sequences, time) float64, g_b(k) of every sequence that has finite gradients.
        reference_lag: the lag whose norm is called 100 %: 0, unless the median norm there is exactly 0
            (a delayed or dead output), then the lag of the largest norm.
        exact: True where every direction of the state was followed, False where random ones were.
        notes: what was left out or is peculiar, in sentences; empty when nothing is.
    """

    lags: NDArray[np.int64]
    norms: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    per_sequence: NDArray[np.float64]
    reference_lag: int
    exact: bool
    notes: tuple[str, ...] = ()

    @classmethod
    def from_norms(cls, norms: Sequence[float]) -> GradientReach:
        """The reach of one curve measured earlier: ``norms[k]`` at lag k, finite and not negative."""
        curve = np.asarray(norms, dtype=np.float64)
        if curve.ndim != 1 or len(curve) < 2 or not np.isfinite(curve).all() or (curve < 0.0).any():
            raise MeasureError(
                f"the stored norms have shape {curve.shape}; at least 2 numbers, finite and not negative, "
                "were wanted"
            )
        return _summary(curve[None], exact=True)

    @property
    def reference(self) -> float:
        """The norm that counts as 100 %."""
        return float(self.norms[self.reference_lag])

    @property
    def relative(self) -> NDArray[np.float64]:
        """Norms / reference, (time,); all 0 where the gradient is dead."""
        return self._scaled(self.norms)

    @property
    def relative_quartiles(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(low, high) / reference, (time,) each."""
        return self._scaled(self.low), self._scaled(self.high)

    @property
    def dead(self) -> bool:
        """True where the gradient of the typical sequence is exactly 0 at every lag."""
        return self.reference == 0.0

    def at(self, lag: int) -> float:
        """The norm at ``lag`` as a share of the norm at lag 0: .59 means 59 %.

        Raises:
            MeasureError: ``lag`` was not measured.
        """
        if not 0 <= lag < len(self.lags):
            raise MeasureError(f"lag {lag} was not measured; the inputs allow 0 to {len(self.lags) - 1}")
        return float(self.relative[lag])

    def reach(self, threshold: float = PERCENT) -> Steps | None:
        """The largest lag at which the norm is at least ``threshold`` times its value at lag 0.

            reach = max { k : g(k) >= threshold * g(0) },   g the median over sequences

        It is only a lower bound (``at_least``) where the longest measured lag still passes; None where
        the gradient is dead.
        """
        if not 0.0 < threshold <= 1.0:
            raise MeasureError(f"threshold is {threshold}; a share above 0 and at most 1 was wanted")
        if self.dead:
            return None
        last = int(np.flatnonzero(self.relative >= threshold)[-1])
        return Steps(last, at_least=last == len(self.lags) - 1)

    @property
    def reach_percent(self) -> Steps | None:
        """``reach(0.01)``: how far back the gradient is still 1 % of its value at lag 0."""
        return self.reach(PERCENT)

    @property
    def reach_1e6(self) -> Steps | None:
        """``reach(1e-6)``: how far back the gradient is still a millionth of its value at lag 0."""
        return self.reach(MILLIONTH)

    def _scaled(self, norms: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.zeros_like(norms) if self.dead else norms / self.reference


def gradient_reach(
    function: Callable[[Tensor], Tensor],
    inputs: Tensor,
    *,
    probes: int = 16,
    seed: int = 0,
    rows_at_once: int = 32,
) -> GradientReach:
    """Measure |dh_T/dx_(T-k)| for all lags k with one backward pass a probe.

    With V_b an orthonormal basis of ``probes`` random directions of the state (the QR factor of a
    Gaussian matrix, drawn for each sequence),

        g_b(k)^2 = size / probes * sum_i || v_bi^T dh_T/dx_(T-k) ||^2

    whose expectation is the squared Frobenius norm; with ``probes >= size`` the directions are the unit
    vectors and the norm is exact. Orthonormal directions have a smaller variance than independent
    Gaussian ones (Hutchinson 1989) by the factor (size - probes) / (size + 2) where the gradient has rank 1.

    Args:
        function: inputs (rows, time, channels) -> the last state h_T (rows, size). Any differentiable
            function of tensors; its rows must not depend on each other, and it should be in evaluation
            mode (dropout off). It is called on at most ``rows_at_once`` sequences.
        inputs: (batch, time, channels), floating point, finite, time >= 2. Left as they are.
        probes: backward passes a chunk of rows, at least 1.
        seed: of the random directions. The global generator is not touched.
        rows_at_once: sequences in memory at the same time.

    Raises:
        MeasureError: the inputs or the function's output do not fit, or no sequence has finite gradients.
    """
    _check_inputs(inputs, probes, rows_at_once)
    squares: list[Tensor] = []
    generator = torch.Generator().manual_seed(seed)
    exact = False
    # cuDNN refuses the backward pass of a recurrent layer in evaluation mode; torch's own kernels serve it.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        for start in range(0, len(inputs), rows_at_once):
            leaf = inputs[start : start + rows_at_once].detach().clone().requires_grad_(True)
            state = _last_state(function, leaf)
            exact = probes >= state.shape[1]
            directions = directions_of(state, probes, generator)
            squares.append(squared_norms(state, leaf, directions))
    # time index T - 1 - k is lag k
    norms = torch.cat(squares).sqrt().flip(1).cpu().numpy()
    return _summary(norms, exact)


def _check_inputs(inputs: Tensor, probes: int, rows_at_once: int) -> None:
    if inputs.ndim != 3 or not inputs.is_floating_point():
        raise MeasureError(
            f"inputs have shape {tuple(inputs.shape)} and type {inputs.dtype}; (batch, time, channels) of "
            "floating point was wanted: embed tokens first"
        )
    if inputs.shape[0] == 0 or inputs.shape[1] < 2 or inputs.shape[2] == 0:
        raise MeasureError(
            f"inputs have shape {tuple(inputs.shape)}; at least one sequence of at least 2 steps is needed "
            "to see a gradient over lags: give longer sequences"
        )
    if not bool(torch.isfinite(inputs).all()):
        row = int((~torch.isfinite(inputs)).flatten(1).any(1).nonzero()[0, 0])
        raise MeasureError(f"inputs[{row}] holds NaN or infinity; replace or drop that sequence")
    if probes < 1 or rows_at_once < 1:
        raise MeasureError(f"probes is {probes}, rows_at_once {rows_at_once}; both must be at least 1")


def _last_state(function: Callable[[Tensor], Tensor], leaf: Tensor) -> Tensor:
    state = function(leaf)
    if (
        not isinstance(state, Tensor)
        or state.ndim != 2
        or state.shape[0] != leaf.shape[0]
        or state.shape[1] == 0
    ):
        came = tuple(state.shape) if isinstance(state, Tensor) else type(state).__name__
        raise MeasureError(
            f"the function returned {came} for inputs {tuple(leaf.shape)}; the last state, a tensor of "
            f"({leaf.shape[0]}, size), was wanted"
        )
    if not state.requires_grad:
        raise MeasureError(
            "the function's output carries no gradient: it is a constant, or computed under torch.no_grad() "
            "or from detached tensors; return it attached to its inputs"
        )
    return state


def _summary(norms: NDArray[np.float64], exact: bool) -> GradientReach:
    sequences = len(norms)
    finite = np.isfinite(norms).all(axis=1)
    if not finite.any():
        raise MeasureError(
            f"the gradient is NaN or infinite in every one of the {sequences} sequences; the model has "
            "diverged or its gradient overflows: train it again with clipping, or measure shorter sequences"
        )
    kept = norms[finite]
    low, middle, high = np.quantile(kept, [0.25, 0.5, 0.75], axis=0)
    notes = []
    if not finite.all():
        notes.append(
            f"The gradient is NaN or infinite in {sequences - len(kept)} of {sequences} sequences; they are "
            "left out."
        )
    dead = int((kept == 0.0).all(axis=1).sum())
    if dead:
        notes.append(
            f"The gradient is exactly 0 at every lag in {dead} of {len(kept)} sequences: there the last "
            "state does not depend on the inputs."
        )
    reference_lag = 0
    if middle[0] == 0.0 and middle.any():
        reference_lag = int(middle.argmax())
        notes.append(
            "The last state does not depend on the last input (its gradient at lag 0 is exactly 0); shares "
            f"are of the largest gradient, at lag {reference_lag}."
        )
    return GradientReach(
        np.arange(norms.shape[1], dtype=np.int64), middle, low, high, kept, reference_lag, exact, tuple(notes)
    )
