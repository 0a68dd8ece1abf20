"""Whether the machine was ours alone: how many of its cores other processes kept busy meanwhile.

Two threads that meet at every step wait for each other: let a neighbour take the core of one, and a step of 0.2 ms
takes 24. Figures taken beside others are no figures.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType

# From here on a run says so; the system's own small work stays below.
BUSY_CORES = 0.2


class Neighbours:
    """Around the timing; `cores` afterwards, None where the system does not tell (off Linux)."""

    cores: float | None = None

    def __enter__(self) -> Neighbours:
        self._before = _busy_seconds(), time.process_time(), time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        busy, own, wall = self._before
        now = _busy_seconds()
        if busy is not None and now is not None:
            others = (now - busy) - (time.process_time() - own)
            self.cores = max(0.0, others / (time.perf_counter() - wall))


def _busy_seconds() -> float | None:
    """Of all cores together, since the machine started, whoever used them."""
    stat = Path("/proc/stat")
    if not stat.is_file():
        return None
    user, nice, system, _idle, _waiting, *interrupts = map(
        int, stat.read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")
