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
from matplotlib.patches import Rectangle

from storyline.memory import Horizon, Measure, RequiredHorizon, TimeScales
from storyline.memory.report.drawing import PALETTE
from storyline.memory.report.figures import (
    gradient_figure,
    horizon_figure,
    loss_figure,
    need_figure,
    recall_figure,
    time_scale_figure,
    to_png,
    to_svg,
)

NAMES = [
    "RNN",
    "LSTM as torch starts it",
    "LSTM, remember=248",
    "GRU",
    "Transformer of two layers",
    "<x> & $y$ " * 4,
]


def measured(name: str, curve: np.ndarray, threshold: float = 0.01, steps: int = 40) -> Measure:
    return Measure(
        name, steps, steps - 4, steps + 9, False, False, np.arange(len(curve)), curve, np.stack([curve / 2, curve]),
        threshold, 0.95, 64, "what is measured",
    )  # fmt: skip


def reach(decay: float) -> Measure:
    return measured("gradient", decay ** np.arange(249.0))


def horizon() -> Horizon:
    recall = measured("recall", np.clip(1 - np.arange(249.0) / 80, 0, 1), 0.5)
    use = measured("use", 0.3 + 0.9 ** np.arange(249.0))
    return Horizon(reach(0.9), measured("counterfactual", 0.97 ** np.arange(249.0)), recall, use, {}, 248)


def need() -> RequiredHorizon:
    lags = np.array([0, 1, 2, 4, 8, 16, 32])
    curve = 0.4 + 0.8 ** lags.astype(float)
    return RequiredHorizon(
        17,
        12,
        20,
        False,
        lags,
        curve,
        np.stack([curve - 0.1, curve + 0.1]),
        ("linear",) * 7,
        1.0,
        0.01,
        0.95,
        (60, 40),
    )


def scales(shift: float = 1.0, last: float = np.inf) -> TimeScales:
    values = np.logspace(0, 3.5, 64) * shift
    parts = {"layer 1": values, "layer 2, backward": np.append(values[:9], last)}
    return TimeScales(parts, parts, "forget gate")


def single(values: list[float]) -> TimeScales:
    return TimeScales({}, {"layer 1": np.array(values)}, "update gate")


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
    lambda: gradient_figure({"dead": measured("gradient", np.zeros(2))}),
    lambda: gradient_figure({"exploding": reach(1.2)}),
    lambda: horizon_figure(horizon()),
    lambda: horizon_figure(horizon(), reach(0.6)),
    lambda: horizon_figure(Horizon(None, None, measured("recall", np.ones(9), 0.5), None, {}, 8), reach(0.6)),
    lambda: need_figure(need()),
    lambda: need_figure(need(), measured("use", 0.3 + 0.9 ** np.arange(249.0))),
    lambda: time_scale_figure(scales()),
    lambda: time_scale_figure(scales(), scales(0.01, 1.0)),
    lambda: time_scale_figure(single([np.inf] * 5)),
    lambda: time_scale_figure(single([0.0, 0.02, 7.0])),
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
    assert 0.01 in {float(line.get_ydata()[0]) for line in axes.lines if len(line.get_ydata()) == 2}


def test_recall_draws_chance_ceiling_and_what_lies_beyond_training() -> None:
    (axes,) = recall(["LSTM"]).axes
    levels = {line.get_label(): float(line.get_ydata()[0]) for line in axes.lines}
    assert levels == {"LSTM": 0.95, "chance": 0.1, "logistic regression on the first digit": 0.96}
    assert any(patch.get_label() == "longer than trained" for patch in axes.patches)


def test_every_unit_is_in_the_histogram() -> None:
    (axes,) = time_scale_figure(scales(), scales(0.5, 1.0)).axes
    tops: dict[float, float] = {}
    for patch in axes.patches:
        if isinstance(patch, Rectangle):
            tops[patch.get_x()] = max(tops.get(patch.get_x(), 0.0), patch.get_y() + patch.get_height())
        else:
            initial = patch.get_data().values.sum()
    assert sum(tops.values()) == 64 + 9
    assert initial == 64 + 10
    assert "1 without end" in [line.get_label() for line in axes.lines]


def test_the_horizon_marks_steps_and_thresholds() -> None:
    (axes,) = horizon_figure(horizon(), reach(0.6)).axes
    upright = [line for line in axes.lines if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2]
    assert [line.get_xdata()[0] for line in upright] == [40] * 4
    level = {line.get_ydata()[0] for line in axes.lines if len(line.get_xdata()) == 2} - {0}
    assert {0.01, 0.5} <= level
    labels = [line.get_label() for line in axes.lines]
    assert "gradient before training: 40" in labels
    # of its gain nothing is there yet with one step of context, and all of it with the longest
    (use,) = [line for line in axes.lines if str(line.get_label()).startswith("use")]
    gained = 0.9 ** np.arange(249.0)
    np.testing.assert_allclose(
        use.get_ydata()[:20], ((gained - gained[-1]) / (1 - gained[-1]))[1:21], rtol=1e-9
    )


def test_same_bytes_in_another_process() -> None:
    program = (
        "import numpy as np\nfrom storyline.memory.report.figures import *\n"
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
        time_scale_figure(TimeScales(reason="an RNN has none"))
    with pytest.raises(ValueError, match="name is '1 x'"):
        to_svg(recall(["a"]), "1 x", "")


def test_names_are_letters_not_formulas() -> None:
    assert "a $y$ &lt;b&gt;</text>" in to_svg(loss_figure({"a $y$ <b>": ([1, 2], [2.0, 1.0])}), "p", "loss")
