"""The same number of threads for every library, some of which read it only when they are loaded."""

from __future__ import annotations

import os

import threadpoolctl
import torch


def environment(threads: int) -> dict[str, str]:
    """What a process must be started with, so that no library in it takes more.

    NPROC is the one number of threads that XLA's CPU client heeds. onnxruntime is told in its session options.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC")
    return {**os.environ, **dict.fromkeys(names, str(threads))}


def set_threads(threads: int) -> None:
    """Of the libraries that can be told while they run: torch, OpenMP, the BLAS of numpy."""
    torch.set_num_threads(threads)
    threadpoolctl.threadpool_limits(threads)
