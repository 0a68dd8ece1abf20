"""The parts of the speed benchmark: parity, timing, operations counted, memory, peers, table."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from benchmarks.readme import between_marks
from benchmarks.speed.cases import CASES, Case
from benchmarks.speed.jax_peer import jax_peers
from benchmarks.speed.layer_norm_peers import layer_norm_peers
from benchmarks.speed.memory import peak_bytes
from benchmarks.speed.neighbours import Neighbours
from benchmarks.speed.onnx_peer import onnx_peers
from benchmarks.speed.parity import MismatchError, check
from benchmarks.speed.problem import Implementation, Problem
from benchmarks.speed.table import NOTHING, Rows, speed_table
from benchmarks.speed.threads import environment
from benchmarks.speed.timing import Timing, interleave
from benchmarks.speed.torch_peers import torch_peers

RIGHT = {"output": np.array([1.0, -2.0]), "grad weight_hh_l0": np.array([3.0]), "c_n": np.array([1.0])}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"output": np.array([1.0, -2.001])}, "output is off by 5.0e-04 of its largest magnitude"),
        ({"output": np.array([np.nan, -2.0])}, "output is off by nan"),
        ({"grad weight_hh_l0": np.array([[3.0]])}, r"grad weight_hh_l0 has the shape \(1, 1\)"),
        ({"grad weight_hh_l0": None}, "no grad weight_hh_l0"),
        ({"c_n": np.array([-1.0])}, "c_n is off by"),
    ],
)
def test_a_wrong_answer_is_a_mismatch(changed: dict[str, np.ndarray | None], message: str) -> None:
    found = {name: value for name, value in (RIGHT | changed).items() if value is not None}
    with pytest.raises(MismatchError, match=message):
        check(found, RIGHT)


def test_who_cannot_give_the_cell_state_passes_and_is_named() -> None:
    found = {name: value.astype(np.float32) for name, value in RIGHT.items() if name != "c_n"}
    assert check(found, RIGHT) == ["c_n"]


def test_products_are_counted_by_hand() -> None:
    plain = Case("", "", "", "lstm", "training", 5, 2, 3, ())
    # A step of a row: 4 gates of 3 units, each a product with 3 inputs and with 3 units of h, 2 a multiply-add.
    forward = 4 * 3 * (3 + 3) * 2
    assert plain.flops(10) == 10 * forward * 3
    gru = Case("", "", "", "gru", "inference", 5, 2, 3, (), bidirectional=True)
    assert gru.flops(7) == 2 * 7 * forward * 3 // 4
    ragged = Problem.draw(CASES["lstm-training-ragged-t200-b32-h128"])
    assert ragged.lengths is not None
    assert ragged.row_steps == int(ragged.lengths.sum()) < 200 * 32
    assert ragged.lengths.min() >= 50


def test_implementations_take_turns() -> None:
    calls: list[str] = []
    runs = {
        name: Implementation(run=lambda name=name: calls.append(name), answer=dict) for name in ("a", "b")
    }
    timings = interleave(runs, rounds=4, seconds=0.0)
    # Three warm-up calls each, then the rounds, begun by another one each time.
    assert "".join(calls) == "aaabbb" + "ab" + "ba" + "ab" + "ba"
    assert [len(timing.samples) for timing in timings.values()] == [4, 4]


def test_a_call_is_timed_whatever_its_repeats() -> None:
    timing = interleave(
        {"nap": Implementation(lambda: time.sleep(0.004), dict)}, rounds=3, seconds=0.06
    )["nap"]  # fmt: skip
    assert 0.004 <= timing.minimum < 0.02
    assert timing.cores < 0.8  # who sleeps does not compute
    assert Timing((4.0, 1.0, 2.0, 3.0, 9.0), 1.0).quartiles == (2.0, 3.0, 4.0)
    assert Timing((4.0, 1.0, 2.0, 3.0, 9.0), 1.0).minimum == 1.0


def test_memory_at_its_height_is_seen_each_time() -> None:
    heights = [peak_bytes(lambda: np.ones(8 << 20)) for _ in range(2)]
    if heights[0] is None:
        pytest.skip("the system does not tell how much memory a call takes")
    for height in heights:
        assert height is not None
        assert 60 << 20 < height < 80 << 20


def test_neighbours_are_seen() -> None:
    command = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as neighbour:
        assert neighbour.stdout is not None
        neighbour.stdout.readline()  # it runs
        with Neighbours() as seen:
            time.sleep(1.0)
        neighbour.kill()
    if seen.cores is None:
        pytest.skip("the system does not tell how busy it is")
    assert 0.5 < seen.cores <= (os.cpu_count() or 1) + 0.1


def test_every_library_is_given_the_same_threads() -> None:
    assert {environment(1)[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC")} == {"1"}


def _layer_norm_problem() -> Problem:
    torch.manual_seed(0)
    case = CASES["layer-norm-lstm-training-t200-b32-h128"].tiny()
    size = case.hidden_size
    input, cotangent = torch.randn(2, case.time, case.batch, size)
    shapes = {"weight_ih": (4 * size, size), "weight_hh": (4 * size, size), "bias": (4 * size,)}
    shapes |= {"gain_x": (4 * size,), "gain_h": (4 * size,), "gain_c": (size,), "shift_c": (size,)}
    weights = {f"{name}_l0": torch.rand(shape) - 0.3 for name, shape in shapes.items()}
    return Problem(case, input, None, weights, cotangent)


def test_the_layer_norm_loop_is_the_papers() -> None:
    """Ba, Kiros and Hinton 2016, eq. 20-22, in NumPy and float64."""
    problem = _layer_norm_problem()
    w = {name.removesuffix("_l0"): value.double().numpy() for name, value in problem.weights.items()}
    batch, size = problem.case.batch, problem.case.hidden_size

    def normal(values: np.ndarray) -> np.ndarray:
        variance = values.var(-1, keepdims=True)
        return (values - values.mean(-1, keepdims=True)) / np.sqrt(variance + 1e-5)

    def sigmoid(values: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-values))

    h, c, outputs = np.zeros((batch, size)), np.zeros((batch, size)), []
    for x in problem.input.double().numpy():
        gates = w["gain_h"] * normal(h @ w["weight_hh"].T) + w["gain_x"] * normal(x @ w["weight_ih"].T)
        i, f, g, o = np.split(gates + w["bias"], 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(w["gain_c"] * normal(c) + w["shift_c"])
        outputs.append(h)
    found = layer_norm_peers(problem)["torch-loop"]().answer()
    assert np.abs(found["output"] - np.stack(outputs)).max() < 1e-5
    assert np.abs(found["c_n"][0] - c).max() < 1e-5


def test_the_other_layer_norm_peers_equal_the_loop() -> None:
    problem = _layer_norm_problem()
    wanted = layer_norm_peers(problem)["torch-loop"]().answer()
    scripted = layer_norm_peers(problem)["torch-loop-script"]()
    for _ in range(3):  # a script is rewritten by what its first runs have seen
        assert check(scripted.answer(), wanted) == []
    pytest.importorskip("jax")
    assert check(jax_peers(problem)["jax"]().answer(), wanted) == []


def test_onnxruntime_steps_are_torchs() -> None:
    pytest.importorskip("onnxruntime")
    problem = Problem.draw(CASES["lstm-step-h64"].tiny())
    wanted = torch_peers(problem)["torch-layer"]().answer()
    for build in onnx_peers(problem, 1).values():
        implementation = build()
        implementation.run()  # the state that a run has left must not leak into the answer
        assert check(implementation.answer(), wanted) == []


def _row(case: Case, ratio: float) -> dict[str, str]:
    return {
        "median_seconds": "0.0021", "q1_seconds": "0.002", "q3_seconds": "0.0000022", "best_other": "jax",
        "best_other_seconds": "1.5", "ratio": str(ratio), "share_of_peak_percent": "61.2",
        "must": "the fastest other: 1.7; % of the peak: 60", "aim": "the fastest other: 2.2",
        "measured": f"the fastest other: {ratio}; % of the peak: 61.2", "machine": "M", "features": "fma",
        "commit": "abc", "torch": "2", "versions": "jax 1", "peak_by": "P", "case": case.name, "others_cores": "0.05",
    }  # fmt: skip


def test_the_table_says_what_falls_short_and_what_is_not_measured() -> None:
    assert speed_table({}) == NOTHING
    case = CASES["lstm-training-t200-b32-h128"]
    table = speed_table({(case.name, 2): _row(case, 1.65), (case.name, 1): _row(case, 3.0)})
    assert (
        "| LSTM training, T200 B32 H128 | 2.1 ms (2 ms to 2.2 µs) | jax, 1.5 s | **1.65x**, falls short; "
        "**61 % of the peak** | 1.7x; 60 % of the peak | 2.2x | 3x; 61 % of the peak | 61 |"
    ) in table
    assert "| GRU training, T200 B32 H128 | | | not measured | | | | |" in table
    assert "not measured: 0 of 16 shapes" in table
    place, beside = table.splitlines()[-1].split("; ")
    assert place == "Measured on M (fma), commit abc, torch 2, jax 1, peak by P"
    assert beside == "other processes kept at most 0.05 cores busy meanwhile."


def test_the_grid_is_one_line_with_its_worst_and_its_mean() -> None:
    grid = [case for case in CASES.values() if case.group == "grid"]
    rows: Rows = {(case.name, 2): _row(case, 2.0) for case in grid}
    rows[grid[5].name, 2]["ratio"] = "0.5"
    line = next(line for line in speed_table(rows).splitlines() if "16 shapes" in line)
    assert "worst: T100 B8 H128, 2.1 ms" in line
    assert "**0.5x**, falls short at worst; 1.83x in the mean" in line


def test_a_mark_that_is_missing_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 places marked <!-- speed -->"):
        between_marks("no mark", {"speed": "table"})
