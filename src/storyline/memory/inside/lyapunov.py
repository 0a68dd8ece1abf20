"""Lyapunov exponents of a recurrent layer driven by data: how fast a disturbance of its state dies, or grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from storyline.layers import State
from storyline.memory.inside.layer_trace import TracePiece, pieces_of
from storyline.memory.inside.sample import Sample, sample_of
from storyline.memory.inside.step_jacobian import push_tangents
from storyline.memory.measures.gradient import GradientReach
from storyline.memory.steps import MeasureError, check_sizes

_RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class LyapunovExponents:
    """The exponents of one layer in one direction, in nats a step, the largest first.

    With J_t = ds_t / ds_(t-1) the Jacobian of a step along the data, s all its states side by side ((h, c) of an
    LSTM), and sigma_j(M) the j-th singular value,

        lambda_j = lim_T 1 / T ln sigma_j(J_T ... J_1)

    A small disturbance of the state, and the gradient on its way back, goes as exp(lambda_1 k) over k steps: below 0
    both vanish, above 0 the layer is chaotic and gradients explode. Of a stack, each layer is driven by the one below
    it; the exponents of the stack as a whole are those of its layers together.

    Attributes:
        values: (n,) float64, sorted. -inf where a direction is wiped out in one step, down to rounding.
        low, high: (n,) float64, the 95 % interval by bootstrap over sequences; None where there is one sequence only.
        per_sequence: (sequences, n), the same of each sequence.
        steps: how many were averaged over, all sequences together.
    """

    values: NDArray[np.float64]
    low: NDArray[np.float64] | None
    high: NDArray[np.float64] | None
    per_sequence: NDArray[np.float64]
    steps: int

    @property
    def largest(self) -> float:
        """lambda_1, in nats a step."""
        return float(self.values[0])

    @property
    def decay_steps(self) -> float | None:
        """After how many steps a disturbance is down to 1/e, -1 / lambda_1; None where it does not die."""
        return -1.0 / self.largest if self.largest < 0 else None

    def __str__(self) -> str:
        """One sentence."""
        spread = ""
        if self.low is not None and self.high is not None:
            spread = f" (95 % interval {self.low[0]:.3g} to {self.high[0]:.3g})"
        if self.decay_steps is None:
            end = "a disturbance does not die"
        else:
            end = f"a disturbance falls to 1/e in {self.decay_steps:,.3g} steps"
        return f"largest Lyapunov exponent {self.largest:.3g} nats a step{spread}: {end}"


def lyapunov_exponents(
    layer: nn.Module,
    inputs: Tensor | PackedSequence,
    lengths: Tensor | Sequence[int] | None = None,
    state: State | None = None,
    *,
    top: int | None = None,
    warmup: int | None = None,
    seed: int = 0,
) -> dict[str, LyapunovExponents]:
    """Lyapunov exponents of every layer and direction, by part: ``"layer 1"``, ``"layer 2, backward"``.

    By the QR method (Benettin, Galgani, Giorgilli and Strelcyn 1980; for recurrent networks Engelken, Wolf and Abbott
    2023, Physical Review Research 5, 043044): an orthonormal basis Q of random directions goes along each sequence,

        Q_t R_t = J_t Q_(t-1),    lambda_j = mean_t ln |(R_t)_jj|

    in float64, with a decomposition at every step. Costs about ``top`` forward passes, and a decomposition of
    (size, top) a step.

    Args:
        layer, inputs, lengths, state: as for `trace`; the longer the sequences, the closer to the limit.
        top: how many exponents, from the largest; None: all, as many as a layer's states have units.
        warmup: steps of each sequence that turn the basis into place and do not count; None: a tenth of the
            shortest sequence.
        seed: of the first basis and of the bootstrap.

    Raises:
        MeasureError: as for `trace`; ``top`` exceeds the size of a state; a sequence is not longer than the warm-up.
    """
    sample = sample_of(layer, inputs, lengths, state)
    size = sum(each.shape[-1] for each in sample.state)
    top = size if top is None else top
    check_sizes(top=top)
    if top > size:
        raise MeasureError(
            f"top is {top}; the state of a layer has {size} numbers, and as many exponents at most"
        )
    shortest = int(sample.lengths.min())
    warmup = shortest // 10 if warmup is None else warmup
    if not 0 <= warmup < shortest:
        row = int(sample.lengths.argmin())
        raise MeasureError(
            f"warmup is {warmup}, and sequence {row} has {shortest} steps; 0 to {shortest - 1} was wanted, or longer "
            "sequences"
        )
    return _exponents(sample.double(), top, warmup, seed)


def gradient_decay(reach: GradientReach) -> float:
    """How fast a measured gradient falls over lag, in nats a step, to compare with `LyapunovExponents.largest`.

    The slope of the least-squares line through mean_b ln g_b(k), g_b(k) as in `GradientReach`, over the later half of
    the lags up to the first at which the gradient of a sequence is 0.

    Raises:
        MeasureError: fewer than 4 lags have a gradient.
    """
    gone = np.flatnonzero((reach.per_sequence <= 0.0).any(0))
    last = int(gone[0]) if len(gone) else reach.per_sequence.shape[1]
    if last < 4:
        raise MeasureError(f"the gradient is above 0 at the first {last} lags only; 4 are needed for a slope")
    lags = np.arange(last // 2, last)
    logs = np.log(reach.per_sequence[:, lags]).mean(0)
    return float(np.polyfit(lags, logs, 1)[0])


def _exponents(sample: Sample, top: int, warmup: int, seed: int) -> dict[str, LyapunovExponents]:
    logs: dict[str, Tensor] = {}
    basis = torch.empty(0)
    for piece in pieces_of(sample):
        rows, size = len(piece.input), sum(each.shape[-1] for each in piece.before.values())
        if piece.start == 0:
            generator = torch.Generator().manual_seed(seed)
            basis = torch.randn(size, top, generator=generator, dtype=torch.float64).to(piece.input.device)
            basis = torch.linalg.qr(basis).Q.expand(rows, -1, -1)
        total = logs.setdefault(piece.part.name, piece.input.new_zeros(len(sample.lengths), top))
        basis = _carry(piece, basis, total[piece.rows], warmup)
    counted = (sample.lengths - warmup).cpu().numpy()
    return {part: _summary(total.cpu().numpy(), counted, seed) for part, total in logs.items()}


def _carry(piece: TracePiece, basis: Tensor, logs: Tensor, warmup: int) -> Tensor:
    """The basis at the end of the piece; ln |R_jj| of the steps that count are added to ``logs`` (rows, top)."""
    rounding = basis.shape[1] * torch.finfo(basis.dtype).eps
    for step in range(piece.input.shape[1]):
        state = {name: each[:, step] for name, each in piece.before.items()}
        moved = push_tangents(piece.part.layer, piece.input[:, step], state, basis)
        basis, upper = torch.linalg.qr(moved)
        if piece.start + step >= warmup:
            stretch = upper.diagonal(dim1=1, dim2=2).abs()
            # what rounding leaves of a direction that is wiped out would pass for a number
            stretch = torch.where(stretch <= rounding * stretch.amax(1, keepdim=True), 0, stretch)
            logs += torch.where(piece.inside[:, step, None], stretch.log(), 0)
    return basis


def _summary(logs: NDArray[np.float64], counted: NDArray[np.int64], seed: int) -> LyapunovExponents:
    """logs: (sequences, n) sums over ``counted`` (sequences,) steps."""
    mean = logs.sum(0) / counted.sum()
    order = np.argsort(-mean, kind="stable")
    logs = logs[:, order]
    per_sequence = logs / counted[:, None]
    low = high = None
    if len(logs) > 1:
        drawn = np.random.default_rng(seed).integers(0, len(logs), (_RESAMPLES, len(logs)))
        means = logs[drawn].sum(1) / counted[drawn].sum(1)[:, None]
        low, high = np.quantile(means, [0.025, 0.975], axis=0, method="inverted_cdf")
    return LyapunovExponents(mean[order], low, high, per_sequence, int(counted.sum()))
