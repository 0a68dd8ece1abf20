"""The pictures of a report, as matplotlib figures, and to_svg and to_png, which write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from storyline.memory.drawing import DASHED, DOTTED, INK, drawn, legend_above, look, new_axes, to_png, to_svg
from storyline.memory.gates import HalfLives
from storyline.memory.gradient import MILLIONTH, PERCENT, GradientReach
from storyline.memory.use import ContextUse

__all__ = [
    "gradient_figure",
    "half_life_figure",
    "loss_figure",
    "recall_figure",
    "to_png",
    "to_svg",
    "use_figure",
]


@drawn
def gradient_figure(
    after: Mapping[str, GradientReach], before: Mapping[str, GradientReach] | None = None
) -> Figure:
    """Gradient over lag, as a share of its value at lag 0, log scale, a line at 1 % and at a millionth.

    Args:
        after: reach by model's name, drawn solid with the quartiles over sequences as a band.
        before: the same before training, drawn dashed in the colour of the same name.
    """
    before = before or {}
    names = list(dict.fromkeys([*after, *before]))
    figure, axes = new_axes("steps back (lag)", "gradient, share of lag 0")
    for name in names:
        colour, marker = look(names.index(name))
        for reach, dashed in ((after.get(name), False), (before.get(name), True)):
            if reach is None or reach.dead:
                continue
            if not dashed and len(reach.per_sequence) > 1:
                low, high = reach.relative_quartiles
                axes.fill_between(
                    reach.lags, _positive(low), _positive(high), color=colour, alpha=0.15, linewidth=0
                )
            axes.plot(
                reach.lags,
                _positive(reach.relative),
                color=colour,
                linestyle=DASHED if dashed else "-",
                linewidth=1.2 if dashed else 1.8,
                marker=None if dashed else marker,
                markevery=max(1, len(reach.lags) // 8),
                label=None if dashed else name,
            )
    if before:
        axes.plot([], [], color=INK, linestyle=DASHED, linewidth=1.2, label="before training")
    _share_axis(axes, [*after.values(), *before.values()])
    legend_above(figure, axes)
    return figure


@drawn
def use_figure(uses: Mapping[str, ContextUse]) -> Figure:
    """Loss over steps of context (log axis), the full loss as a line, its 1 % as a band."""
    figure, axes = new_axes("steps of context (the last k)", "loss")
    axes.set_xscale("log")
    for index, (name, use) in enumerate(uses.items()):
        colour, marker = look(index)
        axes.axhspan(use.full, use.limit, color=colour, alpha=0.18, linewidth=0)
        axes.axhline(use.full, color=colour, linewidth=1.0, linestyle=DOTTED)
        axes.plot(use.lags, use.losses, color=colour, marker=marker, label=name)
        if not use.steps.at_least:
            axes.axvline(use.steps.value, color=colour, linewidth=1.0, linestyle=DASHED)
    axes.plot([], [], color=INK, linewidth=1.0, linestyle=DOTTED, label="all of the context")
    if any(not use.steps.at_least for use in uses.values()):
        axes.plot([], [], color=INK, linewidth=1.0, linestyle=DASHED, label="enough")
    _step_ticks(axes, max(int(use.lags[-1]) for use in uses.values()))
    legend_above(figure, axes)
    return figure


@drawn
def half_life_figure(half_lives: HalfLives, sequence_steps: int | None = None) -> Figure:
    """Histogram of the units' half-lives on a log axis, one colour a layer; those without end are counted.

    Args:
        half_lives: with at least one layer; refused where there are none.
        sequence_steps: length of the sequences, drawn as a line to compare with.
    """
    if not half_lives.units:
        raise ValueError(f"there are no half-lives to draw: {half_lives.reason}")
    figure, axes = new_axes("half-life in steps", "units")
    values = np.clip(half_lives.all, 0.1, None)
    finite = values[np.isfinite(values)]
    top = float(finite.max()) if len(finite) else 10.0
    low, high = np.floor(np.log10(min(finite, default=1.0))), np.ceil(np.log10(top * 1.001))
    edges = np.logspace(low, high, int(high - low) * 8 + 1)
    parts = [np.clip(part, 0.1, None) for part in half_lives.units.values()]
    axes.hist(
        [part[np.isfinite(part)] for part in parts],
        bins=edges.tolist(),
        stacked=True,
        color=[look(index)[0] for index in range(len(parts))],
        label=list(half_lives.units),
        rwidth=0.9,
    )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if sequence_steps is not None:
        axes.axvline(sequence_steps, color=INK, linewidth=1.0, linestyle=DASHED, label="sequence length")
    if half_lives.never:
        axes.plot([], [], " ", label=f"{half_lives.never} units never forget")
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
    axes.set_ylim(0.0, 1.03)
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


def _share_axis(axes: Axes, reaches: Sequence[GradientReach]) -> None:
    axes.set_yscale("log")
    seen = np.concatenate([reach.relative for reach in reaches] or [np.ones(1)])
    seen = seen[seen > 0.0]
    lowest, highest = (float(seen.min()), float(seen.max())) if len(seen) else (1.0, 1.0)
    bottom = max(min(lowest, PERCENT / 5), MILLIONTH / 50)
    axes.set_ylim(bottom, 3.0 * max(1.0, highest))
    axes.set_xlim(left=0)
    axes.yaxis.set_major_locator(LogLocator(base=100.0, numticks=8))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:,.10g} %"))
    lines = [PERCENT] if bottom > MILLIONTH else [PERCENT, MILLIONTH]
    for line in lines:
        axes.axhline(line, color=INK, linewidth=1.0, linestyle=DOTTED)


def _step_ticks(axes: Axes, longest: int) -> None:
    ticks = [tick for power in range(7) for tick in (10**power, 3 * 10**power) if tick <= longest]
    if longest < 10:
        ticks = list(range(1, longest + 1))
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
