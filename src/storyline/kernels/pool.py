"""Memory for large tensors that is used again: fresh pages cost a fault each, about eight times what writing costs.

A tensor from here is like any other, but that it cannot be resized. It may be kept for ever; its memory comes back
when the last tensor, view or graph that refers to it has died, in whichever thread. What has come back is held for
the next one, up to LIMIT_BYTES; `clear()` hands it to the system.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Below this, what the C library itself keeps at hand serves as well.
LEAST_BYTES = 1 << 20
# How much memory that nobody uses is held at most.
LIMIT_BYTES = 512 << 20


class _Loan(np.ndarray[Any, Any]):
    """The part of a block that a tensor lives in. torch refers to it for as long as the storage lives, no longer."""

    lender: Pool
    block: np.ndarray[Any, Any]

    def __del__(self) -> None:
        self.lender.give_back(self.block)


class Pool:
    """Blocks of memory that are not in use, of sizes four to an octave, the longest unused given up first.

    Safe in many threads, and where the garbage collector sets in at any point: what comes back is only put in a
    queue, and sorted in by whoever next finds the lock free.
    """

    def __init__(self, limit: int = LIMIT_BYTES) -> None:
        self.limit = limit
        self.forget()

    def forget(self) -> None:
        """Start anew, with a lock of its own: in a forked child the old one may be held for ever."""
        self._lock = threading.Lock()
        self._returned: deque[np.ndarray[Any, Any]] = deque()
        # size -> (when it came back, block), the latest last
        self._kept: dict[int, list[tuple[int, np.ndarray[Any, Any]]]] = {}
        self._bytes = self._clock = 0

    def empty(self, like: Tensor, *sizes: int) -> Tensor:
        """A contiguous tensor of these sizes, its values undefined, of the dtype and on the device of `like`."""
        needed = like.element_size() * math.prod(sizes)
        if needed < LEAST_BYTES or not like.is_cpu:
            return like.new_empty(sizes)
        size = _rounded_up(needed)
        block = self._take(size)
        if block is None:
            # torch's, since its blocks are aligned for vectors and NumPy's are not.
            block = torch.empty(size, dtype=torch.uint8, device="cpu").numpy()
        loan = block[:needed].view(_Loan)
        loan.lender, loan.block = self, block
        flat = torch.frombuffer(loan, dtype=like.dtype)
        # Not a view, which in-place operations on the output of an autograd.Function would be refused.
        return flat if len(sizes) == 1 else flat.resize_(sizes)

    def give_back(self, block: np.ndarray[Any, Any]) -> None:
        self._returned.append(block)
        self._sort_in()

    def clear(self) -> None:
        """Hand all memory that is not in use back to the system."""
        self._sort_in()
        with self._lock:
            dropped, self._kept, self._bytes = self._kept, {}, 0
        dropped.clear()
        self._sort_in()

    def kept_bytes(self) -> int:
        """How much is held that nobody uses."""
        return self._bytes

    def _take(self, size: int) -> np.ndarray[Any, Any] | None:
        block = None
        with self._lock:
            if stack := self._kept.get(size):
                # The latest: it is the likeliest to be in a cache.
                _, block = stack.pop()
                self._bytes -= size
        if self._returned:
            self._sort_in()
        return block

    def _sort_in(self) -> None:
        """Keep what has come back. Never waits: whoever holds the lock looks here again after letting go."""
        while self._returned and self._lock.acquire(blocking=False):
            try:
                while self._returned:
                    block = self._returned.popleft()
                    if block.nbytes <= self.limit:
                        self._clock += 1
                        self._kept.setdefault(block.nbytes, []).append((self._clock, block))
                        self._bytes += block.nbytes
                while self._bytes > self.limit:
                    oldest = min((size for size, stack in self._kept.items() if stack), key=self._since)
                    self._kept[oldest].pop(0)
                    self._bytes -= oldest
            finally:
                self._lock.release()

    def _since(self, size: int) -> int:
        return self._kept[size][0][0]


def _rounded_up(needed: int) -> int:
    """One of four sizes an octave, so that batches of about one size share; pages never touched cost nothing."""
    step = 1 << (needed.bit_length() - 3)
    return -(-needed // step) * step


_pool = Pool()
empty, clear, kept_bytes = _pool.empty, _pool.clear, _pool.kept_bytes
os.register_at_fork(after_in_child=_pool.forget)
