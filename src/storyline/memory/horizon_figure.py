"""The picture of a horizon: four curves over the lag."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from storyline.memory.curve import Array, Measure
from storyline.memory.drawing import DOTTED, STYLE, legend_above, look, new_axes

if TYPE_CHECKING:
    from storyline.memory.horizon import Horizon

_LABELS = {
    "counterfactual": "change of the answer",
    "gradient": "gradient",
    "recall": "recall, of a planted fact",
    "use": "use, loss above the full one",
}


def draw_horizon(found: Horizon, axes: Axes | None = None) -> Axes:
    """Draw every measure that was taken: shares over the lag (log axis from lag 1), a line where each ends.

    Args:
        found: what `horizon` returned.
        axes: where to draw; None: a new figure, which `axes.figure` holds.
    """
    with mpl.rc_context(STYLE):
        own = axes is None
        if axes is None:
            _, axes = new_axes("steps back (lag)", "share")
        for index, (name, measure) in enumerate(found.measures.items()):
            colour, marker = look(index)
            lags, curve, band = _shares(measure)
            # lag 0 has no place on a log axis
            shown = lags >= 1
            axes.fill_between(lags[shown], band[0][shown], band[1][shown], color=colour, alpha=0.15, linewidth=0)
            every = max(1, int(shown.sum()) // 10)
            axes.plot(
                lags[shown],
                curve[shown],
                color=colour,
                marker=marker,
                markevery=every,
                label=f"{_LABELS[name]}: {measure.text}",
            )
            if not measure.at_least and measure.steps >= 1:
                axes.axvline(measure.steps, color=colour, linewidth=1.0, linestyle=DOTTED)
        axes.set_xscale("log")
        axes.set_ylim(-0.02, 1.05)
        if own:
            legend_above(axes.figure, axes)  # type: ignore[arg-type]
        else:
            axes.legend()
    return axes


def _shares(measure: Measure) -> tuple[Array, Array, Array]:
    """(lags, curve, band), of "use" as the share of what the context gains that is still missing."""
    lags, curve, band = measure.lags.astype(np.float64), measure.curve, measure.band
    if measure.name == "use":
        full, worst = float(curve[-1]), float(curve[0])
        gain = worst - full or 1.0
        curve, band = (curve - full) / gain, (band - full) / gain
    return lags, np.clip(curve, 0.0, 1.0), np.clip(band, 0.0, 1.0)
