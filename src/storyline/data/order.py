"""In which order rows are read: batches bucketed by length, and the part held out for validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storyline.data.source import DataError

Rows = NDArray[np.int64]
# Lengths are compared as if they were up to this share longer or shorter, so that batches differ from epoch to
# epoch; with it the padding of typical text stays under a tenth.
_NOISE = 0.05


def ragged_order(
    lengths: Sequence[int] | NDArray[Any], batch_size: int, *, seed: int, epoch: int, shuffle: bool = True
) -> list[Rows]:
    """Batches of row numbers; rows of like length stand together, so that little is padded.

    A pure function of its arguments: no global random state is read or changed. Every row comes once; one
    batch, at a random place in the order of lengths, holds what is left over. Without `shuffle` the batches go
    from the shortest rows to the longest, the same at every epoch.
    """
    steps = np.asarray(lengths)
    if steps.ndim != 1 or not len(steps):
        raise DataError(
            f"lengths has shape {steps.shape}; one length for each of at least one row was wanted"
        )
    if batch_size < 1:
        raise DataError(f"batch_size is {batch_size}; it must be at least 1")
    short = np.flatnonzero(steps < 1)
    if len(short):
        raise DataError(f"lengths[{short[0]}] is {steps[short[0]]}; every sequence needs at least one step")
    count = -(-len(steps) // batch_size)
    sizes = np.full(count, batch_size)
    if not shuffle:
        sizes[-1] -= count * batch_size - len(steps)
        return np.split(np.argsort(steps, kind="stable").astype(np.int64), np.cumsum(sizes)[:-1])
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(steps))
    noisy = steps[order] * (1 + _NOISE * generator.uniform(-1, 1, len(steps)))
    order = order[np.argsort(noisy, kind="stable")].astype(np.int64)
    sizes[generator.integers(count)] -= count * batch_size - len(steps)
    batches = np.split(order, np.cumsum(sizes)[:-1])
    return [batches[place] for place in generator.permutation(count)]


def split_validation(
    n: int, fraction: float, seed: int, stratify: Sequence[Any] | NDArray[Any] | None = None
) -> tuple[Rows, Rows]:
    """Row numbers for training and for validation, each in rising order; deterministic for a seed.

    fraction: the share held out, 0 <= fraction < 1; at least one row where it is above 0.
    stratify: a class for each row; each class gives its share, and always keeps at least one row in training.
    """
    if not 0 <= fraction < 1:
        raise DataError(f"fraction is {fraction}; it must be at least 0 and below 1")
    if n < 1 or (fraction > 0 and n < 2):
        raise DataError(f"{n} rows cannot be split into training and validation; give at least 2")
    if stratify is not None and len(stratify) != n:
        raise DataError(f"stratify has {len(stratify)} classes for {n} rows; give one for each row")
    generator = np.random.default_rng(seed)
    classes = np.zeros(n, dtype=np.int64)
    if stratify is not None:
        classes = np.unique(np.asarray(stratify), return_inverse=True)[1].reshape(-1)
    order = generator.permutation(n)
    groups = [order[classes[order] == value] for value in range(classes.max() + 1)]
    quotas = _quotas(np.array([len(group) for group in groups]), fraction)
    held = np.concatenate([group[:quota] for group, quota in zip(groups, quotas, strict=True)])
    training = np.ones(n, dtype=bool)
    training[held] = False
    return np.flatnonzero(training), np.flatnonzero(~training)


def _quotas(sizes: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    """How many rows each class gives: its share rounded down, the rest by the largest remainders."""
    most = sizes - 1
    wanted = min(max(1, round(sizes.sum() * fraction)), int(most.sum())) if fraction else 0
    shares = sizes * fraction
    quotas: NDArray[np.int64] = np.minimum(np.floor(shares).astype(np.int64), most)
    for index in np.argsort(quotas - shares, kind="stable"):
        if quotas.sum() < wanted and quotas[index] < most[index]:
            quotas[index] += 1
    return quotas
