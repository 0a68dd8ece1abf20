"""The picture of a horizon: four curves over the lag."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from storyline.memory.measures.curve import Array, Measure
from storyline.memory.report.drawing import DASHED, DOTTED, INK, STYLE, legend_above, look, new_axes
from storyline.memory.steps import MeasureError

if TYPE_CHECKING:
    from storyline.memory.measures.horizon import Horizon

# Shares below this are drawn at it; above a whole, where a gradient grows with the lag, at the other end.
_FLOOR, _CEILING = 1e-3, 100.0
_LABELS = {
    "counterfactual": "change of the answer",
    "gradient": "gradient",
    "recall": "recall, of a planted fact",
    "use": "use, loss above the full one",
}


def draw_horizon(found: Horizon, axes: Axes | None = None, before: Measure | None = None) -> Axes:
    """Draw every measure that was taken: shares over the lag (log axis from lag 1), a line where each ends.

    Args:
        found: what `horizon` returned.
        axes: where to draw; None: a new figure, which `axes.figure` holds.
        before: the gradient before training, drawn as a dashed curve.

    Raises:
        MeasureError: no measure was taken.
    """
    if not found.measures:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in found.reasons.items())
        raise MeasureError(f"no measure was taken, so that there is nothing to draw ({reasons})")
    with mpl.rc_context(STYLE):
        alone = axes is None
        if axes is None:
            _, axes = new_axes("steps back (lag)", "share that is left")
        for index, (name, measure) in enumerate(found.measures.items()):
            colour, marker = look(index)
            lags, curve, band = _shares(measure)
            # lag 0 has no place on a log axis
            shown = lags >= 1
            if band is not None:
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
        if before is not None:
            colour = look(list(found.measures).index("gradient"))[0] if found.gradient is not None else INK
            axes.plot(
                before.lags[1:], np.clip(before.curve[1:], _FLOOR, None), color=colour, linestyle=DASHED,
                linewidth=1.2, label=f"gradient before training: {before.text}",
            )  # fmt: skip
        for threshold, own in _thresholds(found).items():
            axes.axhline(threshold, color=own, linewidth=0.8, linestyle=DASHED)
        axes.set_xscale("log")
        # a horizon lies where a hundredth is left, which a straight axis would show as nothing
        axes.set_yscale("log")
        # what lies far back may weigh more than the last step does
        highest = max(float(_shares(measure)[1].max()) for measure in found.measures.values())
        axes.set_ylim(_FLOOR, 1.3 * max(1.0, highest))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.10g} %"))
        if alone:
            legend_above(axes.figure, axes)  # type: ignore[arg-type]
        else:
            axes.legend()
    return axes


def _thresholds(found: Horizon) -> dict[float, str]:
    """Colour by threshold: that of a measure which has one of its own, else the page's."""
    common = next(iter(found.measures.values())).threshold
    colours = {measure.threshold: look(i)[0] for i, measure in enumerate(found.measures.values())}
    return colours | {common: INK}


def _shares(measure: Measure) -> tuple[Array, Array, Array | None]:
    """(lags, curve, band), of "use" as the share of what the context gains that is still missing.

    The interval of a loss is that of its level, which says nothing of that share.
    """
    lags, curve, band = measure.lags.astype(np.float64), measure.curve, measure.band
    if measure.name == "use":
        full, worst = float(curve[-1]), float(curve.max())
        # The gain of a model that uses no context is noise, and shares of it would be nothing else.
        gain = worst - full if worst - full > measure.threshold * abs(full) else np.inf
        return lags, np.clip((curve - full) / gain, _FLOOR, _CEILING), None
    return lags, np.clip(curve, _FLOOR, _CEILING), np.clip(band, _FLOOR, _CEILING)
