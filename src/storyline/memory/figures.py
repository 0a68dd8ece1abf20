"""The pictures of a report, as matplotlib figures: drawn without a window, the same bytes every time.

Text and frame take the colour of the page (``currentColor``), so that a picture fits a light and a dark
page; the curves' colours are told apart by colour-blind readers (Okabe & Ito 2008) and, in print, by
their markers.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from storyline.memory.gates import HalfLives
from storyline.memory.gradient import MILLIONTH, PERCENT, GradientReach
from storyline.memory.use import ContextUse

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = "osD^vP"
# Stands for the page's own text colour until to_svg() replaces it.
_INK = "#1b1c1d"
_STYLE: dict[Any, Any] = {
    "figure.figsize": (4.5, 2.75),  # inches: at the width of a phone the letters are still 10 pixels high
    "figure.constrained_layout.use": True,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.labelsize": 9.0,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "svg.hashsalt": "storyline",
    # Text stays text: a tenth of the size of drawn letters, searchable, read aloud; widths differ a little
    # with the reader's font, for which the layouts leave room.
    "svg.fonttype": "none",
    **dict.fromkeys(["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"], _INK),
}
_SANS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'DejaVu Sans', Arial, sans-serif"
_P = ParamSpec("_P")


def _drawn(draw: Callable[_P, Figure]) -> Callable[_P, Figure]:
    @wraps(draw)
    def styled(*args: _P.args, **kwargs: _P.kwargs) -> Figure:
        with mpl.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return styled


def to_svg(figure: Figure, name: str, description: str) -> str:
    """The figure as one ``<svg>`` element for an html page; nothing in it refers to anything outside.

    Args:
        figure: one of this module's figures.
        name: prefix of all ids inside, different for each picture of a page: letters, digits, hyphens.
        description: what the picture shows, for readers who cannot see it (title of the svg).
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):
        raise ValueError(f"name is {name!r}; a letter, then letters, digits and hyphens were wanted")
    file = io.StringIO()
    with mpl.rc_context(_STYLE):
        empty = dict.fromkeys(["Date", "Creator", "Format", "Type"])
        figure.savefig(file, format="svg", transparent=True, metadata=empty)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{name}-", svg)
    svg = svg.replace(_INK, "currentColor")
    svg = re.sub(r"'DejaVu Sans'(, [^;\"]*)?", _SANS, svg)
    title = f'<title id="{name}">{_escape(description)}</title>'
    head, rest = svg.split(">", 1)
    # the size comes from the page: the picture fills its frame at any width
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-labelledby="{name}">{title}{rest}'


def to_png(figure: Figure, path: str, dots_per_inch: int = 160) -> None:
    """Write the figure as a PNG on white, for a README."""
    with mpl.rc_context(_STYLE):
        figure.savefig(path, format="png", dpi=dots_per_inch, facecolor="white", metadata={"Software": None})


@_drawn
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
    figure, axes = _axes("steps back (lag)", "gradient, share of lag 0")
    for name in names:
        colour, marker = _look(names.index(name))
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
                linestyle=(0, (4, 2)) if dashed else "-",
                linewidth=1.2 if dashed else 1.8,
                marker=None if dashed else marker,
                markevery=max(1, len(reach.lags) // 8),
                label=None if dashed else name,
            )
    if before:
        axes.plot([], [], color=_INK, linestyle=(0, (4, 2)), linewidth=1.2, label="before training")
    _share_axis(axes, [*after.values(), *before.values()])
    _legend(figure, axes)
    return figure


@_drawn
def use_figure(uses: Mapping[str, ContextUse]) -> Figure:
    """Loss over steps of context (log axis), the full loss as a line, its 1 % as a band."""
    figure, axes = _axes("steps of context (the last k)", "loss")
    axes.set_xscale("log")
    for index, (name, use) in enumerate(uses.items()):
        colour, marker = _look(index)
        axes.axhspan(use.full, use.limit, color=colour, alpha=0.18, linewidth=0)
        axes.axhline(use.full, color=colour, linewidth=1.0, linestyle=(0, (1, 2)))
        axes.plot(use.lags, use.losses, color=colour, marker=marker, label=name)
        if not use.steps.at_least:
            axes.axvline(use.steps.value, color=colour, linewidth=1.0, linestyle=(0, (4, 2)))
    axes.plot([], [], color=_INK, linewidth=1.0, linestyle=(0, (1, 2)), label="all of the context")
    if any(not use.steps.at_least for use in uses.values()):
        axes.plot([], [], color=_INK, linewidth=1.0, linestyle=(0, (4, 2)), label="enough")
    _step_ticks(axes, max(int(use.lags[-1]) for use in uses.values()))
    _legend(figure, axes)
    return figure


@_drawn
def half_life_figure(half_lives: HalfLives, sequence_steps: int | None = None) -> Figure:
    """Histogram of the units' half-lives on a log axis, one colour a layer; those without end are counted.

    Args:
        half_lives: with at least one layer; refused where there are none.
        sequence_steps: length of the sequences, drawn as a line to compare with.
    """
    if not half_lives.units:
        raise ValueError(f"there are no half-lives to draw: {half_lives.reason}")
    figure, axes = _axes("half-life in steps", "units")
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
        color=[_look(index)[0] for index in range(len(parts))],
        label=list(half_lives.units),
        rwidth=0.9,
    )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if sequence_steps is not None:
        axes.axvline(
            sequence_steps, color=_INK, linewidth=1.0, linestyle=(0, (4, 2)), label="sequence length"
        )
    if half_lives.never:
        axes.plot([], [], " ", label=f"{half_lives.never} units never forget")
    _legend(figure, axes)
    return figure


@_drawn
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
    figure, axes = _axes(xlabel, "accuracy")
    for index, (name, shares) in enumerate(accuracy.items()):
        colour, marker = _look(index)
        if spread and name in spread:
            axes.fill_between(steps, *spread[name], color=colour, alpha=0.15, linewidth=0)
        axes.plot(steps, shares, color=colour, marker=marker, label=name)
    if trained_to is not None and max(steps) > trained_to:
        axes.axvspan(trained_to, max(steps), color=_INK, alpha=0.08, linewidth=0, label="longer than trained")
    if ceiling is not None:
        axes.axhline(ceiling, color=_INK, linewidth=1.0, linestyle=(0, (4, 2)), label=ceiling_name)
    axes.axhline(chance, color=_INK, linewidth=1.0, linestyle=(0, (1, 2)), label="chance")
    axes.set_ylim(0.0, 1.03)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.0f} %"))
    _legend(figure, axes)
    return figure


@_drawn
def loss_figure(
    curves: Mapping[str, tuple[Sequence[int], Sequence[float]]],
    *,
    ylabel: str = "training loss",
    log: bool = False,
) -> Figure:
    """Loss over training steps: (steps, losses) by model's name; name the loss and its unit in ``ylabel``."""
    figure, axes = _axes("training steps", ylabel)
    for index, (name, (steps, losses)) in enumerate(curves.items()):
        colour, marker = _look(index)
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
    _legend(figure, axes)
    return figure


def _axes(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure()
    axes = figure.add_subplot()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(True, axis="y", color=_INK, alpha=0.14, linewidth=0.7)
    return figure, axes


def _look(index: int) -> tuple[str, str]:
    return PALETTE[index % len(PALETTE)], _MARKERS[index % len(_MARKERS)]


def _legend(figure: Figure, axes: Axes) -> None:
    """A legend above the axes, where no curve can run through it; the figure grows by its rows."""
    handles, labels = axes.get_legend_handles_labels()
    size = float(mpl.rcParams["legend.fontsize"])
    widths = [TextPath((0.0, 0.0), label or " ", size=size).get_extents().width for label in labels]
    columns = max(n for n in (1, 2, 3) if n == 1 or (n <= len(labels) and _legend_points(widths, n) < 310.0))
    rows = -(-len(labels) // columns)
    figure.set_figheight(figure.get_figheight() + 0.19 * rows)
    figure.legend(
        handles, labels, loc="outside upper left", ncols=columns, columnspacing=1.2, borderaxespad=0.1
    )


def _legend_points(widths: Sequence[float], columns: int) -> float:
    """Width of the legend in points: matplotlib fills it column by column; a handle and its gaps take 36."""
    return sum(float(column.max()) + 36.0 for column in np.array_split(np.array(widths), columns))


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
        axes.axhline(line, color=_INK, linewidth=1.0, linestyle=(0, (1, 2)))


def _step_ticks(axes: Axes, longest: int) -> None:
    ticks = [tick for power in range(7) for tick in (10**power, 3 * 10**power) if tick <= longest]
    if longest < 10:
        ticks = list(range(1, longest + 1))
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
