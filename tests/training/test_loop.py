from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from small import Chunk, Small, newest, same, settings, weights, without_seconds
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.optimizer import register_optimizer_step_post_hook

from storyline.training import (
    CheckpointEvent,
    DivergedError,
    Event,
    Interrupted,
    StepEvent,
    TrainingError,
    ValidationEvent,
    train,
)
from storyline.training.program import decayed_and_not
from storyline.training.schedule import learning_rate_factor
from storyline.training.state import Counters, Randomness


def by_hand(program: Small, *, clip: float | None, average: float | None, steps: int, epochs: int) -> Any:
    """The same training written out, with torch alone; gives norms, losses and the averaged weights."""
    torch.manual_seed(0)
    bare, full = [], []
    for name, parameter in program.module.named_parameters():
        (full if name == "head.weight" or name.startswith("core.weight") else bare).append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": full, "weight_decay": 0.01}, {"params": bare, "weight_decay": 0.0}], lr=0.01, fused=True
    )
    averaged = [value.detach().clone() for value in program.module.parameters()]
    norms, step = [], 0
    for _ in range(epochs):
        carry = None
        for chunk in program.chunks[: steps - step]:
            for group in optimizer.param_groups:
                group["lr"] = 0.01 * learning_rate_factor(step, steps, schedule="cosine")
            optimizer.zero_grad()
            loss, carry, _ = program.loss(chunk, carry)
            carry = {name: value.detach().clone() for name, value in carry.items()}
            loss.backward()
            norms.append(
                torch.nn.utils.clip_grad_norm_([*full, *bare], math.inf if clip is None else clip).item()
            )
            optimizer.step()
            step += 1
            decay = min(average or 0, (1 + step) / (10 + step))
            for value, parameter in zip(averaged, program.module.parameters(), strict=True):
                value.lerp_(parameter.detach(), 1 - decay)
    return norms, averaged


@pytest.mark.parametrize("clip", [None, 0.4])
def test_the_loop_is_the_loop_one_would_write(clip: float | None) -> None:
    ours, hand = Small(), Small()
    result = train(ours, settings(clip_norm=clip, max_steps=27, restore_best=False))
    hand_norms, _ = by_hand(hand, clip=clip, average=None, steps=27, epochs=3)
    assert same(weights(ours), weights(hand))
    assert result.steps == 27
    assert result.epochs == pytest.approx(2.7)
    assert ours.fresh_carries == 3
    assert result.clipped_share == (0 if clip is None else sum(norm > clip for norm in hand_norms) / 27)
    assert clip is None or 0 < result.clipped_share < 1
    assert result.history[0]["gradient_norm"] == pytest.approx(sum(hand_norms[:4]) / 4, rel=1e-6)
    assert result.gradient_norm == pytest.approx(sorted(hand_norms)[13], rel=1e-6)
    assert result.history[0]["loss"] == pytest.approx(sum(hand.losses[:4]) / 4, rel=1e-6)
    assert [line["step"] for line in result.history] == [4, 8, 10, 12, 16, 20, 24, 27]


def test_the_averaged_weights_are_validated_and_kept() -> None:
    ours, hand = Small(), Small()
    result = train(ours, settings(average=0.8, restore_best=False))
    _, averaged = by_hand(hand, clip=1.0, average=0.8, steps=30, epochs=3)
    raw = weights(hand)
    for value, parameter in zip(averaged, hand.module.parameters(), strict=True):
        parameter.data.copy_(value)
    assert same(weights(ours), weights(hand))
    assert not same(weights(ours), raw)
    hand.module.eval()
    assert result.best == {"loss": hand.validate()["loss"]}
    assert not ours.module.training


class Scripted(Small):
    """Its validation says what the test wrote down, and remembers the weights it saw."""

    def __init__(self, values: list[float], mode: Any = "min") -> None:
        super().__init__()
        self.values, self.mode, self.seen = iter(values), mode, []

    def validate(self) -> dict[str, float]:
        assert not self.module.training
        assert not torch.is_grad_enabled()
        self.seen.append(weights(self))
        return {"loss": next(self.values), "other": 1.0}


@pytest.mark.parametrize(("mode", "sign"), [("min", 1), ("max", -1)])
def test_early_stopping_and_the_best_weights(mode: str, sign: int) -> None:
    values = [sign * value for value in (3.0, 1.0, 2.0, 1.0, 5.0, 0.0)]
    program = Scripted(values, mode)
    result = train(program, settings(epochs=9, patience=3))
    assert result.stopped_early
    assert result.steps == 50  # best after epoch 2; an equal value is no gain
    assert result.best == {"loss": sign * 1.0, "other": 1.0}
    assert same(weights(program), program.seen[1])
    program = Scripted(values, mode)
    result = train(program, settings(epochs=4, patience=3, restore_best=False))
    assert not result.stopped_early
    assert same(weights(program), program.seen[-1])
    assert result.best == {"loss": sign * 1.0, "other": 1.0}
    assert result.history[-1]["validation_loss"] == sign * 1.0


@pytest.mark.parametrize(("of_mean", "restore_best"), [(0.5, True), (1.0, True), (9.0, True), (9.0, False)])
def test_the_mean_of_the_last_validations_weights(of_mean: float, restore_best: bool) -> None:
    program, events = Scripted([4.0, 1.0, 3.0, 2.0, of_mean]), []
    now = settings(epochs=4, average_last=3, restore_best=restore_best)
    result = train(program, now, events=[events.append])
    *seen, averaged = program.seen
    mean = {name: torch.stack([one[name].double() for one in seen[1:]]).mean(0).float() for name in averaged}
    assert same(averaged, mean)
    takes_mean = of_mean < 1 or not restore_best
    assert same(weights(program), mean if takes_mean else seen[1])
    assert result.best == {"loss": of_mean if takes_mean else 1.0, "other": 1.0}
    last = result.history[-1]
    assert (last["validation_loss"], last["averaged_loss"], last["averaged_other"]) == (2.0, of_mean, 1.0)
    told = [(event.metrics["loss"], event.is_best) for event in events if isinstance(event, ValidationEvent)]
    assert told == [(4.0, True), (1.0, True), (3.0, False), (2.0, False), (of_mean, of_mean < 1)]


def test_of_a_single_validation_there_is_no_mean() -> None:
    program = Scripted([4.0])
    result = train(program, settings(epochs=1, average_last=3))
    assert len(program.seen) == 1
    assert "averaged_loss" not in result.history[-1]


def test_after_early_stopping_the_mean_is_of_the_last_as_well() -> None:
    program = Scripted([1.0, 2.0, 3.0, 0.5])
    result = train(program, settings(epochs=9, patience=2, average_last=2))
    assert (result.steps, result.stopped_early, result.best["loss"]) == (30, True, 0.5)
    one, other = program.seen[1:3]
    assert same(
        weights(program), {name: ((one[name].double() + other[name].double()) / 2).float() for name in one}
    )


def test_a_metric_that_is_not_finite_is_never_best_and_stays_json() -> None:
    program = Scripted([math.nan, math.inf, 2.0])
    result = train(program, settings())
    assert result.best == {"loss": 2.0, "other": 1.0}
    assert [line["validation_loss"] for line in result.history if "validation_loss" in line] == [
        None,
        None,
        2.0,
    ]


def test_validation_every_so_many_steps_and_at_the_end() -> None:
    program = Scripted([1.0] * 20)
    result = train(program, settings(epochs=1, validate_every=4, log_every=100))
    assert [line["step"] for line in result.history] == [4, 8, 10]


def test_what_the_program_gets_wrong_is_said() -> None:
    class Silent(Small):
        def validate(self) -> dict[str, float]:
            return {}

    program = Silent()
    result = train(program, settings(epochs=1))
    assert result.best == {}
    assert result.history[-1]["step"] == 10
    with pytest.raises(TrainingError, match="patience needs a validation"):
        train(Silent(), settings(patience=1))
    odd = Small()
    odd.monitor = "f1"  # type: ignore[misc]
    with pytest.raises(
        TrainingError, match=r"monitored metric 'f1' is not among the validation's \['loss'\]"
    ):
        train(odd, settings())
    empty = Small()
    empty.chunks = []
    with pytest.raises(TrainingError, match="no batches"):
        train(empty, settings())

    class Shrinking(Small):
        def batches(self, epoch: int) -> list[Chunk]:
            return self.chunks[epoch:]

    with pytest.raises(TrainingError, match=r"batches\(1\) has 9 items, batches\(0\) 10"):
        train(Shrinking(), settings())
    frozen = Small()
    frozen.module.requires_grad_(False)
    with pytest.raises(TrainingError, match="nothing to train"):
        train(frozen, settings())
    with pytest.raises(TrainingError, match="resume needs the folder"):
        train(Small(), settings(), resume=True)


def test_biases_embeddings_and_norms_do_not_decay() -> None:
    module = nn.ModuleDict(
        {"e": nn.Embedding(3, 4), "n": nn.LayerNorm(4), "l": nn.LSTM(4, 5), "o": nn.Linear(5, 3)}
    )
    decayed, other = decayed_and_not(module, 0.1)
    names = {id(value): name for name, value in module.named_parameters()}
    assert [names[id(value)] for value in decayed["params"]] == [
        "l.weight_ih_l0",
        "l.weight_hh_l0",
        "o.weight",
    ]
    assert len(other["params"]) == 6
    assert (decayed["weight_decay"], other["weight_decay"]) == (0.1, 0.0)


def test_a_program_s_own_groups_keep_their_own_peaks_and_unused_parameters_stay() -> None:
    class Grouped(Small):
        def parameter_groups(self) -> list[dict[str, Any]]:
            rest = [*self.core.parameters(), *self.head.parameters()]
            return [
                {"params": list(self.embedding.parameters()), "lr": 0.0},
                {"params": rest, "weight_decay": 0.3},
            ]

    program = Grouped()
    program.unused = nn.Parameter(torch.ones(3))
    program.module.register_parameter("unused", program.unused)
    before = weights(program)
    train(program, settings(schedule="constant"))
    after = weights(program)
    assert torch.equal(before["embedding.weight"], after["embedding.weight"])
    assert not torch.equal(before["core.weight_hh_l0"], after["core.weight_hh_l0"])
    assert torch.equal(after["unused"], torch.ones(3))


def test_torch_is_left_as_it_was() -> None:
    torch.manual_seed(77)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    program = Small()
    torch.set_rng_state(state)

    class Looking(Small):
        threads_seen = 0

        def validate(self) -> dict[str, float]:
            self.threads_seen = torch.get_num_threads()
            return super().validate()

    program = Looking()
    torch.set_rng_state(state)
    train(program, settings(threads=1))
    assert program.threads_seen == 1
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_no_generator_but_its_own_is_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.manual_seed also seeds every accelerator, and remembers it for one that is not awake yet."""

    def seeded(seed: int) -> None:
        raise AssertionError("a generator of the user's was seeded")

    program = Small()
    for place in (torch, torch.cuda, torch.mps, torch.xpu):
        for name in ("manual_seed", "manual_seed_all"):
            monkeypatch.setattr(place, name, seeded, raising=False)
    assert train(program, settings(device="cpu", max_steps=2)).steps == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_generators_of_cuda_are_as_before(device: str) -> None:
    before = torch.cuda.get_rng_state_all()
    train(Small(), settings(device=device, max_steps=2))
    assert all(torch.equal(*pair) for pair in zip(before, torch.cuda.get_rng_state_all(), strict=True))


def test_the_seed_decides_and_the_past_of_the_generator_does_not() -> None:
    def trained(seed: int, draws: int) -> dict[str, torch.Tensor]:
        program = Small()
        torch.rand(draws)
        train(program, settings(seed=seed))
        return weights(program)

    assert same(trained(3, 0), trained(3, 9))
    assert not same(trained(3, 0), trained(4, 0))


def test_events_and_metrics_tell_the_same_story(tmp_path: Path) -> None:
    events: list[Event] = []
    result = train(Small(), settings(checkpoint_every=8), folder=tmp_path / "run", events=[events.append])
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines == result.history
    assert list(lines[0]) == [
        "step",
        "epoch",
        "loss",
        "learning_rate",
        "gradient_norm",
        "clipped_share",
        "seconds",
    ]
    assert [line["epoch"] for line in lines if "validation_loss" in line] == [1, 2, 3]
    validations = [event for event in events if isinstance(event, ValidationEvent)]
    assert [event.metrics["loss"] for event in validations] == [
        line["validation_loss"] for line in lines if "validation_loss" in line
    ]
    assert [event.step for event in events if isinstance(event, CheckpointEvent)] == [0, 8, 16, 24, 30]
    last = [event for event in events if isinstance(event, StepEvent)][-1]
    assert (last.step, last.total_steps, last.epoch, last.seconds_left) == (30, 30, 3, 0.0)
    assert last.items_per_second > 0
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == [
        "24",
        "30",
        "manifest.json",
    ]


class Exploding(Small):
    """At its `at`-th loss something that is not finite comes out; the state of dropout is used up before."""

    at, times, scale = 14, 0, math.nan

    def loss(self, item: Chunk, carry: Any) -> Any:
        loss, carry, items = super().loss(item, carry)
        self.times += self.module.training
        return (loss * self.scale if self.times == self.at else loss), carry, items


@pytest.mark.parametrize("scale", [math.nan, math.inf, 1e38])
def test_a_step_that_is_not_finite_is_not_applied_and_is_named(tmp_path: Path, scale: float) -> None:
    program = Exploding()
    program.scale = scale
    said = r"step 14, epoch 2, batch 4 \(rows 18, 19, 20\); the step was not applied and a checkpoint.*run;"
    with pytest.raises(DivergedError, match=said) as caught:
        train(program, settings(clip_norm=None), folder=tmp_path / "run")
    assert (caught.value.step, caught.value.epoch, caught.value.batch) == (14, 2, 4)
    assert caught.value.rows == [18, 19, 20]
    assert "gradient's norm is inf" in str(caught.value) or scale != 1e38
    # The state kept is that before the step: from it a sound program ends as if nothing had happened.
    assert newest(tmp_path / "run").config["counters"]["step"] == 13
    sound, never = Small(), Small()
    train(sound, settings(clip_norm=None), folder=tmp_path / "run", resume=True)
    train(never, settings(clip_norm=None))
    assert same(weights(sound), weights(never))


class Pressed(Small):
    """Someone presses Ctrl-C in the middle of a step."""

    at, times, presses, validating = 12, 0, 1, False

    def loss(self, item: Chunk, carry: Any) -> Any:
        answer = super().loss(item, carry)
        self.times += self.module.training or self.validating
        if self.times == self.at:
            for _ in range(self.presses):
                os.kill(os.getpid(), signal.SIGINT)
        return answer


@pytest.mark.parametrize(("presses", "kept"), [(1, 12), (2, 11)], ids=["step finished", "step dropped"])
def test_ctrl_c_keeps_a_checkpoint_from_which_the_run_ends_the_same(
    tmp_path: Path, presses: int, kept: int
) -> None:
    program = Pressed()
    program.presses = presses
    with pytest.raises(Interrupted, match=f"stopped after step {kept}; its checkpoint is in") as caught:
        train(program, settings(), folder=tmp_path / "run")
    assert (caught.value.step, caught.value.folder) == (kept, tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed, never = Small(), Small()
    one = train(resumed, settings(), folder=tmp_path / "run", resume=True)
    other = train(never, settings(), folder=tmp_path / "other")
    assert same(weights(resumed), weights(never))
    assert same(newest(tmp_path / "run").tensors, newest(tmp_path / "other").tensors)
    assert without_seconds(one.history) == without_seconds(other.history)


def ends_like_one_never_stopped(run: Path, other: Path) -> None:
    resumed, never = Small(), Small()
    one = train(resumed, settings(average=0.9), folder=run, resume=True)
    whole = train(never, settings(average=0.9), folder=other)
    assert same(weights(resumed), weights(never))
    assert same(newest(run).tensors, newest(other).tensors)
    assert without_seconds(one.history) == without_seconds(whole.history)


@pytest.mark.parametrize(
    ("step", "said", "kept"),
    [
        (7, "stopped after step 7; its checkpoint is in", 7),
        # A validation is due, which nobody who presses twice waits for.
        (10, "stopped while validating step 10; the checkpoint of step 0 is in", 0),
    ],
)
def test_ctrl_c_twice_between_the_update_and_the_counters_tears_no_checkpoint(
    tmp_path: Path, step: int, said: str, kept: int
) -> None:
    updates = 0

    def press(*optimizer_step: Any) -> None:
        nonlocal updates
        updates += 1
        if updates == step:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)

    hook = register_optimizer_step_post_hook(press)
    try:
        with pytest.raises(Interrupted, match=said) as caught:
            train(Small(), settings(average=0.9), folder=tmp_path / "run")
    finally:
        hook.remove()
    assert caught.value.step == newest(tmp_path / "run").config["counters"]["step"] == kept
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ends_like_one_never_stopped(tmp_path / "run", tmp_path / "other")


def test_ctrl_c_twice_in_a_validation_leaves_the_checkpoint_before_it(tmp_path: Path) -> None:
    program = Pressed()
    program.presses, program.at, program.validating = 2, 11, True
    with pytest.raises(
        Interrupted, match="while validating step 10; the checkpoint of step 8 is in"
    ) as caught:
        train(program, settings(average=0.9, checkpoint_every=4), folder=tmp_path / "run")
    assert caught.value.step == 8
    ends_like_one_never_stopped(tmp_path / "run", tmp_path / "other")


def test_ctrl_c_while_a_dropped_step_is_undone_waits_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, restore = Pressed(), Randomness.restore
    program.presses = 2

    def pressed_again(self: Randomness, device: torch.device) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        restore(self, device)

    monkeypatch.setattr(Randomness, "restore", pressed_again)
    with pytest.raises(Interrupted, match="stopped after step 11; its checkpoint"):
        train(program, settings(average=0.9), folder=tmp_path / "run")
    monkeypatch.undo()
    ends_like_one_never_stopped(tmp_path / "run", tmp_path / "other")


def test_ctrl_c_without_a_folder_says_that_nothing_is_kept() -> None:
    with pytest.raises(Interrupted, match="stopped after step 12; no folder was given, so nothing is kept"):
        train(Pressed(), settings())


def test_bfloat16_is_refused_in_a_sentence_or_served() -> None:
    layer, can = nn.LSTM(3, 5), True
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            layer(torch.zeros(4, 2, 3))[0].sum().backward()
    except RuntimeError:
        can = False
    if can:
        assert train(Small(), settings(precision="bf16", device="cpu")).steps == 30
        return
    with pytest.raises(
        TrainingError,
        match=r"precision is 'bf16', but this cpu cannot run .* recurrent layers in it .*take '32'",
    ):
        train(Small(), settings(precision="bf16", device="cpu"))


class Flat(Small):
    """Foretells from the last token alone, with nothing recurrent; `seen`: the kinds of the scores."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.ModuleDict({"embedding": self.embedding, "head": nn.Linear(4, 7)})
        self.seen: set[torch.dtype] = set()

    def loss(self, item: Chunk, carry: dict[str, Tensor] | None) -> tuple[Tensor, None, int]:
        scores = self.module["head"](self.embedding(item.tokens[:-1]))
        self.seen.add(scores.dtype)
        return functional.cross_entropy(scores.flatten(0, 1), item.tokens[1:].flatten()), None, 3


def test_bfloat16_trains_a_module_without_recurrent_layers_everywhere() -> None:
    program = Flat()
    assert train(program, settings(precision="bf16", device="cpu")).steps == 30
    assert program.seen == {torch.bfloat16}


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match="device is 'cuda', but torch finds no CUDA device"):
        train(Small(), settings(device="cuda"))


def test_of_a_long_training_the_norms_of_evenly_spread_steps_are_kept() -> None:
    counters = Counters()
    assert counters.typical_norm is None
    for _ in range(3_000):
        counters.step += 1
        counters.note_norm(float(counters.step))
    assert counters.norms == [float(step) for step in range(16, 3_001, 16)]
    assert counters.typical_norm == pytest.approx(1_500, rel=0.01)
