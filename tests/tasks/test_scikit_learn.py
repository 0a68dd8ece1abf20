"""scikit-learn's own checks of an estimator, on the array input that they give: (n, steps) of one channel."""

from __future__ import annotations

from typing import Any

import numpy as np
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
    "check_classifier_data_not_an_array": "its second half needs pandas; the first is the last test below",
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


class ArrayLike:
    """Neither array nor list, but convertible."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype)


def test_what_converts_to_an_array_is_read_as_one() -> None:
    table = np.array([[3, 0], [0, 1], [0, 2], [1, 1], [1, 2], [2, 1]] * 5, dtype=float)
    labels = np.array([1, 1, 1, 2, 2, 2] * 5)
    found = [
        Classifier(**QUICK).fit(X, y).predict(X)
        for X, y in ((table, labels), (ArrayLike(table), ArrayLike(labels)))
    ]
    np.testing.assert_array_equal(*found)
