"""The batches of one epoch, for sequences that can make a batch of any of their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar, overload

import numpy as np

Made = TypeVar("Made", covariant=True)


class Rows(Protocol[Made]):
    """What batches can be made of."""

    def batch(self, places: np.ndarray) -> Made:
        """The rows at the given places."""


class Batches(Sequence[Made]):
    """The batches of one epoch, each made when it is asked for."""

    def __init__(self, rows: Rows[Made], order: Sequence[np.ndarray]) -> None:
        self._rows, self._order = rows, order

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Made: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Made]: ...
    def __getitem__(self, index: int | slice) -> Made | Sequence[Made]:
        if isinstance(index, slice):
            return Batches(self._rows, self._order[index])
        return self._rows.batch(self._order[index])
