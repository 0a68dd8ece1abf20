"""What kind of input X is, and settings that are named and refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from storyline.tasks.inputs import check_array, check_ragged, kind_of
from storyline.tasks.labels import encode_labels, labels_from_document, labels_to_document
from storyline.tasks.language_settings import LanguageModelSettings
from storyline.tasks.probe import draw
from storyline.tasks.settings import check_settings


@pytest.mark.parametrize(
    ("X", "kind"),
    [
        (["a", "b"], "text"),
        (("a", "b"), "text"),
        (np.array(["a", "b"]), "text"),
        (np.array(["a", "b"], dtype=object), "text"),
        (np.zeros((2, 3)), "table"),
        ([[1, 2], [3, 4]], "table"),
        (np.zeros((2, 3, 4)), "array"),
        (torch.zeros(2, 3, 4), "array"),
        ([np.zeros(3), np.zeros(3)], "ragged"),
        ([np.zeros((3, 2)), np.zeros((4, 2))], "ragged"),
        ([[1, 2], [3]], "ragged"),
        ([[[1, 2]], [[3, 4]]], "ragged"),
        ([torch.zeros(3), torch.zeros(2)], "ragged"),
    ],
)
def test_kind_of(X: Any, kind: str) -> None:
    assert kind_of(X) == kind


def test_ragged_series_become_floats_of_two_axes() -> None:
    series = check_ragged([[1, 2, 3], torch.tensor([4.0]), np.array([5], dtype=np.uint8)], None)
    assert [item.shape for item in series] == [(3, 1), (1, 1), (1, 1)]
    # Whole numbers of 64 bits need float64, those of 8 don't.
    assert [item.dtype for item in series] == [np.float64, np.float32, np.float32]


@pytest.mark.parametrize("check", [check_ragged, check_array])
def test_what_float32_cannot_hold_is_refused(check: Any) -> None:
    with pytest.raises(ValueError, match=r"X\[0\] holds -1e\+300 at step 1, channel 0; use another unit"):
        check(np.array([[[0.0], [-1e300]]]), None)


@pytest.mark.parametrize("labels", [["b", "a"], [3, -1], [True, False], [2.0, 1.0]])
def test_labels_come_back_from_their_document(labels: list[Any]) -> None:
    classes = np.unique(labels)
    restored = labels_from_document(labels_to_document(classes))
    assert restored.dtype == classes.dtype
    assert restored.tolist() == classes.tolist()
    assert encode_labels(np.array(labels), restored).tolist() == [1, 0]


def test_an_unseen_label_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"y\[1\] is 9, .* known labels: 0, 1, 2, 3, 4, 5, 6, 7, .* and 2 more"
    ):
        encode_labels(np.array([0, 9]), np.array([*range(9), 10, 11, 12][:12]))


def language_settings(**more: Any) -> dict[str, Any]:
    from storyline.tasks import LanguageModel

    return LanguageModel().get_params() | more


def test_numbers_of_numpy_count_as_numbers() -> None:
    settings = check_settings(
        LanguageModelSettings, language_settings(hidden_size=np.int64(7), dropout=np.float64(0.5))
    )
    assert (settings.hidden_size, settings.dropout) == (7, 0.5)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"hiden_size": 4}, "unknown setting 'hiden_size'; did you mean 'hidden_size'"),
        ({"hidden_size": True}, "hidden_size=True; it must be a valid integer"),
        ({"hidden_size": "8"}, "hidden_size='8'"),
        ({"dropout": 1.0}, "dropout=1.0; it must be less than 1"),
        ({"steps": 0, "epochs": 0}, "epochs=0.*; steps=0"),
        ({"remember": "long"}, "remember='long'; it must be 'auto' or a valid integer"),
    ],
)
def test_settings_are_refused_in_one_sentence(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        check_settings(LanguageModelSettings, language_settings(**more))
    assert "\n" not in str(caught.value)


def test_a_sample_holds_no_more_steps_than_are_read_in_a_few_seconds() -> None:
    lengths = np.full(500, 1_000)
    places = draw(lengths, 300, seed=0)
    assert len(places) == 40
    assert (np.diff(places) > 0).all()
    assert len(draw(np.full(500, 9_000), 300, seed=0)) == 16
    assert draw(np.array([3, 4]), 64, seed=0).tolist() == [0, 1]
    with pytest.raises(ValueError, match="X is empty"):
        draw(np.array([], int), 64, seed=0)
