"""What goes into a backend and what comes out: weights of one layer in one direction, a recurrence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from storyline.cells import Scan, State


@dataclass(frozen=True)
class Weights:
    """The parameters of one layer in one direction; `rows` is cell.preactivations * hidden_size.

    weight_ih (rows, input_size), weight_hh (rows, size of h / cell.heads), bias_ih and bias_hh (rows,) or None,
    weight_hr (proj_size, hidden_size) or None; own: the cell's own parameters, in the order and of the shapes
    of `cell.parameters`.
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None = None
    bias_hh: Tensor | None = None
    weight_hr: Tensor | None = None
    own: tuple[Tensor, ...] = ()

    def as_list(self) -> list[Tensor]:
        """Those that torch's fused operators take and that are there, in the operators' order."""
        return [each for each in self._shared() if each is not None]

    def every(self) -> list[Tensor]:
        """All that are there, the cell's own last; `of` puts them together again."""
        return [*self.as_list(), *self.own]

    def given(self) -> tuple[bool, ...]:
        """Which of the five that a cell shares with others are there."""
        return tuple(each is not None for each in self._shared())

    @classmethod
    def of(cls, given: tuple[bool, ...], tensors: Sequence[Tensor]) -> Weights:
        """The weights whose `given()` and `every()` these are."""
        left = iter(tensors)
        weight_ih, weight_hh, *others = [next(left) if there else None for there in given]
        assert weight_ih is not None
        assert weight_hh is not None
        bias_ih, bias_hh, weight_hr = others
        return cls(weight_ih, weight_hh, bias_ih, bias_hh, weight_hr, tuple(left))

    def _shared(self) -> tuple[Tensor | None, ...]:
        return (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh, self.weight_hr)


@dataclass(frozen=True)
class Recurrence:
    """What a backend returns.

    output (time, batch, size of h): h after each step, 0 beyond the length of its row.
    state: the last state of each row, a tensor (batch, size) a name in `cell.states`.
    scan: every state and gate, where the backend can give them, else None.
    """

    output: Tensor
    state: State
    scan: Scan | None = None
