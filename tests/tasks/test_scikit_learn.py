"""scikit-learn's own checks of an estimator, on the array input that they give: (n, steps) of one channel."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from storyline.tasks import Classifier

QUICK: dict[str, Any] = {
    "hidden_size": 8,
    "epochs": 12,
    "batch_size": 32,
    "learning_rate": 0.05,
    "validation_fraction": 0.0,
    "dropout": 0.0,
    "threads": 1,
}
# Every check runs but those that scikit-learn itself skips where the package or switch that they look at is absent.
NOT_HERE = {
    "check_array_api_input": "needs SCIPY_ARRAY_API=1, and is about estimators that keep an array on its device",
    "check_dataframe_column_names_consistency": "needs pandas",
}


def name_of(check: Any) -> str:
    name: str = check.func.__name__
    return name


CHECKS = [
    pytest.param(check, id="-".join([name_of(check), *map(str, check.keywords.values())]))
    for _, check in estimator_checks_generator(Classifier(**QUICK))
    if name_of(check) not in NOT_HERE
]


@pytest.mark.parametrize("check", CHECKS)
def test_keeps_the_conventions(check: Any) -> None:
    check(Classifier(**QUICK))


def test_nearly_all_checks_run() -> None:
    assert len(CHECKS) >= 45
