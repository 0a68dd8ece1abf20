"""How the pictures of a report look, and how they become svg or png: the same bytes every time, no window.

Text and frame take the colour of the page (``currentColor``), so that a picture fits a light and a dark
page; the curves' colours are told apart by colour-blind readers (Okabe & Ito 2008) and, in print, by
their markers.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = "osD^vP"
# Stands for the page's own text colour until to_svg() replaces it.
INK = "#1b1c1d"
DASHED = (0, (4, 2))
DOTTED = (0, (1, 2))
STYLE: dict[Any, Any] = {
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
    "text.parse_math": False,  # a model may be called "$5"
    # Text stays text: a tenth of the size of drawn letters, searchable, read aloud; widths differ a little
    # with the reader's font, for which the layouts leave room.
    "svg.fonttype": "none",
    **dict.fromkeys(["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"], INK),
}
_SANS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'DejaVu Sans', Arial, sans-serif"
_P = ParamSpec("_P")


def drawn(draw: Callable[_P, Figure]) -> Callable[_P, Figure]:
    @wraps(draw)
    def styled(*args: _P.args, **kwargs: _P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


def to_svg(figure: Figure, name: str, description: str) -> str:
    """The figure as one ``<svg>`` element for an html page; nothing in it refers to anything outside.

    Args:
        figure: one of figures.py's.
        name: prefix of all ids inside, different for each picture of a page: letters, digits, hyphens.
        description: what the picture shows, for readers who cannot see it (title of the svg).
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):
        raise ValueError(f"name is {name!r}; a letter, then letters, digits and hyphens were wanted")
    file = io.StringIO()
    with mpl.rc_context(STYLE):
        empty = dict.fromkeys(["Date", "Creator", "Format", "Type"])
        figure.savefig(file, format="svg", transparent=True, metadata=empty)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{name}-", svg)
    svg = svg.replace(INK, "currentColor")
    svg = re.sub(r"'DejaVu Sans'(, [^;\"]*)?", _SANS, svg)
    title = f'<title id="{name}">{_escape(description)}</title>'
    head, rest = svg.split(">", 1)
    # the size comes from the page: the picture fills its frame at any width
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-labelledby="{name}">{title}{rest}'


def to_png(figure: Figure, path: str, dots_per_inch: int = 160) -> None:
    """Write the figure as a PNG on white, for a README."""
    with mpl.rc_context(STYLE):
        figure.savefig(path, format="png", dpi=dots_per_inch, facecolor="white", metadata={"Software": None})


def new_axes(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure()
    axes = figure.add_subplot()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(True, axis="y", color=INK, alpha=0.14, linewidth=0.7)
    return figure, axes


def look(index: int) -> tuple[str, str]:
    return PALETTE[index % len(PALETTE)], _MARKERS[index % len(_MARKERS)]


def legend_above(figure: Figure, axes: Axes) -> None:
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


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
