"""Classifier on series: arrays and ragged lists, their scale, their refusals."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch
from learnable import QUICK, parity_of_markers

from storyline.tasks import Classifier, load

SERIES = QUICK | {
    "bidirectional": False,
    "pooling": "last",
    "batch_size": 32,
    "learning_rate": 0.02,
    "dropout": 0.0,
}


def sign_of_the_first_step(n: int, seed: int = 0, steps: int = 10) -> tuple[np.ndarray, np.ndarray]:
    series = np.random.default_rng(seed).normal(size=(n, steps, 2)).astype(np.float32)
    # Not too near to 0, where no finite training tells the signs apart.
    series[:, 0, 1] += 0.5 * np.sign(series[:, 0, 1])
    return series, np.where(series[:, 0, 1] > 0, "up", "down")


@pytest.fixture(scope="module")
def trained() -> Classifier:
    return Classifier(**SERIES, epochs=15).fit(*sign_of_the_first_step(300))


def test_learns_parity_over_ragged_series() -> None:
    # No single step, and no mean, tells the parity: the state must be flipped at every marker.
    model = Classifier(**SERIES, epochs=60, label_smoothing=0.0).fit(*parity_of_markers(500, longest=8))
    result = model.evaluate(*parity_of_markers(200, seed=1, longest=8))
    assert result["accuracy"] > 0.9, result
    assert model.n_features_in_ == 2
    assert model.predict(parity_of_markers(3)[0]).dtype == np.int64


def test_remembers_the_first_step(trained: Classifier) -> None:
    assert trained.score(*sign_of_the_first_step(300, seed=1)) > 0.9


def test_arrays_and_ragged_lists_are_read_alike(trained: Classifier) -> None:
    series, _ = sign_of_the_first_step(20, seed=2)
    expected = trained.predict_proba(series)
    np.testing.assert_allclose(trained.predict_proba(list(series)), expected, atol=1e-6)
    np.testing.assert_allclose(trained.predict_proba(series.astype(np.float64)), expected, atol=1e-6)
    np.testing.assert_allclose(trained.predict_proba(series.tolist()), expected, atol=1e-6)
    np.testing.assert_allclose(trained.predict_proba(series[::-1])[::-1], expected, atol=1e-6)


def test_a_series_beside_a_longer_one_is_read_as_alone(trained: Classifier) -> None:
    series, _ = sign_of_the_first_step(1, seed=2, steps=5)
    longer, _ = sign_of_the_first_step(1, seed=3, steps=40)
    alone = trained.predict_proba(series)
    np.testing.assert_allclose(trained.predict_proba([series[0], longer[0]])[:1], alone, atol=1e-6)


def test_series_are_scaled_by_the_training_part() -> None:
    series, labels = sign_of_the_first_step(200)
    settings = SERIES | {"epochs": 4}
    plain = Classifier(**settings).fit(series, labels)
    # Shifted and stretched channels give the same model, up to the rounding of the scaler.
    moved = Classifier(**settings).fit(series * [1000, 0.001] + [5000, 3], labels)
    np.testing.assert_allclose(
        moved.predict_proba(series * [1000, 0.001] + [5000, 3]), plain.predict_proba(series), atol=0.02
    )
    # A large offset leaves float32 no digits for what varies on it.
    offset = np.array([1e9, -3e8])
    moved = Classifier(**settings).fit(series.astype(np.float64) + offset, labels)
    np.testing.assert_allclose(
        moved.predict_proba(list(series + offset)), plain.predict_proba(series), atol=1e-3
    )
    training = np.zeros((20, 4, 1))
    training[:10] = 3
    model = Classifier(**settings).fit(
        training, [0] * 10 + [1] * 10, validation=(np.full((2, 4, 1), 1e6), [0, 1])
    )
    assert model.reader_.scaler.mean.tolist() == [1.5]
    assert model.reader_.scaler.scale.tolist() == [1.5]


def test_a_large_array_is_not_copied() -> None:
    series, _ = sign_of_the_first_step(50)
    model = Classifier(**SERIES | {"epochs": 1}).fit(*sign_of_the_first_step(50))
    sequences = model._read(series)
    assert np.shares_memory(sequences.take(np.arange(25)).values, series)


def test_saved_and_loaded_is_the_same(trained: Classifier, tmp_path) -> None:
    series, labels = sign_of_the_first_step(40, seed=4)
    trained.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert (loaded.predict_proba(series) == trained.predict_proba(series)).all()
    assert loaded.evaluate(series, labels) == trained.evaluate(series, labels)
    assert loaded.n_features_in_ == 2


def test_a_table_is_series_of_one_channel(tmp_path) -> None:
    table = np.random.default_rng(0).normal(size=(60, 6))
    labels = (table[:, 0] > 0).astype(int)
    model = Classifier(**SERIES, epochs=5).fit(table, labels)
    assert model.n_features_in_ == 6
    np.testing.assert_array_equal(model.predict(table), model.predict(table[:, :, None]))
    with pytest.raises(ValueError, match="expecting 6 features"):
        model.predict(table[:, :5])
    # Said as series, other lengths are welcome.
    assert model.predict(table[:, :5, None]).shape == (60,)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="expecting 6 features"):
        load(tmp_path).predict(table[:, :5])


def test_deep_supervision_asks_at_every_k_steps() -> None:
    # The label is known after the first step; with supervision the running state answers early.
    examples = sign_of_the_first_step(300, steps=12)
    settings = SERIES | {"epochs": 15}
    model = Classifier(**settings, supervise_every=3).fit(*examples)
    early = model.score(*sign_of_the_first_step(200, seed=1, steps=3))
    assert early > 0.9
    assert model.score(*sign_of_the_first_step(200, seed=1, steps=12)) > 0.9
    program = model._program(model.network_, model._read_labelled(*examples), None)
    (batch,) = [program.batches(0)[0]]
    with torch.no_grad():
        states = model.network_.states(batch.inputs, batch.lengths)
        wanted = [
            program._cross_entropy(model.network_.head(states[:, t]), batch.targets) for t in (11, 2, 5, 8)
        ]
        loss, _, items = program.loss(batch, None)
    assert items == 32
    torch.testing.assert_close(loss, wanted[0] + torch.stack(wanted[1:]).mean())


def test_average_and_one_cycle_run() -> None:
    model = Classifier(**SERIES | {"epochs": 15}, schedule="one_cycle", average=0.9, noise=0.1).fit(
        *sign_of_the_first_step(300)
    )
    assert model.score(*sign_of_the_first_step(200, seed=1)) > 0.9


def broken(place: tuple[int, ...], value: float) -> np.ndarray:
    series, _ = sign_of_the_first_step(4)
    series[place] = value
    return series


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (broken((2, 3, 1), np.nan), r"X\[2\] holds nan at step 3, channel 1"),
        (list(broken((1, 0, 0), np.inf)), r"X\[1\] holds inf at step 0, channel 0"),
        ([np.zeros((3, 2)), np.zeros((3, 1)), np.zeros((3, 2)), np.zeros((3, 2))], r"X\[1\] has 1 channels"),
        (
            [np.zeros((3, 2)), np.zeros((0, 2)), np.zeros((3, 2)), np.zeros((3, 2))],
            r"X\[1\] has shape \(0, 2\)",
        ),
        ([np.zeros(3), np.array(["a", "b"]), np.zeros(3), np.zeros(3)], r"X\[1\] is not a numeric series"),
        (np.zeros((4, 3, 2, 2)), "dim"),
        (np.full((4, 3, 1), "a"), "not numeric"),
    ],
)
def test_refuses_in_fit(X, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Classifier(**SERIES, epochs=1).fit(X, [0, 1, 0, 1])


def test_refuses_after_fit(trained: Classifier) -> None:
    with pytest.raises(ValueError, match=r"X\[0\] has 3 channels.*2"):
        trained.predict(np.zeros((1, 4, 3)))
    with pytest.raises(ValueError, match="fitted on series of numbers, and X holds texts"):
        trained.predict(["a text"])
    with pytest.raises(ValueError, match=r"X has shape \(10, 2\).*of a single series X\[None\]"):
        trained.predict(sign_of_the_first_step(1)[0][0])
    with pytest.raises(ValueError, match="X has 1 dimensions"):
        trained.predict(np.zeros(10))
    with pytest.raises(ValueError, match="X is of the type NoneType"):
        trained.predict(None)
    with pytest.raises(ValueError, match=r"validation is of the type ndarray; give a pair \(X, y\)"):
        Classifier(**SERIES).fit(*sign_of_the_first_step(10), validation=np.zeros((2, 10, 2)))
    with pytest.raises(ValueError, match="leave unlabelled out"):
        Classifier(**SERIES).fit(*sign_of_the_first_step(10), unlabelled=["a text"])


@pytest.mark.data
def test_japanese_vowels_beat_chance_by_far(data_folder) -> None:
    def read(part: str) -> tuple[list[np.ndarray], list[str]]:
        (path,) = (data_folder / "ucr_uea").rglob(f"JapaneseVowels_{part}.ts.gz")
        with gzip.open(path, "rt") as file:
            lines = file.read().split("@data", 1)[1].split()
        rows = [line.rsplit(":", 1) for line in lines]
        series = [
            np.array([channel.split(",") for channel in row.split(":")], dtype=np.float32).T
            for row, _ in rows
        ]
        return series, [label for _, label in rows]

    model = Classifier(hidden_size=32, epochs=30, threads=2).fit(*read("TRAIN"))
    assert model.score(*read("TEST")) > 0.85
    assert model.n_features_in_ == 12
