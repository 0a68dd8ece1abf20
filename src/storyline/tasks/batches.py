"""The batches of one epoch, for sequences that can make a batch of any of their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Protocol, TypeVar, overload

import numpy as np
import torch
from torch import Tensor

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


Item = TypeVar("Item")


def on_device(batch: Item, device: torch.device) -> Item:
    """A frozen dataclass of tensors, its tensors on a device; what else it holds stays as it is."""
    held: Any = batch
    parts = {field.name: getattr(held, field.name) for field in fields(held)}
    moved: Item = replace(
        held, **{name: part.to(device) for name, part in parts.items() if isinstance(part, Tensor)}
    )
    return moved
