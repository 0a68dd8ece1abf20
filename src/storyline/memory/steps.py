"""A number of steps as it was measured: exact, or only bounded from below because the data ended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


class MeasureError(ValueError):
    """A measure that cannot be taken; the message says why and what to do."""


@dataclass(frozen=True)
class Steps:
    """``value`` steps, or at least that many where ``at_least``: the data ended before the memory did."""

    value: int
    at_least: bool = False

    def __str__(self) -> str:
        unit = "step" if self.value == 1 else "steps"
        return f"{'at least ' if self.at_least else ''}{self.value:,} {unit}"

    @property
    def short(self) -> str:
        """``212`` or ``>= 248``, for the cell of a table whose head names the unit."""
        return f"{'>= ' if self.at_least else ''}{self.value:,}"


def is_whole(value: object) -> bool:
    """Whether it is a whole number, of Python or of NumPy."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_sizes(**sizes: int) -> None:
    """Refuse an argument that is not a whole number, 1 or more; named as the caller names it."""
    for name, size in sizes.items():
        if not is_whole(size) or size < 1:
            raise MeasureError(f"{name} is {size!r}; a whole number, 1 or more, was wanted")
