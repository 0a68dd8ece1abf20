"""The pictures: drawn alike every time, nothing cut off, nothing fetched from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from storyline.memory import ContextUse, GradientReach, HalfLives, context_use
from storyline.memory.drawing import PALETTE
from storyline.memory.figures import (
    gradient_figure,
    half_life_figure,
    loss_figure,
    recall_figure,
    to_png,
    to_svg,
    use_figure,
)

NAMES = [
    "RNN",
    "LSTM as torch starts it",
    "LSTM, remember=248",
    "GRU",
    "Transformer of two layers",
    "<x> & $y$ " * 4,
]


def reach(decay: float) -> GradientReach:
    return GradientReach.from_norms(list(decay ** np.arange(249.0)))


def use(scale: float = 25.0) -> ContextUse:
    return context_use(lambda k: 0.35 if k is None else 0.35 + np.exp(-k / scale), 248)


def lives() -> HalfLives:
    values = np.logspace(0, 3.5, 64)
    return HalfLives({"layer 1": values, "layer 2, backward": np.append(values[:9], np.inf)}, "forget gate")


def gradient(names: list[str]) -> Figure:
    after = {name: reach(1 - 0.3 / (i + 1) ** 3) for i, name in enumerate(names)}
    return gradient_figure(after, {name: reach(0.6) for name in names})


def recall(names: list[str]) -> Figure:
    accuracy = {name: [0.95, 0.9 / (i + 1), 0.1] for i, name in enumerate(names)}
    return recall_figure(
        [0, 240, 480],
        accuracy,
        chance=0.1,
        ceiling=0.96,
        ceiling_name="logistic regression on the first digit",
        trained_to=240,
        spread={names[0]: ([0.9] * 3, [1.0] * 3)},
    )


ALL: list[Callable[[], Figure]] = [
    *(lambda n=n: gradient(NAMES[:n]) for n in range(1, 7)),
    *(lambda n=n: recall(NAMES[:n]) for n in range(1, 7)),
    lambda: gradient_figure({"model": reach(0.9)}),
    lambda: gradient_figure({"dead": GradientReach.from_norms([0.0, 0.0])}),
    lambda: gradient_figure({"exploding": reach(1.2)}),
    lambda: use_figure({name: use(20.0 + i) for i, name in enumerate(NAMES[:3])}),
    lambda: use_figure({"short": context_use(lambda k: 1.0 if k is None else 2.0, 5)}),
    lambda: half_life_figure(lives(), 249),
    lambda: half_life_figure(HalfLives({"layer 1": np.full(5, np.inf)}, "forget gate")),
    lambda: half_life_figure(HalfLives({"layer 1": np.array([0.0, 0.02, 7.0])}, "update gate")),
    lambda: loss_figure({name: (range(50), np.linspace(2.3, 0.1, 50)) for name in NAMES[:3]}),
    lambda: loss_figure({"one": ([1, 2], [3.0, 1e-3])}, ylabel="loss, nats", log=True),
]


@pytest.mark.parametrize("draw", ALL)
def test_no_label_or_legend_is_cut_or_overlaps_the_axes(draw: Callable[[], Figure]) -> None:
    figure = draw()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    frame = figure.bbox
    (axes,) = figure.axes
    tight = axes.get_tightbbox(canvas.get_renderer())
    boxes = [tight, *(legend.get_window_extent() for legend in figure.legends)]
    for box in boxes:
        assert box.x0 >= frame.x0 - 1
        assert box.y0 >= frame.y0 - 1
        assert box.x1 <= frame.x1 + 1
        assert box.y1 <= frame.y1 + 1
    for legend in figure.legends:
        assert legend.get_window_extent().y0 >= axes.get_window_extent().y1 - 1
    # the axes keep their size however long the legend is
    assert axes.get_window_extent().height > 0.45 * 2.75 * figure.dpi
    ticks = [label for label in axes.get_xticklabels() if label.get_text() and label.get_visible()]
    spans = sorted((box.x0, box.x1) for box in (label.get_window_extent() for label in ticks))
    assert all(right[0] > left[1] for left, right in pairwise(spans))


@pytest.mark.parametrize("draw", ALL)
def test_svg_is_well_formed_self_contained_and_takes_the_colour_of_the_page(
    draw: Callable[[], Figure],
) -> None:
    svg = to_svg(draw(), "picture-1", 'accuracy < 5 % & "more"')
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert root[0].text == 'accuracy < 5 % & "more"'
    assert "width" not in root.attrib
    assert "viewBox" in root.attrib
    assert "currentColor" in svg
    assert "#1b1c1d" not in svg
    ids = re.findall(r'\bid="([^"]*)"', svg)
    assert len(ids) == len(set(ids))
    assert all(name.startswith("picture-1") for name in ids)
    targets = set(re.findall(r'href="#([^"]*)"', svg)) | set(re.findall(r"url\(#([^)]*)\)", svg))
    assert targets
    assert targets <= set(ids)
    links = re.findall(r'(?:href|src)="([^"]*)"', svg)
    assert all(link.startswith("#") for link in links)
    assert "<script" not in svg
    assert "<metadata" not in svg
    assert len(svg) < 90_000


def test_curves_are_solid_after_dashed_before_and_share_a_colour() -> None:
    (axes,) = gradient(NAMES[:2]).axes
    curves = [line for line in axes.lines if len(line.get_xdata()) == 249]
    assert [line.get_color() for line in curves] == [PALETTE[0], PALETTE[0], PALETTE[1], PALETTE[1]]
    assert [line.get_linestyle() for line in curves] == ["-", "--", "-", "--"]
    np.testing.assert_allclose(curves[1].get_ydata(), 0.6 ** np.arange(249.0))
    assert axes.get_yscale() == "log"
    assert {0.01, 1e-6} <= {float(line.get_ydata()[0]) for line in axes.lines if len(line.get_ydata()) == 2}


def test_recall_draws_chance_ceiling_and_what_lies_beyond_training() -> None:
    (axes,) = recall(["LSTM"]).axes
    levels = {line.get_label(): float(line.get_ydata()[0]) for line in axes.lines}
    assert levels == {"LSTM": 0.95, "chance": 0.1, "logistic regression on the first digit": 0.96}
    assert any(patch.get_label() == "longer than trained" for patch in axes.patches)


def test_every_unit_is_in_the_histogram() -> None:
    (axes,) = half_life_figure(lives(), 249).axes
    tops = {}
    for patch in axes.patches:
        tops[patch.get_x()] = max(tops.get(patch.get_x(), 0.0), patch.get_y() + patch.get_height())
    assert sum(tops.values()) == 64 + 9
    assert "1 units never forget" in [line.get_label() for line in axes.lines]


def test_same_bytes_in_another_process() -> None:
    program = (
        "import numpy as np\nfrom storyline.memory.figures import *\n"
        "s = loss_figure({'a': (range(9), np.linspace(2, 1, 9))})\nprint(to_svg(s, 'p', 'loss'), end='')"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert other == to_svg(loss_figure({"a": (range(9), np.linspace(2, 1, 9))}), "p", "loss")


def test_png_is_written_alike(tmp_path) -> None:
    for name in ("a.png", "b.png"):
        to_png(recall(NAMES[:2]), str(tmp_path / name))
    data = (tmp_path / "a.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert data == (tmp_path / "b.png").read_bytes()


def test_refusals() -> None:
    with pytest.raises(ValueError, match="'LSTM' has 1 accuracies for 2 distances"):
        recall_figure([1, 2], {"LSTM": [0.1]}, chance=0.1)
    with pytest.raises(ValueError, match="an RNN has none"):
        half_life_figure(HalfLives(reason="an RNN has none"))
    with pytest.raises(ValueError, match="name is '1 x'"):
        to_svg(recall(["a"]), "1 x", "")


def test_names_are_letters_not_formulas() -> None:
    assert "a $y$ &lt;b&gt;</text>" in to_svg(loss_figure({"a $y$ <b>": ([1, 2], [2.0, 1.0])}), "p", "loss")
