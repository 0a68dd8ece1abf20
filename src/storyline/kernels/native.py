"""The compiled module: whether it is there, which instructions it was built for and which it uses."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import torch  # before the module, which takes OpenMP from what torch has loaded

_TARGET = "STORYLINE_TARGET"


def _load() -> tuple[ModuleType | None, str | None]:
    try:
        module = importlib.import_module("storyline.kernels._native")
    except ModuleNotFoundError:
        return None, (
            "the native kernels are not built (they need a C++20 compiler when Storyline is installed; "
            "`pip install --verbose` shows what failed)"
        )
    except ImportError as error:
        return None, f"the native kernels do not load: {error}"
    if wanted := os.environ.get(_TARGET):
        module.choose_target(wanted)
    return module, None


module, missing = _load()
"""The compiled module, or None; and then the reason in a sentence."""


def cells() -> dict[str, tuple[int, int, int, int]]:
    """The cells that have a native kernel.

    A name -> (its number, columns and single numbers of a kept row of gates, states); see csrc/cells/cell.h.
    """
    return {} if module is None else {name: (i, *sizes) for i, (name, *sizes) in enumerate(module.cells())}


def targets() -> dict[str, bool]:
    """The instruction sets that were built, and whether this machine runs them: v2, v3 and v4 of x86-64, or neon."""
    return dict(module.targets()) if module is not None else {}


def target() -> str:
    """The instruction set in use; STORYLINE_TARGET in the environment forces one."""
    assert module is not None
    return str(module.target())


def vector_bytes() -> int:
    """The width of a vector of the target in use."""
    assert module is not None
    return int(module.vector_bytes())


def fma_peak(threads: int | None = None) -> float:
    """What this machine reaches in float32 on registers alone, in floating-point operations a second, measured now.

    A fused multiply-add counts as two. Takes about a second. None: as many threads as torch uses.
    """
    assert module is not None
    return 2 * float(module.peak(torch.get_num_threads() if threads is None else threads))
