"""What is wrong with a model's memory: planted faults that are quick to plant, their remedies, and sound models."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from benchmarks.memory.patients import PLANTED, Case, adding, delay, first, growing, huge
from benchmarks.memory.remedies import Plan, Reader, score, train
from torch import nn

from storyline.memory import Diagnosis, MeasureError, diagnose, required_horizon

SEED = 50


def examined(model: nn.Module, plan: Plan, **more: object) -> Diagnosis:
    inputs, targets = plan.task.draw(200, plan.task.steps, torch.Generator().manual_seed(SEED))
    told = {"clip": plan.clip, "chunk": plan.chunk, "reset_every": plan.reset_every}
    return diagnose(model, inputs, targets, **{**told, "trained_steps": plan.trained_steps, **more})


def case(fault: str) -> Case:
    found = [each for each in PLANTED if each.fault == fault][-1]
    if fault == "vanishing":
        return replace(found, plan=replace(found.plan, task=first(50), updates=150))
    return found


@pytest.mark.parametrize("fault", ["vanishing", "dead units", "input ignored", "state drifts"])
def test_a_planted_fault_is_named_and_its_remedy_makes_the_model_learn(fault: str) -> None:
    planted = case(fault)
    model = train(planted.plan, SEED)
    assert score(model, planted.plan.task, SEED, times=planted.times) < planted.learned
    found = examined(model, planted.plan)
    assert found.names[0] == fault
    mended = planted.plan.mended(found.findings[0].change)
    assert score(train(mended, SEED), mended.task, SEED, times=planted.times) >= planted.learned


@pytest.mark.parametrize(
    "plan",
    [
        Plan(delay(4, 30), "nn.RNN", chunk=30, reset_every=60, trained_steps=30),
        Plan(first(40), "LSTM", remember=40, updates=200),
        Plan(adding(40), "GRU", remember=40),
    ],
    ids=lambda plan: f"{plan.cell} {plan.task.name}",
)
def test_a_model_that_has_learned_its_task_has_no_fault(plan: Plan) -> None:
    model = train(plan, SEED)
    assert score(model, plan.task, SEED) > 0.9
    found = examined(model, plan)
    assert found.names == ()
    assert found.headline.startswith("no fault found: your data needs ")
    # the figures stand beside the verdict
    assert any("left beyond" in figure for figure in found.figures)
    # and the same without targets, from the need alone
    inputs, _ = plan.task.draw(200, plan.task.steps, torch.Generator().manual_seed(SEED))
    assert diagnose(model, inputs, need=found.need.value).names == ()


def test_a_model_without_a_fault_that_has_learned_nothing_is_not_called_sound() -> None:
    inputs = torch.randn(200, 10, 1, generator=torch.Generator().manual_seed(SEED))
    targets = inputs[:, -3, 0]
    need = required_horizon(inputs, targets, probes=("linear",))
    found = diagnose(lambda x: -x.sum(1), inputs, targets, need=need)
    assert found.names == ()
    assert found.headline == (
        "no fault found, but the model gets nothing of the gain that the probes achieve, so train it for longer: "
        f"your data needs 3 steps, your model uses {found.uses.short}"
    )
    cut = diagnose(lambda x: 0.5 * x[:, -3:][:, 0], inputs, targets, need=need, chunk=2)
    assert cut.names == ("truncated too short",)
    assert cut.headline.startswith(
        "your data needs 3 steps, your model uses 3, the model gets 75% of the gain that the probes achieve: train on "
    )
    assert diagnose(lambda x: x[:, -3], inputs, targets, need=need).headline == (
        "no fault found: your data needs 3 steps, your model uses 3"
    )


def test_the_sentence_says_need_use_and_remedy() -> None:
    plan = Plan(first(60), "nn.LSTM", updates=0)
    found = examined(train(plan, SEED), plan)
    assert found.names == ("vanishing",)
    assert found.headline == f"your data needs 60 steps, your model uses {found.uses.value}: " + (
        "raise remember= to 60, or train on chunks of 128"
    )
    assert found.uses.value < 20
    assert found.findings[0].change == {"remember": 60, "chunk": 128}
    assert found.findings[0].values["reach"] < 20
    assert str(found).splitlines()[1].startswith("vanishing: the gradient falls to 1 % within ")


def test_settings_shorter_than_the_need_are_told_and_longer_ones_are_not() -> None:
    # the need of a delay of 10 is 11 steps, whatever the model
    plan = Plan(delay(10, 40), "LSTM", remember=20, updates=0)
    model = train(plan, SEED)
    inputs, targets = plan.task.draw(200, 40, torch.Generator().manual_seed(SEED))
    for steps, told in ((10, True), (11, False)):
        found = diagnose(model, inputs, targets, chunk=steps, reset_every=steps)
        assert found.need.value == 11
        assert ("truncated too short" in found.names, "reset too often" in found.names) == (told, told)
    assert found.reasons["clipped too hard"].startswith("not looked for: clip= was not given")
    # what has no end is no fault, and was looked for
    endless = dict.fromkeys(("clip", "chunk", "reset_every", "trained_steps"), math.inf)
    found = diagnose(model, inputs, targets, need=11, **endless)
    assert not found.names
    assert not found.unsought


def test_a_clip_is_hard_below_a_tenth_of_the_typical_norm() -> None:
    plan = Plan(delay(3, 20), "LSTM", remember=6, updates=0)
    model = train(plan, SEED)
    inputs, targets = plan.task.draw(64, 20, torch.Generator().manual_seed(SEED))
    # the norm by hand, on the batches of 32 that the data makes
    norms = []
    for some in (slice(0, 32), slice(32, 64)):
        model.zero_grad()
        asked = ~torch.isnan(targets[some])
        (model(inputs[some])[asked] - targets[some][asked]).square().mean().backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), 1e9).item())
    typical = float(np.median(norms))
    model.zero_grad()
    for clip, hard in ((typical / 11, True), (typical / 9, False)):
        found = diagnose(model, inputs, targets, clip=clip)
        assert ("clipped too hard" in found.names) == hard
        # norms that were seen in training stand in the place of measured ones
        assert (
            "clipped too hard" in diagnose(model, inputs, targets, clip=clip, gradient_norms=[typical]).names
        ) == hard
    assert all(weight.grad is None for weight in model.parameters())


def test_exploding_is_a_lyapunov_exponent_above_zero() -> None:
    class Linear(nn.Module):
        """h_t = a h_(t-1) + x_t in a relu network with positive inputs: its exponent is ln a."""

        def __init__(self, a: float) -> None:
            super().__init__()
            self.rnn = nn.RNN(1, 1, nonlinearity="relu", bias=False, batch_first=True)
            nn.init.constant_(self.rnn.weight_hh_l0, a)
            nn.init.constant_(self.rnn.weight_ih_l0, 1.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rnn(x)[0]

    inputs = torch.rand(32, 60, 1, generator=torch.Generator().manual_seed(0))
    found = diagnose(Linear(1.2), inputs)
    assert found.names == ("exploding",)
    assert found.findings[0].values["exponent"] == pytest.approx(np.log(1.2), abs=1e-6)
    assert diagnose(Linear(0.9), inputs).names == ()
    # 1.05^60 = 19 is less than a hundredfold
    assert diagnose(Linear(1.05), inputs).names == ()


def test_answers_that_are_nan_are_a_finding() -> None:
    class Overflow(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x.cumsum(1) * 1e38) ** 2

    found = diagnose(Overflow(), torch.randn(16, 20, 1) + 3.0)
    assert found.names == ("exploding",)
    assert "hold NaN or infinity" in found.findings[0].figure


def test_saturated_gates_are_told_and_inputs_out_of_scale_are_the_remedy() -> None:
    plan = Plan(delay(5, 30), "nn.GRU", num_layers=2, planted=huge(30.0), updates=0)
    found = examined(train(plan, SEED), plan)
    assert found.names == ("saturated",)
    assert found.findings[0].change["initialise"] == "default"
    loud = replace(plan, task=delay(5, 30, scale=1000.0), planted=None, num_layers=1)
    found = examined(train(loud, SEED), loud)
    assert found.names == ("saturated",)
    assert found.findings[0].change["input_scale"] == pytest.approx(1e-3, rel=0.05)


def test_a_state_that_grows_is_told_without_targets() -> None:
    plan = Plan(
        delay(1, 20, uniform=True), "nn.RNN", nonlinearity="relu", planted=growing(1.05, 16), updates=0
    )
    inputs, _ = plan.task.draw(64, 20, torch.Generator().manual_seed(SEED))
    found = diagnose(train(plan, SEED), inputs, trained_steps=20, need=2)
    assert found.names == ("state drifts",)
    # it grew 1.05^300 times, so to say, from step 20 to step 320
    assert found.findings[0].values["grown"] > 1e4
    steady = diagnose(train(replace(plan, planted=None), SEED), inputs, trained_steps=20, need=2)
    assert steady.names == ()
    long = diagnose(train(plan, SEED), inputs, trained_steps=20, need=15)
    assert "there are no longer runs to try it on" in long.reasons["state drifts"]


def test_answers_that_overflow_on_a_longer_run_have_lost_all() -> None:
    inputs = torch.randn(64, 40, 1, generator=torch.Generator().manual_seed(SEED))

    def late(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(x, (0, 0, 1, 0))[:, :-1]

    def counting(x: torch.Tensor) -> torch.Tensor:
        # right for the first 64 steps, and past all numbers at the 200th
        return late(x) * torch.exp((torch.arange(x.shape[1]) - 64.0).clamp_min(0))[:, None]

    found = diagnose(counting, inputs, late(inputs), trained_steps=20, need=2)
    assert found.names == ("state drifts",)
    assert found.findings[0].values["lost"] == 1.0


def test_what_cannot_be_looked_for_says_why() -> None:
    inputs = torch.randn(32, 20, 2, generator=torch.Generator().manual_seed(0))
    found = diagnose(lambda x: x.cumsum(1), inputs)
    assert found.names == ()
    assert found.need is None
    assert "no targets were given" in found.reasons["vanishing"]
    assert "the model is a function" in found.reasons["saturated"]
    # noise as the target: there is no need to compare with
    noise = torch.randint(0, 2, (32,), generator=torch.Generator().manual_seed(1))
    model = Reader(Plan(first(20), "LSTM", remember=20)).eval()
    found = diagnose(model, inputs, noise)
    assert "nothing to gain" in found.reasons["vanishing"]


def test_bad_settings_are_named() -> None:
    model, inputs = nn.LSTM(2, 4, batch_first=True), torch.randn(16, 10, 2)
    with pytest.raises(MeasureError, match="chunk is 0; a whole number of steps"):
        diagnose(model, inputs, chunk=0)
    with pytest.raises(MeasureError, match="clip is -1"):
        diagnose(model, inputs, clip=-1)
    with pytest.raises(MeasureError, match="need is 0; 1 step or more"):
        diagnose(model, inputs, need=0)
    with pytest.raises(MeasureError, match="need is a str"):
        diagnose(model, inputs, need="far")
    with pytest.raises(MeasureError, match="gradient_norms hold NaN"):
        diagnose(model, inputs, clip=1.0, gradient_norms=[float("nan")])
    with pytest.raises(MeasureError, match="at least 8 are needed"):
        diagnose(model, inputs[:4])


def test_settings_may_be_numbers_of_numpy() -> None:
    model, inputs = nn.LSTM(2, 4, batch_first=True), torch.randn(16, 10, 2)
    found = diagnose(
        model, inputs, need=np.int64(6), chunk=np.int32(3), clip=1.0, gradient_norms=np.array([20.0, 30.0])
    )
    assert {"truncated too short", "clipped too hard"} <= set(found.names)


def test_answers_that_are_all_the_same_are_no_soundness() -> None:
    inputs = torch.randn(32, 20, 2, generator=torch.Generator().manual_seed(0))
    for targets in (None, inputs[:, -3, :1]):
        with pytest.raises(MeasureError, match="last answer is the same for all 32"):
            diagnose(lambda x: 0 * x[:, -1, :1] + 1, inputs, targets)
    # with the fault behind it, it is that fault
    deaf = nn.LSTM(2, 4, batch_first=True)
    with torch.no_grad():
        deaf.weight_ih_l0.zero_()
    found = diagnose(deaf, inputs)
    assert "input ignored" in found.names
    assert not any("counterfactual" in figure for figure in found.figures)
