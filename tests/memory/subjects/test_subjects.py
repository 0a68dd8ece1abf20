"""Whatever a model is, takes and returns, its horizon is the same as that of the plain function."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from benchmarks.memory.filters import leaks
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from storyline.layers import GRU, LSTM, RecurrentEncoder, Transformer, TransformerDecoder, TransformerEncoder
from storyline.layers.decoding import Encoded
from storyline.memory import Horizon, MeasureError, horizon

DECAY = 0.9
REACH = 43  # floor(ln .01 / ln .9)


class Leak(nn.Module):
    """h_t = .9 h_(t-1) + sum of the step's channels; `wrap` makes of (batch, time, 1) what the model returns."""

    def __init__(self, wrap=lambda x: x) -> None:
        super().__init__()
        self.wrap = wrap
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, input: Tensor):
        steps = input if input.ndim == 3 else input[..., None]
        return self.wrap(leaks(DECAY, steps=0).run(self.scale * steps.sum(-1, keepdim=True)))


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def reaches(h: Horizon) -> tuple[int, int]:
    assert h.gradient is not None
    assert h.counterfactual is not None
    return h.gradient.steps, h.counterfactual.steps


QUICK = ("gradient", "counterfactual")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda y: y,
        lambda y: (y, None),
        lambda y: ((y, y), y),
        lambda y: {"logits": y, "hidden": y[:, 0]},
        lambda y: {"anything": y},
        lambda y: SimpleNamespace(loss=None, logits=y),
        lambda y: SimpleNamespace(last_hidden_state=y),
        lambda y: y[:, -1],
        lambda y: y[:, -1, 0],
        lambda y: y[..., 0],
        lambda y: y.transpose(0, 1),
        lambda y: y[:, :, None, :],
        lambda y: y[:, y.shape[1] % 2 :: 2] if y.shape[1] % 2 else y[:, 1::2],
    ],
    ids=[
        *("plain", "tuple", "nested", "dict", "single", "object", "hf", "last", "scalar", "flat"),
        *("time-first", "deep", "strided"),
    ],
)
def test_what_a_model_returns(wrap) -> None:
    h = horizon(Leak(wrap), noise(96, 80, 2), measures=QUICK)
    assert reaches(h) == (REACH, pytest.approx(REACH, abs=2))


class Foreign:
    """An array of another library."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return self.values.numpy()


@pytest.mark.parametrize(
    "wrap", [lambda y: y.tolist(), lambda y: y[:, -1].tolist(), lambda y: [y, None], Foreign]
)
def test_lists_of_numbers_and_arrays_of_other_libraries_are_answers(wrap) -> None:
    x = noise(32, 60, 2)
    found = horizon(Leak(wrap), x, measures=("counterfactual",)).counterfactual
    plain = horizon(Leak(), x, measures=("counterfactual",)).counterfactual
    assert found.steps == plain.steps
    with pytest.raises(MeasureError, match="lists that make no array"):
        horizon(lambda x: [[1.0], [1.0, 2.0]], x)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8])
def test_a_callable_gets_tokens_as_they_came(dtype: type) -> None:
    seen = set()

    def session(tokens: np.ndarray) -> np.ndarray:
        seen.add(tokens.dtype)
        return tokens.astype(np.float32).cumsum(1)

    tokens = np.random.default_rng(0).integers(0, 9, (32, 20)).astype(dtype)
    assert horizon(session, tokens).counterfactual is not None
    assert seen == {np.dtype(dtype)}


def test_swapped_rows_are_held_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    x, measures = noise(16, 50, 2), ("counterfactual", "recall")
    found = []
    for held in (1 << 22, 1):
        monkeypatch.setattr("storyline.memory.subjects.subject._NUMBERS_HELD", held)
        sizes: set[int] = set()

        def last(x: Tensor, sizes: set[int] = sizes) -> Tensor:
            sizes.add(len(x))
            return Leak()(x)[:, -1]

        found.append({n: m.curve.tolist() for n, m in horizon(last, x, measures=measures).measures.items()})
    # a lag at a time: 16 swaps, or 64 planted facts
    assert max(sizes) == 64
    assert found[0] == found[1]


def test_a_dict_that_leaves_a_choice_is_refused() -> None:
    with pytest.raises(MeasureError, match="a dict with 'a', 'b'; one of 'logits'"):
        horizon(Leak(lambda y: {"a": y, "b": y}), noise(16, 30, 1))
    with pytest.raises(MeasureError, match="the model returned a str"):
        horizon(Leak(lambda y: "seven"), noise(16, 30, 1))


def test_numbers_a_step_may_be_one_without_an_axis() -> None:
    assert reaches(horizon(Leak(), noise(96, 80), measures=QUICK))[0] == REACH


def test_a_list_of_rows_is_the_tensor_of_them() -> None:
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.GRU(2, 4, batch_first=True), First()), noise(16, 24, 2)
    targets = noise(16, 4)
    for measured in (model, model[0]):
        one, other = (horizon(measured, each, targets).measures for each in (inputs, list(inputs)))
        assert list(one) == list(other) == ["counterfactual", "gradient", "recall", "use"]
        for name, measure in one.items():
            np.testing.assert_array_equal(measure.curve, other[name].curve)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN, LSTM, GRU])
@pytest.mark.parametrize("batch_first", [True, False])
def test_batch_first_is_obeyed(kind, batch_first: bool) -> None:
    torch.manual_seed(0)
    layer = kind(3, 16, batch_first=batch_first)
    inputs = noise(24, 40, 3)
    first = horizon(layer, inputs if batch_first else inputs.transpose(0, 1))
    plain = horizon(
        lambda x: layer(x if batch_first else x.transpose(0, 1))[0].transpose(0, 1 - batch_first), inputs
    )
    assert reaches(first) == reaches(plain)
    assert first.recall.steps == plain.recall.steps
    assert first.max_lag == 39


def test_black_box_equals_white_box() -> None:
    torch.manual_seed(0)
    layer = nn.LSTM(3, 16, batch_first=True)
    with torch.no_grad():
        layer.bias_ih_l0[16:32] = 2.0
    inputs = noise(64, 120, 3)
    targets = inputs[:, -5, 0]
    loss = lambda y, t: ((y[:, 0] - t) ** 2).mean()  # noqa: E731
    seen: list[type] = []

    def black(array: np.ndarray) -> np.ndarray:
        seen.append(type(array))
        with torch.no_grad():
            return layer(torch.from_numpy(array))[0].numpy()

    white = horizon(layer, inputs, targets, loss=loss)
    blind = horizon(black, inputs.numpy(), targets.numpy(), loss=loss)
    assert set(seen) == {np.ndarray}
    assert blind.gradient is None
    assert "has no gradient" in blind.reasons["gradient"]
    for name in ("counterfactual", "recall", "use"):
        assert getattr(blind, name).steps == getattr(white, name).steps


def test_a_module_reads_arrays_of_another_precision() -> None:
    assert reaches(horizon(Leak(), noise(96, 80, 1).double().numpy(), measures=QUICK))[0] == REACH


class Tagger(nn.Module):
    """Tokens to a leak of their vectors, with positions embedded besides."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.positions = nn.Embedding(200, 4)
        self.words = nn.Embedding(11, 4)
        self.leak = Leak()

    def forward(self, ids: Tensor) -> Tensor:
        axis = int(self.batch_first)
        at = torch.arange(ids.shape[axis])
        vectors = self.words(ids) + self.positions(at if self.batch_first else at[:, None])
        return self.leak(vectors) if self.batch_first else self.leak(vectors.transpose(0, 1)).transpose(0, 1)


@pytest.mark.parametrize("batch_first", [True, False])
def test_tokens_are_followed_to_their_vectors(batch_first: bool) -> None:
    torch.manual_seed(0)
    model = Tagger(batch_first)
    ids = torch.randint(0, 11, (128, 90))
    h = horizon(model, ids if batch_first else ids.T)
    assert reaches(h) == (REACH, pytest.approx(REACH, abs=2))
    assert "one of 4 tokens" in h.recall.definition
    assert h.reasons.keys() == {"use"}


def test_tokens_without_an_embedding_have_no_gradient_but_the_rest() -> None:
    table = torch.randn(11, 1, generator=torch.Generator().manual_seed(0))
    weight = nn.Linear(1, 1)
    h = horizon(nn.Sequential(_Lookup(table), Leak(), weight), torch.randint(0, 11, (64, 90)))
    assert "none of the model's nn.Embedding was given them" in h.reasons["gradient"]
    assert h.counterfactual.steps == pytest.approx(REACH, abs=2)


class _Lookup(nn.Module):
    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = table

    def forward(self, ids: Tensor) -> Tensor:
        return self.table[ids]


@pytest.mark.parametrize("manner", ["lengths", "packed", "grouped"])
def test_ragged_rows_are_measured_as_each_row_alone(manner: str) -> None:
    torch.manual_seed(0)
    steps = [50 + i % 3 for i in range(24)]
    rows = [noise(n, 3) + 0.1 * i for i, n in enumerate(steps)]
    layer = {"lengths": LSTM, "packed": nn.LSTM, "grouped": nn.LSTM}[manner](3, 12, batch_first=True)
    model = (lambda x: layer(x)[0]) if manner == "grouped" else layer
    ragged = horizon(model, rows, measures=("counterfactual", "gradient", "recall"))
    alone = horizon(
        lambda x: layer(x)[0], rows, rows_at_once=1, measures=("counterfactual", "gradient", "recall")
    )
    for name in ("counterfactual", "recall", "gradient"):
        one, other = getattr(ragged, name), getattr(alone, name)
        np.testing.assert_allclose(one.curve, other.curve, rtol=1e-4, atol=1e-5)
    padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    cut = horizon(model, padded, lengths=steps, measures=("counterfactual",))
    np.testing.assert_allclose(cut.counterfactual.curve, ragged.counterfactual.curve, rtol=1e-5)


def test_shorter_rows_are_left_out_and_counted() -> None:
    rows = [noise(32, 90, 1)[i, :n] for i, n in enumerate([30] * 20 + [90] * 12)]
    h = horizon(Leak(), rows, measures=QUICK)
    assert h.max_lag == 89
    assert h.notes == (
        "Measured on the 12 of 32 sequences that have more than 89 steps; max_lag= sets another bound.",
    )
    assert h.counterfactual.steps == pytest.approx(REACH, abs=4)


def test_a_donor_too_short_is_continued_by_another() -> None:
    from storyline.memory.measures.counterfactual import swapped

    row, short, long = torch.arange(10), torch.arange(100, 104), torch.arange(200, 212)
    assert swapped(row, [long], 3).tolist() == [202, 203, 204, 205, 206, 207, 208, 7, 8, 9]
    assert swapped(row, [short, long], 3).tolist() == [206, 207, 208, 209, 210, 211, 100, 7, 8, 9]
    assert swapped(row, [long], 10).tolist() == list(range(10))
    assert swapped(row, [long], 0).tolist() == list(range(202, 212))


def test_a_transformer_encoder_sees_all_of_its_context_and_no_more() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    whole = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False).eval()
    h = horizon(whole, noise(32, 40, 8), measures=QUICK, threshold=1e-4)
    assert reaches(h) == (39, 39)
    assert h.counterfactual.at_least

    class Window(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            lags = torch.arange(x.shape[1])[:, None] - torch.arange(x.shape[1])
            return layer(x, src_mask=(lags < 0) | (lags > 9))

    assert reaches(horizon(Window().eval(), noise(32, 40, 8), measures=QUICK, threshold=1e-4)) == (9, 9)


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_transformer_remembers_what_its_windows_reach(batch_first: bool) -> None:
    torch.manual_seed(0)
    model = Transformer(3, 8, 2, window=4, positions="rotary", batch_first=batch_first)
    x = noise(16, 20, 3)
    assert reaches(horizon(model, x if batch_first else x.transpose(0, 1), measures=QUICK)) == (6, 6)
    h = horizon(model, [row[: 8 + i] for i, row in enumerate(x[:12])], max_lag=7, measures=QUICK)
    assert reaches(h) == (6, 6)


def test_encoders_and_decoders_are_measured_as_they_are() -> None:
    """What wants lengths gets them, where all rows are full too."""
    torch.manual_seed(0)
    rows = [row[: 9 + i] for i, row in enumerate(noise(12, 20, 4))]
    for encoder in (TransformerEncoder(4, 8, num_layers=1), RecurrentEncoder(4, 8, bidirectional=False)):
        ragged = horizon(encoder, rows, max_lag=8, measures=QUICK)
        whole = horizon(encoder, torch.stack([row[-9:] for row in rows]), measures=QUICK)
        assert ragged.counterfactual is not None
        assert whole.counterfactual is not None
        assert (ragged.counterfactual.curve[1:] > 0).all()
        assert (whole.counterfactual.curve[1:] > 0).all()
    decoder = TransformerDecoder(4, 8, 8, num_layers=1)
    source = noise(1, 5, 8)

    def beside(x: Tensor) -> Tensor:
        return decoder(x, Encoded(source.expand(len(x), -1, -1), torch.full((len(x),), 5))).output

    h = horizon(beside, torch.stack([row[-9:] for row in rows]), measures=QUICK)
    assert h.counterfactual is not None
    assert h.counterfactual.at_least


def test_long_sequences_go_through_in_chunks() -> None:
    largest = 0

    def model(x: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, x.shape[0] * x.shape[1])
        return torch.cat([torch.zeros(len(x), 9000, 1), x], 1)[:, : x.shape[1]]

    h = horizon(model, noise(48, 20_000, 1), measures=QUICK)
    assert reaches(h) == (9000, pytest.approx(9000, rel=0.01))
    assert largest <= 1 << 18


def test_targets_one_a_step_and_classes() -> None:
    # the answer at step t is the logits of the token 6 steps before: a context of 7 steps is needed, and enough
    ids = torch.randint(0, 5, (64, 40), generator=torch.Generator().manual_seed(0))

    def model(x: Tensor) -> Tensor:
        past = torch.cat([torch.zeros(len(x), 6, dtype=torch.int64), x], 1)[:, : x.shape[1]]
        return 8.0 * nn.functional.one_hot(past, 5).double()

    targets = torch.cat([torch.full((64, 6), -100), ids[:, :-6]], 1)
    h = horizon(model, ids, targets, measures=("use",))
    assert (h.use.steps, h.use.low, h.use.high) == (7, 7, 7)
    assert h.use.sequences == 64
    by_hand = horizon(model, ids, targets, loss=nn.CrossEntropyLoss(), measures=("use",))
    np.testing.assert_allclose(by_hand.use.curve, h.use.curve)
    last = horizon(lambda x: model(x)[:, -1], ids, targets[:, -1], measures=("use",))
    assert last.use.steps == 7


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.zeros(5), "targets are for 5 sequences, inputs hold 16"),
        (torch.zeros(16, 3), "answers have 1 numbers, targets 3"),
        (torch.full((16,), 4), "a target is class 4|one class each"),
        (torch.full((16, 30), float("nan")), "targets hold no answer"),
        (torch.tensor([0.0] * 15 + [float("nan")]), "target 15 of 16 is NaN or infinite"),
        (torch.tensor([-1, 1] * 8), "a target is class -1, .* classes from 0 to 1 were wanted"),
        (torch.full((16,), -100), "a target is class -100"),
        (["a", "b"] * 8, "targets cannot be read as numbers .*; numbers, or classes as integers"),
        (torch.zeros(16, dtype=torch.complex64), "targets are torch.complex64"),
    ],
)
def test_targets_that_do_not_fit_are_said(targets: Tensor | list[str], message: str) -> None:
    classes = isinstance(targets, Tensor) and targets.dtype == torch.int64
    model = Leak(lambda y: torch.cat([y, -y], -1)) if classes else Leak()
    h = horizon(model, noise(16, 30, 1), targets, measures=("use",))
    assert re.search(message, h.reasons["use"])


@pytest.mark.parametrize("wrong", [-1, 2])
def test_of_one_logit_the_classes_are_0_and_1(wrong: int) -> None:
    h = horizon(Leak(), noise(16, 30, 1), torch.tensor([0, 1] * 7 + [1, wrong]), measures=("use",))
    assert f"a target is class {wrong}" in h.reasons["use"]


def test_targets_may_be_a_list_of_a_model_s_own_answers() -> None:
    inputs = noise(16, 30, 1)
    answers = Leak()(inputs)
    assert answers.requires_grad
    one = horizon(Leak(), inputs, answers, measures=("use",)).use
    listed = horizon(Leak(), inputs, list(answers), measures=("use",)).use
    np.testing.assert_array_equal(one.curve, listed.curve)
    last = horizon(Leak(), inputs, list(answers[:, -1, 0]), measures=("use",)).use
    assert last.steps == horizon(Leak(), inputs, answers[:, -1], measures=("use",)).use.steps


def test_a_loss_that_does_not_take_the_answers_is_a_reason() -> None:
    weighted = nn.CrossEntropyLoss(weight=torch.ones(3))
    model = Leak(lambda y: torch.cat([y, -y], -1))
    h = horizon(model, noise(16, 30, 1), torch.tensor([0, 1] * 8), loss=weighted)
    assert "loss= raised RuntimeError for answers (16, 2) of torch.float32" in h.reasons["use"]
    assert h.counterfactual is not None
    # int32, as NumPy and files have them, is as good as int64
    few = torch.tensor([0, 1] * 8, dtype=torch.int32)
    assert horizon(model, noise(16, 30, 1), few, loss=nn.CrossEntropyLoss()).use is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_loss_of_torch_is_given_what_it_is_given_in_training(dtype: torch.dtype) -> None:
    inputs = noise(16, 30, 2)
    model = nn.Sequential(Leak(), nn.Flatten(2))
    given: list[tuple[torch.dtype, ...]] = []

    def squared(y: Tensor, t: Tensor) -> Tensor:
        given.append((y.dtype, t.dtype))
        return nn.functional.mse_loss(y, t)

    # one number a sequence, of answers (16, 1): no (16, 16) of all differences, and no warning of it
    targets = model(inputs)[:, -1, 0].detach().to(dtype)
    own = horizon(model, inputs, targets, loss=squared, measures=("use",)).use
    np.testing.assert_allclose(
        own.curve, horizon(model, inputs, targets, measures=("use",)).use.curve, atol=1e-12
    )
    assert set(given) == {(dtype, dtype)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weighted_classes_are_scored_in_the_precision_of_the_model(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.LSTM(2, 3, batch_first=True), First()).to(dtype)
    inputs, classes = noise(16, 12, 2), torch.tensor([0, 1, 2, 1] * 4)
    weight = torch.tensor([0.2, 0.3, 0.5], dtype=dtype)
    own = horizon(
        model, inputs, classes, loss=nn.CrossEntropyLoss(weight, reduction="none"), measures=("use",)
    )
    with torch.no_grad():
        whole = nn.functional.cross_entropy(model(inputs.to(dtype))[:, -1], classes, weight, reduction="none")
    assert own.use.curve[-1] == pytest.approx(float(whole.mean()), rel=1e-6)


class First(nn.Module):
    def forward(self, returned: tuple) -> Tensor:
        return returned[0]


def test_targets_are_one_a_step_where_no_row_is_as_long_as_the_padding() -> None:
    inputs, lengths = noise(16, 30, 1), [20] * 8 + [25] * 8
    targets = Leak()(inputs).detach()
    padded = horizon(Leak(), inputs, targets, lengths=lengths, measures=("use",)).use
    rows = [row[:n] for row, n in zip(inputs, lengths, strict=True)]
    listed = horizon(
        Leak(), rows, [t[:n] for t, n in zip(targets, lengths, strict=True)], measures=("use",)
    ).use
    np.testing.assert_array_equal(padded.curve, listed.curve)


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_packed_sequence_is_the_list_of_its_rows(batch_first: bool) -> None:
    model = nn.GRU(1, 4, batch_first=batch_first)
    rows = [row[: 12 + i] for i, row in enumerate(noise(16, 30, 1))]
    packed = horizon(model, pack_sequence(rows, enforce_sorted=False), measures=("counterfactual",))
    listed = horizon(model, rows, measures=("counterfactual",))
    np.testing.assert_array_equal(packed.counterfactual.curve, listed.counterfactual.curve)
    with pytest.raises(MeasureError, match="which has its own lengths"):
        horizon(model, pack_sequence(rows, enforce_sorted=False), lengths=[12] * 16)
