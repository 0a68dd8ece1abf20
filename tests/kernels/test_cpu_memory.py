"""When the system has no memory left, a call fails and the process lives."""

from __future__ import annotations

import subprocess
import sys

import pytest

from storyline.kernels import native

pytestmark = pytest.mark.skipif(native.missing is not None, reason=str(native.missing))

# Every limit from nothing left to enough: each attempt meets it at another place, in one thread or the other.
_SCRIPT = """
import resource, torch
from storyline import LSTM
torch.set_num_threads(2)
LSTM(8, 8)(torch.ones(2, 2, 8))  # the threads are there
layer, input = LSTM(512, 512), torch.ones(8, 64, 512)
refused = 0
for spare in range(0, 200 << 20, 2 << 20):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + spare, resource.RLIM_INFINITY))
    try:
        layer(input)[0].sum().backward()
    except (MemoryError, RuntimeError):
        refused += 1
        continue
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    break
else:
    raise SystemExit("not even 200 MB are enough")
assert refused >= 5, refused
print("lived")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_call_without_memory_fails_and_the_process_lives() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "lived\n"), done.stderr[-2000:]
