"""The heat map of gates: what it shows of a trace that is known, at every length."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from torch import nn

from storyline.memory import MeasureError
from storyline.memory.inside.events import memory_events
from storyline.memory.inside.layer_trace import LayerTrace, trace
from storyline.memory.report.drawing import to_svg
from storyline.memory.report.event_figure import memory_event_figure


def latch(steps: int, units: int = 4) -> tuple[LayerTrace, list[str]]:
    """Unit 1 writes at the second word and erases two words before the end; the others keep half at every step."""
    layer = nn.LSTM(2, units).double()
    with torch.no_grad():
        for each in layer.parameters():
            each.zero_()
        layer.bias_ih_l0[1], layer.bias_ih_l0[units + 1], layer.bias_ih_l0[2 * units + 1] = -60.0, 60.0, 60.0
        layer.weight_ih_l0[1, 0], layer.weight_ih_l0[units + 1, 1] = 120.0, -120.0
    x = torch.zeros(steps, 2, dtype=torch.float64)
    x[1, 0] = x[-3, 1] = 1
    words = ["the"] * steps
    words[1], words[-3] = "a very long word indeed", "$bye$"
    return trace(layer, x), words


@pytest.mark.parametrize(("steps", "columns"), [(20, 20), (240, 240), (500, 240), (3000, 240)])
def test_maps_show_the_write_and_the_erasure(steps: int, columns: int) -> None:
    found, words = latch(steps)
    events = memory_events(found, words)
    assert [(each.written, each.erased) for each in events] == [(1, steps - 3)]
    figure = memory_event_figure(found, words, events)
    bars, written, kept, *_ = figure.axes
    assert [text.get_text() for text in bars.texts] == [f"'a very long wor…' to '$bye$', {steps - 4:,} words"]
    maps = [np.asarray(axes.images[0].get_array()) for axes in (written, kept)]
    assert [each.shape for each in maps] == [(4, columns)] * 2
    # the latch keeps best and stands first; a column holds its write and its erasure however many steps it stands for
    place = [max(c for c in range(columns) if c * steps // columns <= step) for step in (1, steps - 3)]
    assert np.flatnonzero(maps[0][0] > 0.5).tolist() == [place[0]]
    assert np.flatnonzero(maps[1][0] < 0.5).tolist() == [place[1]]
    assert maps[0][0].max() == pytest.approx(np.sqrt(steps / (steps - 4)))
    assert (maps[1][1:] <= 0.5).all()
    assert bool(written.get_shared_x_axes().joined(written, kept))
    labels = [label.get_text() for label in kept.get_xticklabels()]
    assert (labels == [*words[:1], "a very long wor…", *words[2:]]) == (steps == 20)


def test_many_units_are_shown_in_bands() -> None:
    found, words = latch(30, units=100)
    values = np.asarray(memory_event_figure(found, words).axes[1].images[0].get_array())
    assert values.shape == (48, 30)
    assert values[0, 5] == pytest.approx((1 + 0.5) / 2)  # the latch and one other


def test_nothing_is_cut_off_or_fetched() -> None:
    found, words = latch(500)
    figure = memory_event_figure(found, words, memory_events(found, words) * 9)
    assert len(figure.axes[0].texts) == 6
    FigureCanvasAgg(figure).draw()
    width, height = figure.canvas.get_width_height()
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert (box.x0 >= -1, box.y0 >= -1, box.x1 <= width + 1, box.y1 <= height + 1) == (True,) * 4
    svg = to_svg(figure, "gates", "gates")
    ElementTree.fromstring(svg)
    assert "http://" not in svg.replace("http://www.w3.org/", "")


def test_refusals() -> None:
    found, words = latch(20)
    with pytest.raises(MeasureError, match="part is 'layer 2'; the trace has 'layer 1'"):
        memory_event_figure(found, words, part="layer 2")
    with pytest.raises(MeasureError, match="An RNN has no gate that keeps"):
        memory_event_figure(trace(nn.RNN(2, 2), torch.zeros(3, 2)), ["a"] * 3)
