"""Batches of pairs by the count of their tokens: which rows stand together, and what a model reads of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storyline.data.batches import collate
from storyline.data.order import Rows
from storyline.data.source import DataError

Ids = NDArray[np.int64]
# Lengths are compared as if they were up to this share longer or shorter, so that batches differ from epoch to epoch.
_NOISE = 0.05
# By how much a batch may grow, again and again, until an epoch has as few batches as the first.
_GROWTH = 1.01


@dataclass(frozen=True)
class PairBatch:
    """Pairs of a batch, padded at the end.

    source          (batch, source) int64 ids, 0 in the padding
    source_lengths  (batch,) int64
    target_in       (batch, time) int64: what the decoder reads, the begin token first; 0 in the padding
    target_out      (batch, time) int64: what it is to say, the end token last; -100 in the padding
    target_lengths  (batch,) int64: tokens of target_in, and of target_out
    rows            (batch,) int64, the row of the data that each pair is
    """

    source: Tensor
    source_lengths: Tensor
    target_in: Tensor
    target_out: Tensor
    target_lengths: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device | str) -> PairBatch:
        """The same batch on a device."""
        return PairBatch(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True, eq=False)
class TokenPairs:
    """Pairs as ids: what `batch` makes batches of; `rows` says which pairs of the user's data they are.

    sources, targets  ids of each side (time,), at least one each of a source
    begin_id, end_id  what the decoder reads first, and what it says last
    """

    sources: Sequence[Ids]
    targets: Sequence[Ids]
    begin_id: int
    end_id: int
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def source_lengths(self) -> Rows:
        """Tokens of each source (n,)."""
        return np.array([len(self.sources[row]) for row in self.rows], dtype=np.int64)

    @property
    def target_lengths(self) -> Rows:
        """Tokens of each target with its begin, or its end, token (n,)."""
        return np.array([len(self.targets[row]) + 1 for row in self.rows], dtype=np.int64)

    def take(self, places: NDArray[Any]) -> TokenPairs:
        """Only the pairs at the given places."""
        return TokenPairs(self.sources, self.targets, self.begin_id, self.end_id, self.rows[places])

    def within(self, longest: int | None) -> TokenPairs:
        """Without the pairs of which a side has more than `longest` tokens; the difference in len() is to be said."""
        if longest is None:
            return self
        if longest < 1:
            raise DataError(f"longest is {longest}; it must be at least 1")
        fits = (self.source_lengths <= longest) & (self.target_lengths <= longest)
        return self.take(np.flatnonzero(fits))

    def order(self, tokens: int, *, seed: int, epoch: int, shuffle: bool = True) -> list[Rows]:
        """`token_order` of these pairs."""
        return token_order(
            self.source_lengths, self.target_lengths, tokens, seed=seed, epoch=epoch, shuffle=shuffle
        )

    def batch(self, places: NDArray[Any]) -> PairBatch:
        """The pairs at the given places."""
        rows = self.rows[places]
        begin, end = (np.array([id_], dtype=np.int64) for id_ in (self.begin_id, self.end_id))
        source = collate([self.sources[row] for row in rows], range(len(rows)))
        target = collate(
            [np.concatenate([begin, self.targets[row]]) for row in rows],
            range(len(rows)),
            [np.concatenate([self.targets[row], end]) for row in rows],
        )
        assert target.targets is not None
        return PairBatch(
            source.inputs,
            source.lengths,
            target.inputs,
            target.targets,
            target.lengths,
            torch.from_numpy(rows.astype(np.int64)),
        )


def token_order(
    source_lengths: NDArray[np.int64] | Sequence[int],
    target_lengths: NDArray[np.int64] | Sequence[int],
    tokens: int,
    *,
    seed: int,
    epoch: int,
    shuffle: bool = True,
) -> list[Rows]:
    """Batches of row numbers, each of about `tokens` tokens: rows times the longest source and the longest target.

    A pure function of its arguments. Every row comes once, and every epoch of a seed has the same number of batches;
    rows of like length, of both sides, stand together. A pair that is longer than `tokens` has a batch of its own.
    An epoch whose order wants more batches than the first has larger ones, by a few hundredths.
    Without `shuffle` the batches go from the shortest sources to the longest, the same at every epoch.
    """
    lengths = _checked(source_lengths, target_lengths, tokens)
    if not shuffle:
        order = _alike(lengths)
        return np.split(order, _cuts(lengths[:, order], tokens))
    order = _jittered(lengths, seed, 0)
    count = len(_cuts(lengths[:, order], tokens)) + 1
    if epoch:
        order = _jittered(lengths, seed, epoch)
    capacity = float(tokens)
    while len(cuts := _cuts(lengths[:, order], capacity)) >= count:
        capacity *= _GROWTH
    batches = np.split(order, cuts)
    while len(batches) < count:
        places = [len(batch) * lengths[:, batch].max(1).sum() if len(batch) > 1 else 0 for batch in batches]
        largest = int(np.argmax(places))
        batches[largest : largest + 1] = np.array_split(batches[largest], 2)
    turn = np.random.default_rng([seed, epoch, 1]).permutation(count)
    return [batches[place] for place in turn]


def _checked(source: Any, target: Any, tokens: int) -> NDArray[np.int64]:
    lengths = [np.asarray(side) for side in (source, target)]
    if lengths[0].ndim != 1 or lengths[0].shape != lengths[1].shape or not len(lengths[0]):
        shapes = " and ".join(str(side.shape) for side in lengths)
        raise DataError(f"the lengths have shapes {shapes}; one of each for at least one pair was wanted")
    if tokens < 1:
        raise DataError(f"tokens is {tokens}; it must be at least 1")
    for name, side in zip(("source", "target"), lengths, strict=True):
        short = np.flatnonzero(side < 1)
        if len(short):
            raise DataError(
                f"{name}_lengths[{short[0]}] is {side[short[0]]}; every sequence needs at least one token"
            )
    return np.stack(lengths).astype(np.int64)


def _alike(lengths: NDArray[Any]) -> Rows:
    """Rows by their source, those of one length by their target, there and back again.

    So neighbours are alike on both sides, also where one length of the sources goes over into the next: less is padded
    than if the targets always rose.
    """
    source = np.rint(lengths[0]).astype(np.int64)
    return np.lexsort((np.where(source % 2, -lengths[1], lengths[1]), source)).astype(np.int64)


def _jittered(lengths: NDArray[np.int64], seed: int, epoch: int) -> Rows:
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(lengths.shape[1])
    noisy = lengths[:, order] * (1 + _NOISE * generator.uniform(-1, 1, lengths.shape))
    return order[_alike(noisy)].astype(np.int64)


def _cuts(lengths: NDArray[np.int64], capacity: float) -> list[int]:
    """Where batches end if each takes as many of the rows, in their order, as hold `capacity` tokens."""
    cuts: list[int] = []
    rows = longest_source = longest_target = 0
    for place, (source, target) in enumerate(zip(*lengths.tolist(), strict=True)):
        longest_source, longest_target = max(longest_source, source), max(longest_target, target)
        rows += 1
        if rows > 1 and rows * (longest_source + longest_target) > capacity:
            cuts.append(place)
            rows, longest_source, longest_target = 1, source, target
    return cuts
