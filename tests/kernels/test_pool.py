"""The pool: memory comes back when nothing refers to it any more, and never before."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from storyline import LSTM
from storyline.kernels import BACKENDS, pool
from storyline.kernels.pool import LEAST_BYTES, Pool

LIKE = torch.empty(0)
COUNT = LEAST_BYTES // 4  # of float32: the least that is pooled


def test_memory_comes_back_with_the_last_view() -> None:
    own = Pool()
    tensor = own.empty(LIKE, 2, COUNT)
    assert tensor.shape == (2, COUNT)
    assert tensor.is_contiguous()
    assert not tensor._is_view()
    address, view = tensor.data_ptr(), tensor[1, 5:9].detach()
    del tensor
    assert own.kept_bytes() == 0
    assert own.empty(LIKE, 2, COUNT).data_ptr() != address
    own.clear()
    view.fill_(3)
    del view
    assert own.kept_bytes() == 2 * LEAST_BYTES
    assert own.empty(LIKE, 2 * COUNT).data_ptr() == address


def test_a_numpy_view_and_a_graph_keep_their_memory() -> None:
    own = Pool()
    array = own.empty(LIKE, COUNT).fill_(7).numpy()
    own.empty(LIKE, COUNT).fill_(0)
    assert (array == 7).all()
    kept = own.empty(LIKE, COUNT).fill_(2)
    weight = torch.ones(COUNT, requires_grad=True)
    loss = (weight * kept).sum()
    del kept
    own.empty(LIKE, COUNT).fill_(0)
    loss.backward()
    assert weight.grad is not None
    assert bool((weight.grad == 2).all())
    del loss, array
    assert own.kept_bytes() >= 2 * LEAST_BYTES


def test_what_is_small_or_elsewhere_is_torchs_own() -> None:
    own = Pool()
    own.empty(LIKE, COUNT - 1)
    own.empty(torch.empty(0, device="meta"), COUNT)
    assert own.kept_bytes() == 0
    with torch.device("meta"):  # a default device concerns users' tensors
        assert own.empty(LIKE, COUNT).is_cpu
    assert own.empty(LIKE.double(), COUNT).dtype == torch.float64


def test_sizes_of_about_one_size_share_and_waste_little() -> None:
    own = Pool()
    for count in range(COUNT, 8 * COUNT, COUNT // 7):
        tensor = own.empty(LIKE, count)
        assert tensor.untyped_storage().nbytes() == 4 * count  # what a save would write
        del tensor
        assert 4 * count <= own.kept_bytes() <= 5 * count
        own.clear()


def test_the_longest_unused_goes_first() -> None:
    own = Pool(limit=6 * LEAST_BYTES)
    one, two, four = (own.empty(LIKE, times * COUNT) for times in (1, 2, 4))
    addresses = [each.data_ptr() for each in (one, two, four)]
    del two, one, four  # in this order
    assert own.kept_bytes() == 5 * LEAST_BYTES  # all would be 7
    assert own.empty(LIKE, COUNT).data_ptr() == addresses[0]
    assert own.empty(LIKE, 4 * COUNT).data_ptr() == addresses[2]
    own.empty(LIKE, 7 * COUNT)  # above the limit: never held, and displaces nothing
    assert own.kept_bytes() == 5 * LEAST_BYTES


def test_garbage_collected_while_the_lock_is_held() -> None:
    """The collector may set in inside the pool itself, in the thread that holds the lock."""
    own = Pool()
    cycle: list[object] = [own.empty(LIKE, COUNT)]
    cycle.append(cycle)
    with own._lock:
        del cycle
        gc.collect()
        assert own.kept_bytes() == 0
    own.empty(LIKE, 2 * COUNT)
    assert own.kept_bytes() == 3 * LEAST_BYTES


def test_many_threads_never_share() -> None:
    own = Pool(limit=16 * LEAST_BYTES)
    wrong: list[str] = []

    def work(number: int) -> None:
        draw = random.Random(number)
        held: list[Tensor] = []
        for _ in range(150):
            held.append(own.empty(LIKE, draw.randint(1, 3) * COUNT)[: COUNT // 64].fill_(number))
            if len(held) > 3:
                tensor = held.pop(draw.randrange(len(held)))
                if not bool((tensor == number).all()):
                    wrong.append(f"thread {number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert 0 < own.kept_bytes() <= 16 * LEAST_BYTES


def test_saved_shared_and_copied(tmp_path: Path) -> None:
    own = Pool()
    tensor = own.empty(LIKE, COUNT).fill_(5)
    torch.save(tensor, tmp_path / "tensor.pt")
    assert torch.equal(torch.load(tmp_path / "tensor.pt"), tensor)
    assert torch.equal(tensor.clone().share_memory_(), tensor)
    tensor.share_memory_()  # moves it elsewhere, and the block is free
    assert own.kept_bytes() == LEAST_BYTES
    assert bool((tensor == 5).all())


def _runs(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_wait_for_a_lock_of_its_parent() -> None:
    # On one thread: torch's own fill_ would wait for ever in the child, for threads that a fork does not take along.
    _runs("""
import os, torch
torch.set_num_threads(1)
from storyline.kernels import pool
like = torch.empty(0)
mine = pool.empty(like, 1 << 20).fill_(1)
with pool._pool._lock:
    child = os.fork()
    if child == 0:
        del mine
        tensor = pool.empty(like, 1 << 20).fill_(2)
        del tensor
        os._exit(0 if pool.kept_bytes() else 1)
assert os.waitpid(child, 0)[1] == 0
assert bool((mine == 1).all())
""")


def test_tensors_that_live_to_the_end_of_the_process() -> None:
    """In a global, a cycle, a graph, and a thread that has not ended."""
    _runs("""
import threading, time, torch
from storyline import LSTM
from storyline.kernels import pool
like = torch.empty(0)
mine = pool.empty(like, 1 << 20)
cycle = [pool.empty(like, 1 << 20)]
cycle.append(cycle)
output, _ = LSTM(8, 32)(torch.zeros(500, 32, 8))
def work():
    held = pool.empty(like, 1 << 20)
    threading.Event().wait()
threading.Thread(target=work, daemon=True).start()
time.sleep(0.1)
""")


@pytest.mark.skipif("cpu" not in BACKENDS, reason="the native kernels are not built")
def test_a_layer_takes_its_memory_from_the_pool_and_gives_it_back() -> None:
    torch.manual_seed(0)
    layer = LSTM(8, 32, backend="cpu")
    inputs = [torch.randn(500, 32, 8, requires_grad=True) for _ in range(3)]
    pool.clear()
    outputs = [layer(each)[0] for each in inputs]
    copies = [each.detach().clone() for each in outputs]
    assert pool.kept_bytes() == 0
    outputs[1].sum().backward()  # not in the order in which the graphs were made
    held = pool.kept_bytes()
    assert held >= 500 * 32 * 5 * 32 * 4
    again = layer(inputs[1])[0]
    assert pool.kept_bytes() < held
    for output, copy in zip([*outputs, again], [*copies, copies[1]], strict=True):
        assert torch.equal(output, copy)
    again.mul_(2)  # in place, as is done to the output of any layer
    del outputs, output, again
    assert pool.kept_bytes() >= 3 * held
    pool.clear()
    assert pool.kept_bytes() == 0
