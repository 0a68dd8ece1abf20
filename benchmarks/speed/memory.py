"""How much memory a call needs at its height, as the kernel counts it: whoever allocates, torch or not."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

_SELF = Path("/proc/self")


def peak_bytes(run: Callable[[], object]) -> int | None:
    """Resident bytes at the height of `run()` over those before it; None where the kernel does not tell.

    Memory that earlier calls have freed is given back first, so that its reuse is counted too.
    """
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        (_SELF / "clear_refs").write_text("5")  # sets the high-water mark to what is resident now
        before = _status("VmRSS")
        run()
        return _status("VmHWM") - before
    except (OSError, AttributeError):  # not Linux, not glibc, or a container that forbids it
        return None


def _status(name: str) -> int:
    lines = (_SELF / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
