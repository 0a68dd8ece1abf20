"""Every case of the speed benchmark runs, at a size that takes milliseconds; the figures mean nothing here."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.readme import README, pairs
from benchmarks.speed import measure as speed
from benchmarks.speed.__main__ import main
from benchmarks.speed.cases import CASES
from benchmarks.speed.layer_norm_peers import layer_norm_peers
from benchmarks.speed.measure import RESULTS, NotTimedError, measure
from benchmarks.speed.parity import check
from benchmarks.speed.problem import Answer, Implementation, Problem
from benchmarks.speed.table import newest_rows, with_speed

import storyline

# What compiles takes seconds a case; its parts are those of the peers that do not.
COMPILED = frozenset({"torch-compile", "torch-cell-compile", "torch-loop-compile"})
CASE = CASES["lstm-training-t200-b32-h128"]


LAYER_NORM = pytest.mark.skipif(
    "layer_norm" not in inspect.signature(storyline.LSTM).parameters,
    reason="storyline.LSTM has no layer_norm",
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=LAYER_NORM if case.layer_norm else ()) for name, case in CASES.items()]
)
def test_a_case_runs_at_a_tiny_size(name: str) -> None:
    row = measure(CASES[name], 2, tiny=True, without=COMPILED)
    assert str(row["ours"]).startswith("storyline-")
    assert str(row["best_other"]).startswith(("torch", "onnxruntime", "jax"))
    assert math.isfinite(float(str(row["ratio"])))
    assert float(str(row["minimum_seconds"])) <= float(str(row["median_seconds"]))
    # Nobody may be wrong; who is absent must have said why, so that no ratio is against an empty field in silence.
    assert "fails parity" not in str(row["left_out"])
    measured, must = pairs(str(row["measured"])), pairs(str(row["must"]))
    unmeasured = must.keys() - measured.keys() - {"memory a step over a short one's"}
    assert unmeasured <= ({"onnxruntime"} if "is not installed" in str(row["left_out"]) else set())


def _entrants(
    monkeypatch: pytest.MonkeyPatch, peers: Callable[[Problem], Mapping[str, Callable[[], Implementation]]]
) -> None:
    """Only ours, and `peers`."""
    nobody: dict[str, Callable[[], Implementation]] = {}
    monkeypatch.setattr(speed, "torch_peers", peers)
    monkeypatch.setattr(speed, "jax_peers", lambda problem: nobody)


def _spoilt(build: Callable[[], Implementation]) -> Callable[[], Implementation]:
    def built() -> Implementation:
        right = build()

        def answer() -> Answer:
            return {name: value * 1.001 for name, value in right.answer().items()}

        return replace(right, answer=answer)

    return built


def test_a_peer_that_is_wrong_is_not_timed_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    peers = speed.torch_peers
    _entrants(
        monkeypatch,
        lambda problem: {
            "torch-eager": peers(problem)["torch-eager"],
            "torch-spoilt": _spoilt(peers(problem)["torch-eager"]),
        },
    )
    row = measure(CASE, 1, tiny=True)
    assert row["best_other"] == "torch-eager"
    assert "torch-spoilt" not in pairs(str(row["medians"]))
    assert "torch-spoilt: fails parity: output is off by 1.0e-03" in str(row["left_out"])
    assert "torch-spoilt is not timed: fails parity" in capsys.readouterr().out


def test_a_case_that_we_get_wrong_has_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    right = speed.ours
    monkeypatch.setattr(
        speed, "ours", lambda problem: {name: _spoilt(build) for name, build in right(problem).items()}
    )
    with pytest.raises(NotTimedError, match="storyline-torch fails parity: output is off by"):
        measure(CASE, 1, tiny=True, without=COMPILED)


def test_a_library_that_fails_is_left_out_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> Implementation:
        raise RuntimeError("no compiler\nwas found")

    _entrants(monkeypatch, lambda problem: {"torch-compile": fails})
    row = measure(CASE, 1, tiny=True)
    assert row["left_out"] == "torch-compile: RuntimeError: no compiler was found"
    assert row["best_other"] == ""
    assert row["ratio"] == ""


def test_a_new_backend_of_ours_is_timed_without_being_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.speed import ours

    _entrants(monkeypatch, lambda problem: {})
    monkeypatch.setattr(ours, "BACKENDS", {"torch": None, "reference": None, "cpu2": None})
    right = ours._layer
    monkeypatch.setattr(
        ours, "_layer", lambda problem, name: right(problem, "torch" if name == "cpu2" else name)
    )
    row = measure(CASE, 1, tiny=True)
    assert row["ours"] == f"storyline-{_default()}"
    assert "storyline-cpu2" in pairs(str(row["medians"]))


def test_a_stream_is_what_a_step_means() -> None:
    row = measure(CASES["lstm-step-h64"], 1, tiny=True, without=COMPILED)
    assert row["ours"] == "storyline-stream"
    assert "storyline-step" in pairs(str(row["medians"]))


def _default() -> str:
    lstm = storyline.LSTM(4, 4)
    lstm(Problem.draw(CASE.tiny()).input[..., :4])
    assert lstm.last_backend is not None
    return lstm.last_backend[0]


def test_readme_shows_the_newest_rows() -> None:
    text = README.read_text(encoding="utf-8")
    assert with_speed(text) == text, "run `python -m benchmarks.speed readme`"
    for row in newest_rows().values():
        for column in ("case", "ours", "machine", "commit", "features", "threads", "medians", "peak_by"):
            assert row[column], f"{row['case']}: {column} is empty"
        assert row["case"] in CASES, f"{row['case']} is a case no more: its rows belong out of {RESULTS}"
        assert not row["commit"].endswith("+"), f"{row['case']}: measured on code that is not committed"


def test_a_case_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["speed", "lstm-step-h65"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "there is no case 'lstm-step-h65'; the nearest is 'lstm-step-h64'" in capsys.readouterr().err


@LAYER_NORM
def test_the_layer_norm_case_is_not_chaos() -> None:
    """At its full length: float32 could not be told from an error."""
    problem = Problem.draw(CASES["layer-norm-lstm-training-t200-b32-h128"])
    assert check(layer_norm_peers(problem)["torch-loop"]().answer(), problem.reference()) == []


def test_the_padding_and_its_gradient_are_not_zero() -> None:
    """Else a peer that does not mask would pass."""
    problem = Problem.draw(CASES["lstm-training-ragged-t200-b32-h128"].tiny())
    assert problem.lengths is not None
    assert problem.lengths.min() < problem.lengths.max() == problem.case.time
    row = int(problem.lengths.argmin())
    beyond = int(problem.lengths[row])
    assert np.abs(problem.input[beyond:, row].numpy()).min() > 0
    assert np.abs(problem.cotangent[beyond:, row].numpy()).min() > 0


def test_a_case_without_a_row_ends_in_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses(*arguments: object, **more: object) -> None:
        raise NotTimedError("storyline-torch fails parity")

    monkeypatch.setattr(speed, "measure", refuses)
    monkeypatch.setattr("sys.argv", ["speed", "lstm-step-h64", "--here", "--threads", "1"])
    assert main() == 1
    assert "lstm-step-h64: not timed: storyline-torch fails parity" in capsys.readouterr().out
