"""What makes a measurement worthless is found and named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from storyline.layers import LSTM
from storyline.memory import MeasureError, assert_remembers, diagnose, horizon


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.layer = nn.GRU(3, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.norm(x.transpose(1, 2)).transpose(1, 2))[0]


class Wrapped(nn.Module):
    """A user's model around a layer that reads time first."""

    def __init__(self) -> None:
        super().__init__()
        self.core = nn.LSTM(3, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x)[0]


def refused(model: object, inputs: object, message: str, **options: object) -> None:
    with pytest.raises(MeasureError, match=message):
        horizon(model, inputs, **options)


def test_dropout_left_on_is_named_and_eval_helps() -> None:
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.2), nn.Linear(8, 2))
    refused(model, noise(16, 20, 3), r"Dropout '1' is in training mode.*call model.eval\(\) first")
    assert horizon(model.eval(), noise(16, 20, 3)).counterfactual.steps == 0
    refused(
        nn.LSTM(3, 8, 2, dropout=0.3, batch_first=True),
        noise(16, 20, 3),
        "LSTM is in training mode, with its dropout",
    )
    # a single layer has no dropout between layers, and a fresh module is in training mode: nothing is wrong
    assert horizon(nn.LSTM(3, 8, batch_first=True), noise(16, 20, 3)).counterfactual is not None


def test_noise_that_no_module_tells_of_is_found_by_calling_twice() -> None:
    refused(
        lambda x: nn.functional.dropout(x, 0.5),
        noise(16, 20, 3),
        "two identical calls differ by .* turn dropout",
    )
    refused(
        LSTM(3, 8, zoneout=0.5, batch_first=True),
        noise(16, 20, 3),
        r"two identical calls differ.*model.eval\(\)",
    )


@pytest.mark.parametrize("answer", [lambda y: y, lambda y: y[:, -1]])
def test_noise_in_one_row_of_a_batch_is_found(answer: Callable[[Tensor], Tensor]) -> None:
    def model(x: Tensor) -> Tensor:
        y = x.cumsum(1)
        y[1] += torch.randn(3)
        return answer(y)

    refused(model, noise(16, 20, 3), "two identical calls differ")


def test_a_state_kept_between_calls_is_found() -> None:
    calls = []

    def model(x: Tensor) -> Tensor:
        calls.append(1)
        return x.cumsum(1) + len(calls)

    refused(model, noise(16, 20, 3), "keeps a state between calls")


def test_batch_normalisation_is_named_before_its_statistics_change() -> None:
    model = Normed()
    refused(model, noise(16, 20, 3), r"BatchNorm1d 'norm' is in training mode and mixes the rows")
    assert int(model.norm.num_batches_tracked) == 0
    assert horizon(model.eval(), noise(16, 20, 3)).gradient is not None


def test_rows_that_are_mixed_are_found_and_the_axis_suspected() -> None:
    refused(lambda x: x - x.mean(0), noise(16, 20, 3), "rows of a batch are mixed.*rows_at_once=1")
    places = torch.arange(64.0)
    refused(
        lambda x: x.cumsum(1) + places[: len(x), None, None], noise(16, 20, 3), "or with its place among them"
    )
    refused(Wrapped(), noise(16, 20, 3), "'core' has batch_first=False: give time_dim=0")
    assert horizon(Wrapped(), noise(20, 16, 3), time_dim=0).max_lag == 19
    refused(nn.LSTM(3, 8), noise(16, 20, 3), "its LSTM has batch_first=False", time_dim=1)
    refused(nn.LSTM(3, 8, batch_first=True), noise(16, 20, 3), "Give time_dim=1", time_dim=0)


def test_a_model_that_mixes_rows_on_purpose_goes_row_by_row() -> None:
    # a dynamically quantised model scales by the whole batch's largest number
    def model(x: np.ndarray) -> np.ndarray:
        step = np.abs(x).max() / 127
        return np.cumsum(np.round(x / step) * step, axis=1)[:, :, :1]

    inputs = noise(16, 20, 2).numpy()
    refused(model, inputs, "rows of a batch are mixed")
    h = horizon(model, inputs, rows_at_once=1)
    assert h.counterfactual.steps == 19
    assert h.recall is not None


class Few(nn.Module):
    """A classifier that is served for so many sequences at once, and no more."""

    def __init__(self, most: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.most, self.core, self.head = most, nn.LSTM(3, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        assert len(x) <= self.most, f"{len(x)} sequences at once"
        return self.head(self.core(x)[0][:, -1])


@pytest.mark.parametrize("most", [1, 2])
def test_no_call_has_more_rows_than_are_allowed(most: int) -> None:
    x, measures = noise(16, 12, 3), ("counterfactual", "recall")
    few, free = (
        horizon(Few(n), x, rows_at_once=rows, measures=measures, planted=16)
        for n, rows in ((most, most), (1000, None))
    )
    assert few.recall is not None, few.reasons
    assert {n: m.steps for n, m in few.measures.items()} == {n: m.steps for n, m in free.measures.items()}
    found = diagnose(Few(most), x, need=5, rows_at_once=most)
    assert not {"exploding", "dead units", "input ignored", "saturated"} & set(found.unsought)


def test_longer_runs_have_no_more_rows_than_are_allowed() -> None:
    few = Few(1)
    few.head = nn.Identity()
    few.forward = lambda x: few.core(x)[0] if len(x) == 1 else pytest.fail(f"{len(x)} at once")  # type: ignore[method-assign]
    found = diagnose(few, noise(16, 8, 3), need=2, trained_steps=4, rows_at_once=1)
    assert "state drifts" not in found.unsought


def test_a_state_for_one_number_of_rows_is_told_from_a_wrong_shape() -> None:
    class Stateful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.core, self.state = nn.LSTM(3, 8, batch_first=True), None

        def forward(self, x: Tensor) -> Tensor:
            output, self.state = self.core(x, self.state)
            return output

    refused(Stateful(), noise(16, 20, 3), "keeps a state between calls")


def test_constant_and_deaf_models_are_named() -> None:
    ones = nn.Parameter(torch.ones(1))
    refused(
        lambda x: ones.expand(len(x), 2),
        noise(16, 20, 3),
        "the same for all 16 sequences .1 in.*constant, or it ignores",
    )
    refused(
        lambda x: torch.arange(x.shape[1]).float().expand(len(x), -1), noise(16, 20, 3), "ignores its input"
    )


def test_nan_is_named_where_it_comes_in_and_where_it_comes_out() -> None:
    broken = noise(16, 20, 3)
    broken[5, 7, 1] = float("nan")
    refused(lambda x: x, broken, r"inputs\[5\] holds NaN or infinity at step 7")
    refused(lambda x: x.log(), noise(16, 20, 3), "the model's output holds NaN or infinity")
    # finite for the rows that were tried, not for all
    rows = noise(64, 20, 1).abs()
    rows[1, 19] = 0.0
    refused(lambda x: 1 / x, rows, "output holds NaN or infinity .row 1 of")


def test_too_few_or_too_short_sequences_say_how_many_are_needed() -> None:
    refused(lambda x: x, noise(7, 20, 3), "inputs hold 7 sequences; at least 8 are needed")
    refused(lambda x: x, noise(16, 1, 3), "at least 2 steps are needed")
    refused(
        lambda x: x,
        noise(16, 20, 3),
        "max_lag=20 needs at least 8 sequences of 21 steps or more; inputs hold 0, and the longest has 20: "
        "give longer sequences, or max_lag=19",
        max_lag=20,
    )
    rows = [noise(20 + i, 1) for i in range(12)]
    refused(
        lambda x: x, rows, "hold 4, and the longest has 31: give longer sequences, or max_lag=23", max_lag=27
    )


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ("text", {}, "inputs are a str"),
        (torch.zeros(9), {}, r"shape \(9,\)"),
        (torch.zeros(9, 4, dtype=torch.bool), {}, "torch.bool"),
        (torch.zeros(9, 4, 2, dtype=torch.int64), {}, "make several numbers a step floating point"),
        (torch.ones(9, 4, 2), {}, "all 9 sequences are the same"),
        ([], {}, "no sequence"),
        ([torch.zeros(3, 2), torch.zeros(3, 1)], {}, r"inputs\[1\] has steps of shape \(1,\)"),
        ([torch.zeros(3, 2), torch.zeros(0, 2)], {}, r"inputs\[1\] has no step"),
        (torch.zeros(9, 4, 2), {"lengths": [4] * 8}, "lengths hold 8 numbers, inputs 9"),
        (torch.zeros(9, 4, 2), {"lengths": [5] * 9}, r"lengths\[0\] is 5; 1 to 4"),
        (torch.zeros(9, 4, 2), {"lengths": ["4"] * 9}, "lengths cannot be read as an array of numbers"),
        (torch.zeros(9, 4, 2), {"lengths": [2.5] * 9}, "lengths are torch.float64; whole numbers"),
        ([torch.zeros(3, 2)], {"lengths": [3]}, "leave lengths out"),
        ([1, 2, 3, 4, 5, 6, 7, 8], {}, r"inputs\[0\] is a single number; a sequence was wanted"),
        ([[1, 2], 3], {}, r"inputs\[1\] is a single number"),
    ],
)
def test_inputs_that_do_not_fit(inputs: object, options: dict[str, object], message: str) -> None:
    refused(lambda x: x, inputs, message, **options)


@pytest.mark.filterwarnings("ignore:torch.*quantiz:DeprecationWarning", "ignore:torch.quantize:UserWarning")
def test_a_quantised_layer_is_named_where_it_mixes_rows_and_where_it_has_no_gradient() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.LSTM(3, 8, batch_first=True))
    model = torch.ao.quantization.quantize_dynamic(plain, {nn.LSTM}, dtype=torch.qint8)
    refused(model, noise(16, 20, 3), "LSTM '0' is quantised, and scales by .*; measure with rows_at_once=1")
    h = horizon(model, noise(16, 20, 3), rows_at_once=1)
    assert (
        h.reasons["gradient"] == "LSTM '0' is quantised and has no gradient; give the model as it was before"
    )
    assert h.counterfactual is not None
    assert diagnose(model, noise(16, 20, 3), need=5, rows_at_once=1).uses is not None


def test_what_is_no_model_and_what_it_raises() -> None:
    refused(nn.LSTM, noise(16, 20, 3), "model is the class LSTM itself; one of its instances was wanted")
    refused("model", noise(16, 20, 3), "model is a str; a module or a callable was wanted")

    class Session:
        def run(self) -> None: ...

    refused(Session(), noise(16, 20, 3), r"give lambda x: session.run\(None, \{name: x\}\)\[0\]")
    refused(
        nn.Linear(4, 1),
        noise(16, 20, 3),
        r"the model raised RuntimeError for \(3, 20, 3\) sequences.*mat1 and mat2",
    )
    # as an ONNX session does
    takes_arrays = lambda x: np.cumsum(x.astype("float32"), 1)  # noqa: E731
    refused(takes_arrays, noise(16, 20, 3), "a tensor of float32, as inputs came: .*no attribute 'astype'")
    assert horizon(takes_arrays, noise(16, 20, 3).numpy()).counterfactual.steps == 19
    refused(lambda x: x[:1].mean(), noise(16, 20, 3), "one axis must count the sequences")


def test_a_measure_that_alone_cannot_be_taken_is_none_and_says_why() -> None:
    h = horizon(lambda x: x.cumsum(1).sign(), noise(32, 20, 1))
    assert h.gradient is None
    assert "exactly 0 at every lag: the output is a step function" in h.reasons["gradient"]
    assert h.counterfactual is not None
    detached = horizon(lambda x: x.detach().cumsum(1), noise(32, 20, 1))
    assert "carries no gradient" in detached.reasons["gradient"]


def test_a_promise_is_kept_by_the_low_end_of_the_interval() -> None:
    def delayed(x: Tensor) -> Tensor:
        return torch.cat([torch.zeros(len(x), 12, 1), x], 1)[:, : x.shape[1]]

    inputs = noise(32, 40, 1)
    assert assert_remembers(delayed, inputs, 12).counterfactual.steps == 12
    assert_remembers(delayed, inputs, 12, measure="recall")
    assert_remembers(delayed, inputs, 13, delayed(inputs)[:, -1], measure="use")
    with pytest.raises(
        AssertionError,
        match=r"was to remember 13 steps; by the counterfactual measure it remembers 12 \(95 % interval 12-12, 16 "
        r"sequences\), and the low end must reach 13",
    ):
        assert_remembers(delayed, inputs, 13)
    with pytest.raises(MeasureError, match="to be measured up to 39 steps, and 40 were asked for"):
        assert_remembers(lambda x: x.cumsum(1), inputs, 40)
    # Sequences of 40 steps cannot show that 200 are remembered, but they show that they are not.
    with pytest.raises(
        AssertionError, match="was to remember 200 steps; by the counterfactual measure it remembers 12"
    ):
        assert_remembers(delayed, inputs, 200)
    with pytest.raises(MeasureError, match="no targets were given"):
        assert_remembers(delayed, inputs, 3, measure="use")
    with pytest.raises(MeasureError, match="measure is 'gradients'"):
        assert_remembers(delayed, inputs, 3, measure="gradients")
    with pytest.raises(MeasureError, match="steps is '3'; a whole number, 1 or more"):
        assert_remembers(delayed, inputs, "3")


def test_a_wide_interval_does_not_keep_a_promise_that_its_middle_would() -> None:
    def leak(x: Tensor) -> Tensor:
        return x @ (0.9 ** torch.arange(x.shape[1] - 1, -1, -1.0))

    inputs = noise(64, 100)
    found = horizon(leak, inputs).counterfactual
    assert found.low < found.steps
    with pytest.raises(AssertionError, match="the low end must reach"):
        assert_remembers(leak, inputs, found.steps)
    assert_remembers(leak, inputs, found.low)


def test_a_sound_model_is_tried_by_four_calls() -> None:
    layer = nn.LSTM(3, 8, batch_first=True)
    shapes: list[tuple[int, ...]] = []
    layer.register_forward_hook(lambda _, given, __: shapes.append(tuple(given[0].shape[:2])))
    horizon(layer, noise(16, 20, 3), measures=("use",))
    # rows, the same in other places and company, one row and step fewer, another second half; then all
    assert shapes == [(3, 20), (3, 20), (2, 19), (3, 20), (16, 20)]
