"""The rates of recurrent dropout and zoneout that a layer was built with, and the masks drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from storyline.cells import Cell, Noise

Zoneout: TypeAlias = float | tuple[float, float]


@dataclass(frozen=True)
class NoiseRates:
    """How much of a recurrence is disturbed in training; see `cells.Noise` for what each does.

    recurrent_dropout: the probability that a channel of h is hidden from weight_hh, for a whole sequence.
    zoneout: a rate a state: the probability that a unit keeps its old state at a step, and in evaluation
        the share of the old state that every unit keeps.
    """

    recurrent_dropout: float = 0.0
    zoneout: tuple[float, ...] = ()

    @classmethod
    def checked(cls, cell: Cell, recurrent_dropout: Any, zoneout: Any) -> NoiseRates:
        """From what a user gave: zoneout is one rate for all states, or a pair for h and c.

        Raises ValueError where a rate is none, or where zoneout does not fit the cell.
        """
        if not _is_number(recurrent_dropout) or not 0 <= recurrent_dropout < 1:
            raise ValueError(
                f"recurrent_dropout is {recurrent_dropout!r}; it must be a probability below 1, 0 for none"
            )
        pair = isinstance(zoneout, tuple | list)
        rates = tuple(zoneout) if pair else (zoneout,) * len(cell.states)
        if pair and len(rates) != len(cell.states):
            raise ValueError(
                f"zoneout has {len(rates)} rates and {cell.name} {len(cell.states)} states "
                f"({', '.join(cell.states)}); give one rate a state, or one for all"
            )
        if not all(_is_number(rate) and 0 <= rate <= 1 for rate in rates):
            raise ValueError(f"zoneout is {zoneout!r}; every rate must be a number from 0 to 1, 0 for none")
        if any(rates) and not set(cell.states) <= {"h", "c"}:
            # The c of an sLSTM means nothing without the n and m of the same step.
            raise ValueError(
                f"zoneout keeps single units of h and c, and {cell.name} has the states "
                f"{', '.join(cell.states)}, which belong together; take recurrent_dropout instead"
            )
        return cls(float(recurrent_dropout), tuple(map(float, rates)) if any(rates) else ())

    def active(self, training: bool) -> bool:
        """Whether a pass has any noise; in evaluation zoneout has, recurrent dropout has not."""
        return bool(self.zoneout) or (training and self.recurrent_dropout > 0)

    def draw(self, training: bool, time: int, batch: int, sizes: Sequence[int], like: Tensor) -> Noise | None:
        """The noise of one layer in one direction, of the dtype and on the device of `like`; None without.

        Drawn from torch's global generator, in training only. sizes: the size of each state.
        """
        if not self.active(training):
            return None
        if not training:
            return Noise(zoneout=tuple(like.new_tensor(rate) for rate in self.zoneout))
        mask = None
        if self.recurrent_dropout:
            kept = 1 - self.recurrent_dropout
            mask = _bernoulli(kept, (batch, sizes[0]), like) / kept
        zoneout = tuple(
            _bernoulli(rate, (time, batch, size), like) if rate else None
            for rate, size in zip(self.zoneout, sizes, strict=bool(self.zoneout))
        )
        return Noise(mask, zoneout)

    def describe(self) -> str:
        """As arguments, in the manner of torch.nn's extra_repr."""
        text = ""
        if self.zoneout:
            rates = self.zoneout[0] if len(set(self.zoneout)) == 1 else self.zoneout
            text += f", zoneout={rates}"
        if self.recurrent_dropout:
            text += f", recurrent_dropout={self.recurrent_dropout}"
        return text


def _bernoulli(probability: float, shape: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device=like.device).bernoulli_(probability)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
