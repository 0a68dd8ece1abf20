"""The picture of what a layer wrote, kept and erased while it read one sequence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from storyline.memory.inside.events import MemoryEvent, gates_of, words_of
from storyline.memory.inside.layer_trace import LayerTrace
from storyline.memory.report.drawing import drawn, look

# A heat map finer than this cannot be told apart at the width of a page; so many words can stand under it.
_COLUMNS, _BANDS, _WORDS = 240, 48, 40
_WIDTH = 7.2  # inches


@drawn
def memory_event_figure(
    trace: LayerTrace,
    tokens: Sequence[str],
    events: Sequence[MemoryEvent] = (),
    *,
    row: int = 0,
    part: str | None = None,
    unit: str = "word",
) -> Figure:
    """Heat maps of one sequence, what was written above what was kept, with the events as bars over them.

    Left to right the steps, top to bottom the units, by the median of the gate that
    keeps, the slowest to forget first. Written is |i g| in units of the
    typical state of its unit, see `memory_events`; kept is the gate that keeps. Beyond 240 steps a column stands for
    several, and shows the largest write and the product of the gates, what is kept all through it; beyond 48 units
    a row stands for several, and shows their mean.

    Args:
        trace: of a layer with gates that keep.
        tokens: the words of the sequence, one a step.
        events: what to mark: those of ``part`` are drawn, the strongest six of them.
        row: the sequence. part: which layer; None: the last forward one.
        unit: what a step is called, in the singular.

    Raises:
        MeasureError: as for `memory_events`.
    """
    words = words_of(trace, tokens, row)
    part = (
        [name for name, end in trace.parts.items() if not end.endswith("_reverse")][-1]
        if part is None
        else part
    )
    kept, sizes = gates_of(trace, part, row)
    order = np.argsort(-np.median(kept, axis=0), kind="stable")
    maps = {"written": _bands(sizes[:, order], "largest"), "kept": _bands(kept[:, order], "product")}
    mine = sorted((each for each in events if each.part == part), key=lambda each: -each.strength)
    shown = sorted(mine[:6], key=lambda each: each.written)
    figure = Figure(figsize=(_WIDTH, 3.3 + 0.3 * len(shown)))
    ratios = [0.3 * len(shown), 1.2, 1.2] if shown else [1.2, 1.2]
    panels = list(np.atleast_1d(figure.subplots(len(ratios), sharex=True, height_ratios=ratios)))
    if shown:
        _bars(panels.pop(0), shown, len(words))
    for axes, (name, values) in zip(panels, maps.items(), strict=True):
        _heat(figure, axes, values, len(words), name)
    panels[0].set_ylabel(f"{kept.shape[1]} units")
    panels[1].set_ylabel(part)
    _steps_axis(panels[1], words, unit)
    return figure


def _bands(values: NDArray[np.float64], across: str) -> NDArray[np.float64]:
    """(steps, units) -> (rows, columns) of the picture; ``across`` steps the largest or the product."""
    over = np.maximum if across == "largest" else np.multiply
    starts = _starts(len(values), _COLUMNS)
    columns = over.reduceat(values, starts, axis=0)
    places = _starts(values.shape[1], _BANDS)
    counts = np.diff([*places, values.shape[1]])
    return np.asarray((np.add.reduceat(columns, places, axis=1) / counts).T)


def _starts(count: int, most: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count, min(count, most), endpoint=False).astype(np.int64))


def _heat(figure: Figure, axes: Axes, values: NDArray[np.float64], steps: int, name: str) -> None:
    top = 1.0 if name == "kept" else max(1.0, float(np.quantile(values, 0.995)))
    image = axes.imshow(
        values, aspect="auto", interpolation="nearest", cmap="cividis", vmin=0.0, vmax=top,
        extent=(0.5, steps + 0.5, len(values), 0),
    )  # fmt: skip
    axes.set_yticks([])
    bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=12, extend="neither" if name == "kept" else "max")
    bar.set_label(name)
    bar.locator = MaxNLocator(3)
    bar.update_ticks()


def _bars(axes: Axes, events: Sequence[MemoryEvent], steps: int) -> None:
    """A bar an event, from where it was written to where it was erased, with its words over it."""
    for place, event in enumerate(events):
        colour, marker = look(place)
        start, end = event.written + 1, event.written + 1 + event.kept
        axes.plot([start, end], [place, place], color=colour, linewidth=3.0, solid_capstyle="butt")
        axes.plot([start], [place], color=colour, marker=marker, linestyle="none")
        if event.erased is not None:
            axes.plot(
                [end], [place], color=colour, marker="|", markersize=9, markeredgewidth=2, linestyle="none"
            )
        right = start > 0.6 * steps
        until = "the end" if event.eraser is None else _short(event.eraser)
        length = f"{event.kept:,} {event.unit}{'' if event.kept == 1 else 's'}"
        axes.annotate(
            f"{_short(event.token)} to {until}, {length}", (end if right else start, place), (0, 4),
            textcoords="offset points", ha="right" if right else "left", va="bottom", fontsize=8,
        )  # fmt: skip
    axes.set_ylim(len(events) - 0.4, -0.9)
    axes.set_yticks([])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(bottom=False)


def _short(token: str) -> str:
    return repr(token if len(token) <= 16 else token[:15] + "…")


def _steps_axis(axes: Axes, words: Sequence[str], unit: str) -> None:
    """The words themselves where there is room, else their numbers."""
    axes.set_xlim(0.5, len(words) + 0.5)
    if len(words) <= _WORDS:
        texts = [each if len(each) <= 16 else each[:15] + "…" for each in words]
        axes.set_xticks(range(1, len(words) + 1), texts, rotation=90, fontsize=8)
        return
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=3))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel(unit)
