"""A promise of memory, for a test suite: the model remembers so many steps, or the test fails with the figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from storyline.memory.measures.horizon import MEASURES, Horizon, horizon
from storyline.memory.steps import MeasureError, check_sizes


def assert_remembers(
    model: Callable[..., Any],
    inputs: Any,
    steps: int,
    targets: Any = None,
    *,
    measure: str = "counterfactual",
    **options: Any,
) -> Horizon:
    """Pass where the low end of the measure's interval reaches `steps`, and return what was measured.

    Args:
        model: as for `horizon`.
        inputs: as for `horizon`, sequences longer than `steps`; shorter ones can only show that the model forgets.
        steps: how far back it must remember; of "use" the context that it must use.
        targets: as for `horizon`; needed for "use".
        measure: "counterfactual", "gradient", "recall" or "use".
        options: of `horizon`.

    Raises:
        AssertionError: the interval's low end falls short; the message says what was measured.
        MeasureError: the measure cannot be taken, or the sequences are too short to tell.
    """
    if measure not in MEASURES:
        raise MeasureError(f"measure is {measure!r}; one of {', '.join(MEASURES)} was wanted")
    check_sizes(steps=steps)
    found = horizon(model, inputs, targets, measures=(measure,), **options)
    taken = found.measures.get(measure)
    if taken is None:
        raise MeasureError(found.reasons[measure])
    if taken.low >= steps:
        return found
    if taken.lags[-1] < steps and taken.high_at_least:
        raise MeasureError(
            f"the sequences allow {measure} to be measured up to {int(taken.lags[-1]):,} steps, and {steps:,} were "
            "asked for; give longer sequences"
        )
    raise AssertionError(
        f"the model was to remember {steps:,} steps; by the {measure} measure it remembers {taken.text} "
        f"({taken.confidence * 100:g} % interval {taken.interval}, {taken.sequences} sequences), and the low end "
        f"must reach {steps:,}. Measured was {taken.definition}"
    )
