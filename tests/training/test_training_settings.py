from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from storyline.training import SettingsError, TrainingSettings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"learnin_rate": 0.1}, "unknown setting 'learnin_rate'; did you mean 'learning_rate'?"),
        ({"patients": 3}, "unknown setting 'patients'; did you mean 'patience'?"),
        ({"zzz": 3}, "unknown setting 'zzz'; known are epochs, max_steps, "),
        ({"learning_rate": -1.0}, "learning_rate is -1.0; it must be greater than 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; it must be "),
        ({"learning_rate": float("inf")}, "learning_rate is inf; it must be a finite number"),
        ({"epochs": 0}, "epochs is 0; it must be at least 1"),
        ({"epochs": 2.5}, "epochs is 2.5; it must be a whole number"),
        ({"epochs": True}, "epochs is True; it must be a whole number"),
        ({"epochs": "3"}, "epochs is '3'; it must be a whole number"),
        ({"average": 1.0}, "average is 1.0; it must be less than 1"),
        ({"betas": (0.9, 1.0)}, "betas.1 is 1.0; it must be less than 1"),
        ({"schedule": "cosin"}, "schedule is 'cosin'; it must be 'cosine', 'one_cycle' or 'constant'"),
        ({"restore_best": 1}, "restore_best is 1; it must be true or false"),
        ({"clip_norm": 0}, "clip_norm is 0; it must be greater than 0"),
        (
            {"epochs": 0, "threads": 0},
            "epochs is 0; it must be at least 1; threads is 0; it must be at least 1",
        ),
    ],
)
def test_a_bad_setting_is_refused_in_a_sentence(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(said)}"):
        TrainingSettings(**given)


def test_numbers_of_numpy_and_arrays_of_toml_count_as_python_s() -> None:
    settings = TrainingSettings(
        epochs=np.int64(3), learning_rate=np.float32(0.5), betas=[0.8, 0.9], clip_norm=1
    )  # type: ignore[arg-type]
    assert settings == TrainingSettings(epochs=3, learning_rate=0.5, betas=(0.8, 0.9), clip_norm=1.0)
    assert type(settings.epochs) is int
    assert TrainingSettings(**settings.model_dump(mode="json")) == settings


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        TrainingSettings().epochs = 3  # type: ignore[misc]
