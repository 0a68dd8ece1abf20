"""The random cases of the native kernels, and that their judge sees what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
from benchmarks.kernels import judging
from benchmarks.kernels.drawing import Group, draw_group
from benchmarks.kernels.running import Results, on_kernels
from benchmarks.kernels.tally import Tally

from conftest import ROOT
from storyline.kernels import native

pytestmark = pytest.mark.skipif(native.missing is not None, reason=str(native.missing))


def random_cases(cases: int, seed: int, target: str) -> str:
    """What the command prints, run on a forced target; fails where a case does."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.kernels", "random", "--no-record", f"--cases={cases}", f"--seed={seed}"],
        cwd=ROOT, env=os.environ | {"STORYLINE_TARGET": target}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_ten_thousand_random_cases() -> None:
    assert f"cases on {native.target()} in" in random_cases(10_000, 1, native.target())


@pytest.mark.parametrize("target", [name for name, runs in native.targets().items() if runs])
def test_every_target_that_this_machine_runs(target: str) -> None:
    told = random_cases(600, 2, target)
    assert f"cases on {target} in" in told
    assert "0 failures" in told


def test_target_that_is_not_there_is_refused() -> None:
    run = subprocess.run(
        [sys.executable, "-c", "import storyline.kernels"],
        env=os.environ | {"STORYLINE_TARGET": "v9"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode != 0
    assert "target is 'v9'; this build has " in run.stderr


@pytest.mark.parametrize(
    ("dtype", "off"), [(torch.float32, 1e-5), (torch.float64, 1e-12), (torch.float32, float("nan"))]
)
def test_one_wrong_number_fails(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, off: float) -> None:
    """One number of one case, off by so much of the greatest: the line names it, and no other result fails."""

    def wrong(group: Group, index: int, of: torch.dtype) -> Results:
        results = on_kernels(group, index, of)
        if index == 3 and of == dtype:
            flat = results["gradient of weight_hh"].reshape(-1)
            flat[-1] += off * flat.abs().max().clamp_min(1)
            results["gradient of weight_hh"] = flat.view_as(results["gradient of weight_hh"])
        return results

    group = draw_group(0, 9)
    assert list(Tally().add(group, judging.judge(group))) == []
    monkeypatch.setattr(judging, "on_kernels", wrong)
    failures = list(Tally().add(group, judging.judge(group)))
    assert len(failures) == 1
    assert failures[0].startswith(f"{group.name}, gradient of weight_hh in {dtype}: error ")
    assert "in case 3 of 40" in failures[0]


def test_jump_of_a_derivative_is_in_doubt() -> None:
    """Relu at a preactivation that is 0 but for rounding: the side is luck, and the gradient is not judged."""
    group = next(group for group in map(partial(draw_group, 0), range(99)) if _plain_relu(group))
    leaves = {name: value.clone() for name, value in group.leaves.items()}
    one, tiny = leaves["input"][0, 0, 0], 1e-9
    unit = leaves["weight_ih"][0, 0] @ one + leaves["weight_hh"][0, 0] @ leaves["h_0"][0, 0]
    unit = unit + sum(leaves[bias][0, 0] for bias in ("bias_ih", "bias_hh") if bias in leaves)
    leaves["bias_ih"] = leaves.get("bias_ih", torch.zeros(len(group.cases), group.hidden_size).double())
    leaves.setdefault("bias_hh", torch.zeros_like(leaves["bias_ih"]))
    leaves["bias_ih"][0, 0] -= unit - tiny
    group = replace(group, leaves=leaves)
    exact = judging.on_reference(group, torch.float64)
    near = judging.Neighbourhood.of(group, 0, judging.own_part(group, 0, exact))
    jump = near.distance["gradient of h_0"]
    assert jump > 1e-3
    judged = near.judge(judging.Verdict("gradient of h_0", torch.float32, 0, jump, 1e-6))
    assert judged.in_doubt or judged.share < 1
    assert near.judge(judging.Verdict("output", torch.float32, 0, jump, 1e-6)).share > 1


def test_doubt_is_for_gradients_in_float32_that_are_off_by_a_jump() -> None:
    names = ("gradient of h_0", "gradient of input", "output")
    near = judging.Neighbourhood(dict.fromkeys(names, 1e-7), dict(zip(names, (0.5, 1e-5, 0.5), strict=True)))
    verdict = judging.Verdict("gradient of h_0", torch.float32, 0, 0.5, 1e-6)
    assert near.judge(verdict).in_doubt
    for change in ({"error": 5.0}, {"dtype": torch.float64}, {"result": names[1]}, {"result": names[2]}):
        judged = near.judge(replace(verdict, **change))
        assert not judged.in_doubt
        assert judged.share > 1


def _plain_relu(group: Group) -> bool:
    """Whether the first step of the first row of case 0 starts from its h_0 and its input at time 0."""
    return group.name == "rnn_relu" and not group.reverse and not group.resets[0, 0, 0]
