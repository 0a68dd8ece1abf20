"""The logistic regression of the probes against scikit-learn's, run to its end."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from storyline.memory.need.logistic import class_chances


@pytest.mark.parametrize("names", [[3, 8], [0, 2, 3, 9]], ids=["two classes", "four"])
@pytest.mark.parametrize("strength", [1.0, 100.0])
def test_it_ends_where_scikit_learn_ends(names: list[int], strength: float) -> None:
    generator = np.random.default_rng(0)
    labels = np.array(names)[generator.integers(0, len(names), 300)]
    # what a ridge says of rare and of common classes: features of very different size
    x = (
        generator.standard_normal((300, 6)) + 0.8 * (labels[:, None] == np.array(names)[0])
    ) * 10.0 ** -np.arange(6)
    found, classes = class_chances(x[:200], labels[:200], x[200:], strength)
    exact = LogisticRegression(C=strength, tol=1e-10, max_iter=50_000).fit(x[:200], labels[:200])
    assert classes.tolist() == names
    np.testing.assert_allclose(found.sum(1), 1.0, atol=1e-12)
    np.testing.assert_allclose(found, exact.predict_proba(x[200:]), atol=2e-4)


def test_classes_that_can_be_parted_stay_finite() -> None:
    x = np.linspace(-1.0, 1.0, 40)[:, None]
    found, _ = class_chances(x, (x[:, 0] > 0).astype(np.int64), x, 100.0)
    assert np.isfinite(found).all()
    assert ((found[:, 1] > 0.5) == (x[:, 0] > 0)).all()
