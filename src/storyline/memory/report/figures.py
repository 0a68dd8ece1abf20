"""The pictures of a report, as matplotlib figures, and to_svg and to_png, which write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from storyline.memory.inside.time_scales import TimeScales
from storyline.memory.measures.curve import Measure
from storyline.memory.measures.horizon import Horizon
from storyline.memory.need.required_horizon import RequiredHorizon
from storyline.memory.report.drawing import (
    DASHED,
    DOTTED,
    INK,
    drawn,
    legend_above,
    look,
    new_axes,
    to_png,
    to_svg,
)
from storyline.memory.report.horizon_figure import draw_horizon
from storyline.memory.steps import Steps

__all__ = [
    "gradient_figure",
    "horizon_figure",
    "loss_figure",
    "need_figure",
    "recall_figure",
    "time_scale_figure",
    "to_png",
    "to_svg",
]


# Shares below this are left out of a picture.
_LOWEST = 2e-8


@drawn
def gradient_figure(after: Mapping[str, Measure], before: Mapping[str, Measure] | None = None) -> Figure:
    """Gradient over lag, as a share of its value at lag 0, log scale, with a line at its threshold.

    Args:
        after: the gradient of a horizon by model's name, drawn solid with its interval as a band.
        before: the same before training, drawn dashed in the colour of the same name.
    """
    before = before or {}
    names = list(dict.fromkeys([*after, *before]))
    figure, axes = new_axes("steps back (lag)", "gradient, share of lag 0")
    for name in names:
        colour, marker = look(names.index(name))
        if (found := after.get(name)) is not None:
            # a band of more points only makes the file larger
            thin = slice(None, None, max(1, len(found.lags) // 60))
            low, high = (_positive(edge[thin]) for edge in found.band)
            axes.fill_between(found.lags[thin], low, high, color=colour, alpha=0.15, linewidth=0)
            every = max(1, len(found.lags) // 8)
            axes.plot(
                found.lags, _positive(found.curve), color=colour, marker=marker, markevery=every, label=name
            )
        if (found := before.get(name)) is not None:
            axes.plot(found.lags, _positive(found.curve), color=colour, linestyle=DASHED, linewidth=1.2)
    if before:
        axes.plot([], [], color=INK, linestyle=DASHED, linewidth=1.2, label="before training")
    _share_axis(axes, [*after.values(), *before.values()])
    legend_above(figure, axes)
    return figure


@drawn
def horizon_figure(found: Horizon, before: Measure | None = None) -> Figure:
    """The four curves of a horizon, and the gradient before training as a thin dashed line."""
    axes = draw_horizon(found, before=before)
    step_ticks(axes, found.max_lag)
    assert isinstance(axes.figure, Figure)
    return axes.figure


@drawn
def need_figure(need: RequiredHorizon, use: Measure | None = None) -> Figure:
    """Loss over steps of context (log axis): of the best probe of the data, and of the model."""
    figure, axes = new_axes("steps of context (the last k)", "loss, nats")
    axes.set_xscale("log")
    curves = [(f"the data needs {Steps(need.steps, need.at_least).short}", need.lags, need.curve, need.band)]
    ends = [need.steps]
    if use is not None:
        curves.append(
            (f"the model uses {Steps(use.steps, use.at_least).short}", use.lags, use.curve, use.band)
        )
        ends.append(use.steps)
    for index, (name, lags, curve, band) in enumerate(curves):
        colour, marker = look(index)
        # no context at all has no place on a log axis
        shown = lags >= 1
        axes.fill_between(lags[shown], band[0][shown], band[1][shown], color=colour, alpha=0.15, linewidth=0)
        axes.plot(lags[shown], curve[shown], color=colour, marker=marker, label=name)
        axes.axvline(max(1, ends[index]), color=colour, linewidth=1.0, linestyle=DASHED)
    step_ticks(axes, max(int(lags[-1]) for _, lags, _, _ in curves))
    legend_above(figure, axes)
    return figure


@drawn
def time_scale_figure(after: TimeScales, before: TimeScales | None = None) -> Figure:
    """Histogram of the units' time scales on a log axis, one colour a part; before training as a line.

    Those without end are counted in the legend.
    """
    if not after.lasting:
        raise ValueError(f"there are no time scales to draw: {after.reason}")
    parts = {name: np.clip(values, 0.1, None) for name, values in after.lasting.items()}
    first = np.concatenate(list(before.lasting.values())) if before is not None else np.empty(0)
    initial = np.clip(first, 0.1, None)
    seen = np.concatenate([*parts.values(), initial])
    finite = seen[np.isfinite(seen)]
    low, high = (
        (np.floor(np.log10(finite.min())), np.ceil(np.log10(finite.max() * 1.001))) if len(finite) else (0, 1)
    )
    edges = np.logspace(low, high, int(high - low) * 8 + 1)
    figure, axes = new_axes("time scale in steps", "units" if after.gate else "directions")
    axes.hist(
        [part[np.isfinite(part)] for part in parts.values()],
        bins=edges.tolist(),
        stacked=True,
        color=[look(index)[0] for index in range(len(parts))],
        label=list(parts),
        rwidth=0.9,
    )
    if len(initial):
        axes.stairs(
            np.histogram(initial[np.isfinite(initial)], edges)[0],
            edges,
            color=INK,
            linewidth=1.2,
            label="before training",
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    never = int(sum(np.isinf(part).sum() for part in parts.values()))
    if never:
        axes.plot([], [], " ", label=f"{never} without end")
    legend_above(figure, axes)
    return figure


@drawn
def recall_figure(
    steps: Sequence[int],
    accuracy: Mapping[str, Sequence[float]],
    *,
    chance: float,
    ceiling: float | None = None,
    ceiling_name: str = "perfect memory",
    trained_to: int | None = None,
    spread: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
    xlabel: str = "steps between the fact and the question",
) -> Figure:
    """Accuracy over distance for several models, with a line at chance and one at the ceiling.

    Args:
        steps: distances measured, in steps, shared by all models.
        accuracy: shares from 0 to 1 by model's name, one a distance.
        chance: accuracy of guessing, 0 to 1.
        ceiling: accuracy that a perfect memory would have, 0 to 1; called ``ceiling_name``.
        trained_to: longest distance seen in training; what lies beyond it is shaded.
        spread: (low, high) accuracy by model's name, drawn as a band.
        xlabel: name and unit of the distance.
    """
    for name, shares in accuracy.items():
        if len(shares) != len(steps):
            raise ValueError(
                f"{name!r} has {len(shares)} accuracies for {len(steps)} distances; one each is needed"
            )
    figure, axes = new_axes(xlabel, "accuracy")
    for index, (name, shares) in enumerate(accuracy.items()):
        colour, marker = look(index)
        if spread and name in spread:
            axes.fill_between(steps, *spread[name], color=colour, alpha=0.15, linewidth=0)
        axes.plot(steps, shares, color=colour, marker=marker, label=name)
    if trained_to is not None and max(steps) > trained_to:
        axes.axvspan(trained_to, max(steps), color=INK, alpha=0.08, linewidth=0, label="longer than trained")
    if ceiling is not None:
        axes.axhline(ceiling, color=INK, linewidth=1.0, linestyle=DASHED, label=ceiling_name)
    axes.axhline(chance, color=INK, linewidth=1.0, linestyle=DOTTED, label="chance")
    # a line at 0 would lie under the axis
    axes.set_ylim(-0.02, 1.03)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.0f} %"))
    legend_above(figure, axes)
    return figure


@drawn
def loss_figure(
    curves: Mapping[str, tuple[Sequence[int], Sequence[float]]],
    *,
    ylabel: str = "training loss",
    log: bool = False,
) -> Figure:
    """Loss over training steps: (steps, losses) by model's name; name the loss and its unit in ``ylabel``."""
    figure, axes = new_axes("training steps", ylabel)
    for index, (name, (steps, losses)) in enumerate(curves.items()):
        colour, marker = look(index)
        axes.plot(
            steps,
            losses,
            color=colour,
            marker=marker,
            markevery=max(1, len(steps) // 6),
            linewidth=1.4,
            label=name,
        )
    if log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    legend_above(figure, axes)
    return figure


def _positive(norms: ArrayLike) -> NDArray[np.float64]:
    """Zeros have no place on a log axis: the curve ends there."""
    values = np.asarray(norms, dtype=np.float64)
    return np.where(values > 0.0, values, np.nan)


def _share_axis(axes: Axes, measures: Sequence[Measure]) -> None:
    axes.set_yscale("log")
    seen = np.concatenate([measure.curve for measure in measures] or [np.ones(1)])
    seen = seen[seen > 0.0]
    lowest, highest = (float(seen.min()), float(seen.max())) if len(seen) else (1.0, 1.0)
    axes.set_ylim(max(min(lowest, 0.002), _LOWEST), 3.0 * max(1.0, highest))
    axes.set_xlim(left=0)
    axes.yaxis.set_major_locator(LogLocator(base=100.0, numticks=8))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:,.10g} %"))
    for threshold in sorted({measure.threshold for measure in measures}):
        axes.axhline(threshold, color=INK, linewidth=1.0, linestyle=DOTTED)


def step_ticks(axes: Axes, longest: int) -> None:
    ticks = [tick for power in range(7) for tick in (10**power, 3 * 10**power) if tick <= longest]
    if longest < 10:
        ticks = list(range(1, longest + 1))
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
