"""The native kernels among what else runs: denormals, other threads, forks, inference mode."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from drawn_layer import LAYERS, Given, call, draw_given, draw_layer, of_rows
from torch import Tensor

from storyline.kernels import cpu, native, native_call

pytestmark = pytest.mark.skipif(native.missing is not None, reason=str(native.missing))
EVERY_LAYER = pytest.mark.parametrize("name", LAYERS)


@pytest.fixture
def many_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every call is shared out among two threads, however small."""
    before = torch.get_num_threads()
    monkeypatch.setattr(native_call, "_WORTH_A_THREAD", 0)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def least_seconds(run: Callable[[], object], times: int = 7) -> float:
    """The least of several runs: what else the machine does only ever adds."""
    seconds = []
    for _ in range(times):
        begun = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


@EVERY_LAYER
def test_denormals_cost_no_more(name: str) -> None:
    """State, input and gradients of 1e-40 in float32: without flushing, a hundred times the rest."""
    layer = draw_layer(name, 32, 64, bias=False)
    plain = draw_given(layer, 40, 8)
    tiny = Given(
        torch.full_like(plain.input, 1e-40),
        tuple(torch.full_like(each, 1e-40) for each in plain.state),
        plain.fresh,
        [torch.full_like(each, 1e-40) for each in plain.weigh if each is not None],
    )
    assert least_seconds(lambda: call(layer, tiny)) < 3 * least_seconds(lambda: call(layer, plain))


@pytest.mark.parametrize("flushed", [False, True])
def test_callers_way_with_denormals_is_restored(flushed: bool, many_threads: None) -> None:
    layer = draw_layer("lstm", 5, 8)
    given = draw_given(layer, 4, 6)
    assert torch.set_flush_denormal(flushed) or not flushed
    try:
        call(layer, given)
        assert bool((torch.tensor([1e-40]) * 0.5 > 0).item()) is not flushed
    finally:
        torch.set_flush_denormal(False)
    if not flushed:  # and the threads of the pool, which torch's own operators use next
        assert bool((torch.full((1 << 18,), 1e-40) * 0.5 > 0).all())


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_under_any_number_of_threads(threads: int, many_threads: None) -> None:
    layer = draw_layer("gru", 9, 20, torch.float64)
    given = draw_given(layer, 12, 5)
    torch.set_num_threads(threads)
    got, wanted = call(layer, given), call(layer, given, "reference")
    for key, value in wanted.items():
        torch.testing.assert_close(got[key], value, rtol=0, atol=1e-12)


@pytest.mark.parametrize("team", [1, 2])
@EVERY_LAYER
def test_many_callers_at_once(name: str, team: int, many_threads: None) -> None:
    """Eight Python threads, each with layers of other sizes, get what one alone gets."""
    torch.set_num_threads(team)
    layers = [draw_layer(name, 3 + size, 5 + 7 * size) for size in range(4)]
    jobs = [
        (layers[seed % 4], draw_given(layers[seed % 4], 3 + seed, 1 + seed % 5, seed)) for seed in range(24)
    ]
    alone = [call(*job) for job in jobs]

    def work(job: int) -> dict[str, Tensor]:
        torch.set_num_threads(team)
        return call(*jobs[job])

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(work, range(24)))
    for (layer, _), got, wanted in zip(jobs, together, alone, strict=True):
        for key in wanted if team == 1 else of_rows(layer):
            assert torch.equal(got[key], wanted[key]), key


@EVERY_LAYER
def test_tensors_made_in_inference_mode(name: str) -> None:
    with torch.inference_mode():
        layer = draw_layer(name, requires_grad=False)
        given = draw_given(layer, 5, 3)
        assert given.input.is_inference()
        done = cpu.cpu(layer.cell, layer.weights, given.input, given.state, given.fresh)
    outside = draw_layer(name)
    wanted = call(outside, draw_given(outside, 5, 3))
    for key, value in zip(["output", *layer.cell.states], [done.output, *done.state], strict=True):
        assert torch.equal(value, wanted[key])


@EVERY_LAYER
def test_no_memory_is_left_behind(name: str) -> None:
    """Calls of changing sizes, one after another: what an earlier one left in the scratch memory changes nothing."""
    small, large = draw_layer(name, 3, 4), draw_layer(name, 40, 70)
    given, other = draw_given(small, 3, 2), draw_given(large, 9, 11)
    first = call(small, given)
    poisoned = replace(other, input=torch.full_like(other.input, float("nan")))
    call(large, poisoned)
    again = call(small, given)
    for key, value in first.items():
        assert torch.equal(again[key], value), key


FORKED = """
    import os, sys
    import torch
    from drawn_layer import call, draw_given, draw_layer, of_rows
    from storyline.kernels import native_call

    torch.set_num_threads(2)
    native_call._WORTH_A_THREAD = 0
    layer = draw_layer("lstm", 20, 40)
    given = draw_given(layer, 30, 8)
    parent = call(layer, given)
    child = os.fork()
    if child == 0:
        forked = call(layer, given)
        same = all(torch.equal(forked[key], parent[key]) for key in of_rows(layer))
        os._exit(0 if same else 3)
    _, status = os.waitpid(child, 0)
    again = call(layer, given)
    assert all(torch.equal(again[key], parent[key]) for key in parent)
    sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system has no fork")
def test_after_a_fork() -> None:
    """The child has none of its parent's threads, must not wait for them, and computes the same rows."""
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FORKED)],
        cwd=Path(__file__).parent, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
