"""The picture of a horizon: four curves over the lag."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from storyline.memory.curve import Array, Measure
from storyline.memory.drawing import DASHED, DOTTED, INK, STYLE, legend_above, look, new_axes

if TYPE_CHECKING:
    from storyline.memory.horizon import Horizon

# Shares below this are drawn at it.
_FLOOR = 1e-3
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
            axes.fill_between(
                lags[shown], band[0][shown], band[1][shown], color=colour, alpha=0.15, linewidth=0
            )
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
        axes.axhline(
            next(iter(found.measures.values())).threshold, color=INK, linewidth=0.8, linestyle=DASHED
        )
        axes.set_xscale("log")
        # a horizon lies where a hundredth is left, which a straight axis would show as nothing
        axes.set_yscale("log")
        axes.set_ylim(_FLOOR, 1.3)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.10g} %"))
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
    return lags, np.clip(curve, _FLOOR, None), np.clip(band, _FLOOR, None)
