"""What every test shares: the thread count, set explicitly, and the folder of real data."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import torch

# Without a GPU the triton kernels run in Triton's interpreter, which must be chosen before triton is imported.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# A shell that runs the suite in the background has it ignore Ctrl-C, and the tests of Ctrl-C would wait in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# OpenMP oversubscription costs twenty times the run, and thread counts change the last bits. Processes that share the
# tests (pytest -n) have one thread each; a test of several threads sets them itself.
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)

ROOT = Path(__file__).resolve().parents[1]
# The benchmarks are tested too, and they are not part of the installed package.
sys.path.insert(0, str(ROOT))

DATA = ROOT.parent / "shared" / "data"


@pytest.fixture
def data_folder() -> Path:
    """The folder of real data beside the checkout; the test is skipped, saying so, where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA}")
    return DATA
