"""The gradient of the last answer by the inputs, and how far back it reaches."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storyline.memory.measures.curve import Array, Measure, crossing, spread_lags, summarise, weights
from storyline.memory.steps import MeasureError
from storyline.memory.subjects.continued import (
    PIECE,
    Passed,
    State,
    goes_on,
    pass_through,
    piece_size,
    pieces,
    squared_gradients,
)
from storyline.memory.subjects.sequences import Rows, endings, picked
from storyline.memory.subjects.soundness import quantised
from storyline.memory.subjects.subject import Subject

_DEFINITION = (
    "the largest lag at which the norm of dy_t/dx_(t-k), median over sequences, is still {share} of {what}"
)
# Outputs up to this size are followed in every direction, larger ones in so many random ones.
_EXACT, _PROBES = 8, 4


def gradient(
    subject: Subject,
    rows: Rows,
    max_lag: int,
    *,
    threshold: float,
    confidence: float,
    seed: int,
    probes: int | None = None,
    passed: Passed | None = None,
) -> Measure:
    """How far back the gradient of the last answer reaches.

        g(k) = median_b || d y_b / d x_b(T-k) ||_F,     steps = max { k : g(k) >= threshold * g(0) }

    of a quarter of the sequences, 16 to 64. Where the last answer does not depend on the last input, so that g(0)
    is 0, the largest g(k) stands in its place, and the notes say so. For tokens x is the vector that an
    nn.Embedding gives them.

    Args:
        subject: the model.
        rows: the sequences, each longer than `max_lag`.
        max_lag: the longest lag.
        threshold: share of g(0).
        confidence: of the interval.
        seed: of the sequences and of the directions.
        probes: backward passes; None: one for each element of an answer of at most 8, else 4 random directions.
        passed: of a layer that goes on, what it has read of the sequences; of use with its states where `pieces` begin.

    Raises:
        MeasureError: there is no gradient, it is 0 at every lag, or it is finite for no sequence.
    """
    if not isinstance(subject.model, torch.nn.Module) and subject.array:
        raise MeasureError(
            "the model is a function of arrays and has no gradient; give the torch module, or tensors"
        )
    if name := quantised(subject.model):
        raise MeasureError(f"{name} is quantised and has no gradient; give the model as it was before")
    order = np.random.default_rng(seed).permutation(len(rows))[: min(max(16, len(rows) // 4), 64)]
    rows, states = picked(rows, order), None
    if passed is not None and set(pieces(len(rows[0]))[1:]) <= set(passed.states):
        states = passed.of(order.tolist())
    lags = np.arange(max_lag + 1)
    # a caller in inference mode wants the gradient all the same
    with torch.inference_mode(False):
        norms = _norms(subject, rows, lags, probes, seed, states)
    finite = np.isfinite(norms).all(1)
    if not finite.any():
        raise MeasureError(
            f"the gradient is NaN or infinite in every one of {len(norms)} sequences; the model has diverged or its "
            "gradient overflows: train it again with clipping, or measure shorter sequences"
        )
    notes: tuple[str, ...] = ()
    if not finite.all():
        notes = (
            f"The gradient is NaN or infinite in {(~finite).sum()} of {len(norms)} sequences, left out.",
        )
    norms = norms[finite]
    middle = np.median(norms, axis=0)
    if not middle.any():
        raise MeasureError(
            "the gradient of the last answer is exactly 0 at every lag: the output is a step function (a class, a "
            "rounded or quantised number) or saturated; give logits or probabilities"
        )
    at, what = 0, "its value at lag 0"
    if middle[0] == 0.0:
        at = int(middle.argmax())
        what = f"its largest value, at lag {lags[at]}"
        notes = (*notes, f"The last answer does not depend on the last input; shares are of lag {lags[at]}.")
    keep = _resampled_lags(lags, middle / middle[at], threshold, at)
    resampled = _medians(norms[:, keep], seed)
    reference = resampled[:, [int(np.flatnonzero(keep == at)[0])]]
    shares = np.divide(resampled, reference, out=np.zeros_like(resampled), where=reference > 0)
    definition = _DEFINITION.format(share=f"{threshold * 100:g} %", what=what)
    return summarise(
        "gradient",
        lags[keep],
        middle[keep] / middle[at],
        shares,
        threshold,
        confidence,
        definition,
        notes,
        sequences=len(norms),
    )


def _norms(
    subject: Subject,
    rows: Rows,
    lags: NDArray[np.int64],
    probes: int | None,
    seed: int,
    states: Mapping[int, State] | None,
) -> Array:
    """(rows, lags): the norm of the gradient of each row's last answer by its input so many steps before."""
    found = np.zeros((len(rows), len(lags)))
    generator = torch.Generator().manual_seed(seed)

    def directions(last: Tensor) -> Tensor:
        count = probes or (last.shape[1] if last.shape[1] <= _EXACT else _PROBES)
        return directions_of(last, count, generator)

    if len(rows[0]) > PIECE and goes_on(subject, rows) and rows[0].is_floating_point():
        if states is None:
            states = pass_through(subject, rows, pieces(len(rows[0]))).states
        squared = [
            squared_gradients(
                subject,
                picked(rows, chunk),
                directions,
                {cut: tuple([part[:, chunk] for part in state]) for cut, state in states.items()},
            )
            for chunk in subject.chunks(endings(rows, piece_size(len(rows[0]))), with_gradient=True)
        ]
        norms: Array = torch.cat(squared).sqrt().cpu().numpy()[:, len(rows[0]) - 1 - lags]
        return norms
    with torch.enable_grad():
        for chunk, leaf, last, lengths in subject.with_leaves(rows):
            squares = squared_norms(last, leaf, directions(last)).sqrt().cpu().numpy()
            for i, square, length in zip(chunk, squares, lengths, strict=True):
                found[i] = square[length - 1 - lags]
    return found


def _resampled_lags(lags: NDArray[np.int64], share: Array, threshold: float, at: int) -> NDArray[np.int64]:
    """Places of the lags that the bootstrap looks at: spread ones, and all near the crossing."""
    steps = float(crossing(lags, share, threshold))
    near = (lags >= 0.85 * steps - 1) & (lags <= 1.15 * steps + 2)
    # of many, those next to the crossing and some of the others
    near &= (np.abs(lags - steps) <= 2) | (lags % max(1, int(near.sum()) // 100) == 0)
    wide = np.isin(lags, spread_lags(lags, 1.15))
    near[[0, at, -1]] = True
    return np.flatnonzero(near | wide)


def _medians(norms: Array, seed: int) -> Array:
    """(resamples, lags): medians over resampled rows, from the sorted ones and how often each is drawn."""
    drawn = weights(len(norms), seed)
    order = np.argsort(norms, axis=0)
    found = np.empty((len(drawn), norms.shape[1]))
    middle = len(norms) / 2.0
    for place in range(norms.shape[1]):
        ranks = np.cumsum(drawn[:, order[:, place]], axis=1)
        low = np.argmax(ranks >= middle, axis=1)
        high = np.argmax(ranks > middle, axis=1)
        sorted_ = norms[order[:, place], place]
        found[:, place] = (sorted_[low] + sorted_[high]) / 2.0
    return found


def directions_of(state: Tensor, probes: int, generator: torch.Generator) -> Tensor:
    """Random orthonormal directions (directions, rows, size), drawn anew for each row.

    Scaled so that the sum of squares over them estimates the square of the Frobenius norm; with as many probes as
    `state` (rows, size) has elements they are the unit vectors, and the sum is exact.
    """
    rows, size = state.shape
    if probes >= size:
        basis = torch.eye(size, dtype=torch.float64)[:, None, :].expand(size, rows, size)
    else:
        # drawn row by row, so that rows in their order get the same directions however they are chunked
        gaussian = [torch.randn(size, probes, dtype=torch.float64, generator=generator) for _ in range(rows)]
        basis = torch.linalg.qr(torch.stack(gaussian)).Q.permute(2, 0, 1) * math.sqrt(size / probes)
    return basis.to(state.device, state.dtype)


def squared_norms(state: Tensor, leaf: Tensor, directions: Tensor) -> Tensor:
    """Sum over directions and channels of the squared gradient, (rows, time) float64.

    Args:
        state: (rows, size), computed from `leaf`.
        leaf: (rows, time, ...).
        directions: (directions, rows, size).
    """
    total = torch.zeros(leaf.shape[:2], dtype=torch.float64, device=leaf.device)
    for i, direction in enumerate(directions):
        keep = i + 1 < len(directions)
        (gradient,) = torch.autograd.grad(
            state, leaf, direction, retain_graph=keep, allow_unused=True, materialize_grads=True
        )
        # squares in float64: 1e-6 of a small gradient, squared, is below what float32 can hold
        total += gradient.double().square().reshape(*leaf.shape[:2], -1).sum(-1)
    return total
