"""A curriculum: how hard the examples are, raised whenever they have become easy."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Curriculum:
    """The difficulty (a distance, a length) that examples are drawn at, and when it is raised.

    After every batch, with s the share of right answers in it,

        average <- memory average + (1 - memory) s

    and where average > threshold, difficulty <- min(limit, growth difficulty), rounded up, and average <- restart, so
    that the new difficulty has to be shown anew. At the limit nothing more is raised.

    difficulty  where it begins, 1 or more
    limit       where it ends; `difficulty` or more
    growth      by how much it is raised at once, greater than 1
    threshold   the running average of right answers that raises it, below 1
    memory      of the running average, 0 to below 1
    restart     the average after a raise, below the threshold
    average     the running average at present

    Bengio et al. 2009, "Curriculum learning"; raising the length when it is mastered as in Zaremba and Sutskever 2014,
    "Learning to execute". Raises ValueError where a number is out of its range.
    """

    difficulty: int
    limit: int
    growth: float = 4 / 3
    threshold: float = 0.9
    memory: float = 0.9
    restart: float = 0.6
    average: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.difficulty <= self.limit:
            raise ValueError(
                f"difficulty is {self.difficulty} and limit {self.limit}; give 1 <= difficulty <= limit"
            )
        if not self.growth > 1:
            raise ValueError(f"growth is {self.growth}; it must be greater than 1, such as 4/3")
        if not 0 <= self.restart < self.threshold < 1:
            raise ValueError(
                f"restart is {self.restart} and threshold {self.threshold}; give 0 <= restart < threshold < 1"
            )
        if not 0 <= self.memory < 1:
            raise ValueError(f"memory is {self.memory}; it must be from 0 to below 1, such as 0.9")

    @property
    def finished(self) -> bool:
        """Whether the limit has been reached."""
        return self.difficulty == self.limit

    def after(self, right: float) -> Curriculum:
        """The curriculum after a batch of which the share `right` was answered rightly."""
        average = self.memory * self.average + (1 - self.memory) * right
        if self.finished or average <= self.threshold:
            return replace(self, average=average)
        raised = min(self.limit, math.ceil(self.growth * self.difficulty))
        return replace(self, difficulty=raised, average=self.restart)
