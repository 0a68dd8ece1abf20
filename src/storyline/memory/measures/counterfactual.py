"""Counterfactual memory: the distant past is another sequence's; how much does the last answer change?"""

from __future__ import annotations

import math
from itertools import cycle

import numpy as np
import torch
from torch import Tensor

from storyline.memory.measures.curve import Array, Measure, fine_lags, search, summarise, weights
from storyline.memory.steps import MeasureError
from storyline.memory.subjects.continued import Continued, Passed, goes_on
from storyline.memory.subjects.sequences import Rows, picked
from storyline.memory.subjects.subject import Subject

_DEFINITION = (
    "the largest lag k at which the last answer still changes by {share} of what it changes when everything is "
    "swapped, if all that lies k or more steps back is another sequence's"
)
# So many swaps at each lag at least, and not more than these.
_FEWEST, _MOST = 16, 512


def counterfactual(
    subject: Subject,
    rows: Rows,
    answers: Tensor,
    max_lag: int,
    *,
    threshold: float,
    confidence: float,
    seed: int,
    pairings: int | None = None,
    passed: Passed | None = None,
) -> Measure:
    """Swap what lies k or more steps back, and watch the last answer.

    With y_b the last answer to sequence b, and y_bd(k) that to its last k steps behind the past of a donor d,

        R(k) = sqrt( mean_bd || y_bd(k) - y_b ||^2  /  mean_bd || y_d - y_b ||^2 ),     R(0) = 1

    R(k)^2 is Jansen's estimator of the total effect of all that lies k or more steps back, as a share of the
    variance of the answer (Jansen 1999; Sobol' 2001). Steps = max { k : R(k) >= threshold }.

    Args:
        subject: the model.
        rows: the sequences, each longer than `max_lag`. A donor's past is aligned by its end; where it is too
            short, another donor's stands before it.
        answers: (sequences, size) the last answers to the sequences as they are.
        max_lag: the longest lag.
        threshold: of R.
        confidence: of the interval.
        seed: of the donors.
        pairings: donors a sequence; None: an eighth of the sequences get one, but 16 to 512 of them (of fewer, all).
        passed: of a layer that goes on, what it has read of the sequences, with its states on the way.
    """
    generator = np.random.default_rng(seed)
    squares = _squares(answers)
    count = len(rows)
    if pairings is None:
        chosen = generator.permutation(count)[: min(max(_FEWEST, count // 8), _MOST)]
        pairings = 1
    else:
        chosen = generator.permutation(count)
    receivers = np.repeat(chosen, pairings)
    donors = _donors(receivers, count, generator)
    changes: dict[int, Array] = {0: squares[chosen]}
    whole = float(squares.mean())

    # of rows that are all as long, the past is the beginning of the first donor
    continued = None
    if goes_on(subject, rows):
        first = [d[0] for d in donors]
        states = {} if passed is None else passed.of(first)
        continued = Continued(subject, picked(rows, receivers), picked(rows, first), states)

    def shares(lags: list[int]) -> list[float]:
        new = [lag for lag in lags if lag not in changes]
        if new:
            if continued is not None:
                moved = continued.last(new)
            else:
                moved = subject.last_of_groups(
                    [
                        swapped(rows[b], [rows[i] for i in d], lag)
                        for b, d in zip(receivers.tolist(), donors, strict=True)
                    ]
                    for lag in new
                )
            change = (moved - answers[receivers]).square().sum(-1).numpy()
            for lag, each in zip(new, change, strict=True):
                changes[lag] = each.reshape(len(chosen), pairings).mean(1)
        return [math.sqrt(changes[lag].mean() / (whole if lag else changes[0].mean())) for lag in lags]

    found = search(shares, fine_lags(max_lag), threshold)
    lags = np.array(sorted(found), dtype=np.int64)
    per_row = np.stack([changes[int(lag)] for lag in lags], axis=1)
    curve = np.array([found[int(lag)] for lag in lags])
    drawn = weights(count, seed)
    # the whole is as uncertain as the part: both are of the sequences that are drawn
    wholes = drawn @ squares / count
    parts = drawn[:, chosen]
    resampled = np.sqrt(parts @ per_row / np.maximum(parts.sum(1, keepdims=True), 1.0) / wholes[:, None])
    # at lag 0 everything is swapped, whatever the sample
    resampled[:, 0] = 1.0
    definition = _DEFINITION.format(share=f"{threshold * 100:g} %")
    return summarise(
        "counterfactual", lags, curve, resampled, threshold, confidence, definition, sequences=len(chosen)
    )


def check_answers(answers: Tensor) -> None:
    """Refuse answers (sequences, size) that do not differ between sequences: there is nothing to remember.

    Raises:
        MeasureError: they do not.
    """
    spread = float((answers - answers[:1]).abs().max())
    if spread <= 1e-7 * float(answers.abs().max()):
        raise MeasureError(
            f"the model's last answer is the same for all {len(answers)} sequences ({float(answers[0, 0]):.4g} in its "
            "first element): its output is constant, or it ignores its input; give a model whose answer depends on "
            "what it is shown"
        )


def swapped(row: Tensor, donors: list[Tensor], lag: int) -> Tensor:
    """The row's last `lag` steps behind the past of donors, aligned by their ends; as long as the row."""
    missing = len(row) - lag
    parts = [row[len(row) - lag :]]
    offset = lag
    for donor in cycle(donors):
        past = donor[: len(donor) - offset] if offset < len(donor) else donor[:0]
        past = past[max(0, len(past) - missing) :]
        parts.append(past)
        missing -= len(past)
        offset = 0
        if not missing:
            break
    return torch.cat(parts[::-1])


def _donors(receivers: np.ndarray, count: int, generator: np.random.Generator) -> list[list[int]]:
    """For each receiver an order of all other sequences to take the past from; the first is enough for most."""
    found = []
    for b in receivers:
        others = generator.permutation(count - 1)[: min(count - 1, 64)]
        found.append([int(i + (i >= b)) for i in others])
    return found


def _squares(answers: Tensor) -> Array:
    """(sequences,) each one's part in the mean squared distance of two answers, which is their mean."""
    count = len(answers)
    # the mean over pairs of |y_d - y_b|^2 is twice the variance
    own = (answers - answers.mean(0)).square().sum(1)
    return (2.0 * count / (count - 1) * own).numpy().astype(np.float64)
