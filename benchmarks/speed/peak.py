"""How many floating-point operations a second this machine can do in multiply-adds, as measured here and now."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable

import numpy as np
import torch

_REPEATS = 5


def peak(threads: int, size: int = 1536) -> tuple[float, str]:
    """Flop/s of `threads` threads in float32, 2 a multiply-add, and how that was found.

    The native module's loop of multiply-adds where it is built. Else the faster one of torch's and numpy's product of
    two (size, size) matrices, which is below the true peak: a share of it then flatters.
    """
    try:
        native = importlib.import_module("storyline.kernels.native")
        return float(native.fma_peak(threads)), "fused multiply-adds in registers"
    except (ImportError, AttributeError):
        pass
    a, b = torch.randn(size, size), torch.randn(size, size)
    x, y = a.numpy(), b.numpy()
    products: dict[str, Callable[[], object]] = {
        f"torch matmul, {size} squared": lambda: torch.mm(a, b),
        f"numpy matmul, {size} squared": lambda: np.matmul(x, y),
    }
    return max((2 * size**3 / _fastest(run), name) for name, run in products.items())


def _fastest(run: Callable[[], object]) -> float:
    run()
    seconds = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return min(seconds)
