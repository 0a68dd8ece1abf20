"""Multinomial logistic regression, by steps that its curvature allows without a search along them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from storyline.memory.measures.curve import Array

# Steps at most, and the slope of the summed loss, over the root of its terms, at which they end before.
_STEPS, _FLAT = 150, 1e-4


def class_chances(
    known: Array, labels: NDArray[np.int64], asked: Array, strength: float
) -> tuple[Array, NDArray[np.int64]]:
    """The chances of the classes in `asked` (m, features), from `known` (n, features) with `labels` (n,).

    Minimises, with b not penalised,

        f(W, b) = sum_i -ln softmax(x_i W + b)_label(i) + ||W||^2 / (2 strength)

    and of two classes the same with one column for the second, the first's being 0. The curvature is nowhere more
    than B = X'X / 2 + 1 / strength for every class (Böhning 1992; of two classes X'X / 4), so that in V = L'(W, b)
    with L L' = B a step of length 1 descends from wherever it is taken; with momentum, begun anew where it climbs
    (O'Donoghue and Candès 2015, gradient scheme).

    Returns (m, classes seen) and the classes seen, sorted.
    """
    classes, place = np.unique(labels, return_inverse=True)
    columns = len(classes) if len(classes) > 2 else 1
    design = torch.as_tensor(np.concatenate([known, np.ones((len(known), 1))], 1))
    penalty = torch.full((design.shape[1],), 1.0 / strength, dtype=torch.float64)
    penalty[-1] = 0.0
    bound = torch.linalg.cholesky(design.T @ design / (4.0 if columns == 1 else 2.0) + penalty.diag())
    inverse = torch.linalg.solve_triangular(bound, torch.eye(len(bound), dtype=torch.float64), upper=False)
    truth = functional.one_hot(torch.as_tensor(place), len(classes))[:, -columns:].float()
    found = _descended(
        (design @ inverse.T).float(),
        truth,
        ((inverse * penalty) @ inverse.T).float(),
        _FLAT * len(known) ** 0.5,
    )
    weights = inverse.T @ found.double()
    chances: Array = _chances(torch.as_tensor(asked) @ weights[:-1] + weights[-1]).numpy()
    return (chances if columns > 1 else np.concatenate([1.0 - chances, chances], 1)), classes


def _descended(design: Tensor, truth: Tensor, penalty: Tensor, flat: float) -> Tensor:
    """V (features, columns), by accelerated steps of length 1."""
    here = ahead = torch.zeros(design.shape[1], truth.shape[1])
    momentum = 1.0
    with torch.no_grad():
        for _ in range(_STEPS):
            slope = design.T @ (_chances(design @ ahead) - truth) + penalty @ ahead
            new = ahead - slope
            if float(slope.norm()) <= flat:
                return new
            climbed = float((slope * (new - here)).sum()) > 0.0
            momentum, before = (
                (1.0, 1.0) if climbed else ((1.0 + (1.0 + 4.0 * momentum**2) ** 0.5) / 2.0, momentum)
            )
            ahead = new + (before - 1.0) / momentum * (new - here)
            here = new
    return here


def _chances(scores: Tensor) -> Tensor:
    """(n, classes) from scores (n, classes); (n, 1) of the second of two."""
    return scores.sigmoid() if scores.shape[1] == 1 else scores.softmax(1)
