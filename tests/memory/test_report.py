"""The whole report of a model: what it says, what it leaves out, and why."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from storyline.layers import LSTM
from storyline.memory import GradientReach, MemoryProbe, Steps, measure


def last(layer: nn.Module):
    return lambda inputs: layer(inputs)[0][:, -1]


def loss_at(k: int | None) -> float:
    return 0.5 if k is None or k >= 17 else 0.9


@pytest.fixture(scope="module")
def probe() -> MemoryProbe:
    torch.manual_seed(0)
    inputs = torch.randn(6, 60, 3)
    layer, initial = LSTM(3, 16, batch_first=True, remember=60), nn.LSTM(3, 16, batch_first=True)
    return MemoryProbe(last(layer), inputs, layer, inputs, None, loss_at, 60, last(initial))


def test_headline_table_and_page(probe: MemoryProbe, tmp_path: Path) -> None:
    report = measure(probe)
    assert report.gradient is not None
    assert report.gradient_before is not None
    assert report.gradient.reach_percent == Steps(59, at_least=True)
    before = report.gradient_before.reach_percent
    assert before is not None
    assert 5 <= before.value <= 12
    assert report.sentences[0] == (
        f"It remembers: the gradient reaches at least 59 steps back ({before.value} before training); "
        "the last 17 steps of context are enough to come within 1 % of the loss."
    )
    rows = {row[0]: row[1:] for row in report.rows()}
    assert rows["gradient reach, 1 % of lag 0"] == ("at least 59 steps", str(before))
    assert rows["context to come within 1 % of the loss"] == ("17 steps", "-")
    assert rows["loss with all of the context"] == ("0.5", "-")
    assert re.fullmatch(r"[\d.]+ steps \([\d.]+ to [\d.]+\)", rows["forget gate half-life, layer 1"][0])
    table = report.table()
    assert table.startswith(report.sentences[0])
    assert len({len(line) for line in table.splitlines()[2 : 3 + len(rows)]}) == 1
    report.write_html(tmp_path / "report.html", title="A & B", footer="seed 0")
    html = (tmp_path / "report.html").read_text()
    assert "<h1>A &amp; B</h1>" in html
    assert report.sentences[0].replace(" %", "\u00a0%") in html
    assert html.count("<svg") == 3
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    measure(probe).write_html(tmp_path / "again.html", title="A & B", footer="seed 0")
    assert (tmp_path / "again.html").read_text() == html


def test_a_plain_object_and_a_stored_curve_serve_too(probe: MemoryProbe) -> None:
    stored = list(0.5 ** np.arange(60.0))
    fields = {
        name: getattr(probe, name) for name in ("function", "inputs", "layer", "layer_inputs", "lengths")
    }
    report = measure(SimpleNamespace(**fields, loss_at=loss_at, longest=60, initial=stored))
    assert report.gradient_before is not None
    assert report.gradient_before.reach_percent == Steps(6)
    assert "(6 before training)" in report.sentences[0]


def test_what_cannot_be_measured_is_none_and_said(probe: MemoryProbe) -> None:
    report = measure(MemoryProbe(last(nn.RNN(3, 4, batch_first=True)), probe.inputs))
    assert (report.gradient_before, report.use, report.half_lives) == (None, None, None)
    said = " ".join(report.sentences)
    assert "The gradient before training could not be measured: neither the initial weights" in said
    assert "The use of context could not be measured: the data has no targets" in said
    assert "Half-lives could not be measured: the model has no recurrent layer" in said
    assert report.sentences[0].startswith("It remembers: the gradient reaches ")
    assert "before" not in report.sentences[0]
    nothing = measure(MemoryProbe(lambda x: x[:, -1].detach(), probe.inputs))
    assert nothing.sentences[0] == "How far back it remembers could not be measured."
    assert nothing.sections()


def test_an_rnn_says_that_it_has_no_half_lives(probe: MemoryProbe, tmp_path: Path) -> None:
    layer = nn.RNN(3, 4, batch_first=True)
    report = measure(MemoryProbe(last(layer), probe.inputs, layer, probe.inputs, loss_at=loss_at, longest=60))
    assert "An RNN has no gate" in report.sentences[1]
    report.write_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().count("<svg") == 2


def test_words_for_models_without_memory_and_with_too_little_context(probe: MemoryProbe) -> None:
    forgets = measure(MemoryProbe(lambda x: x[:, -1], probe.inputs, loss_at=lambda k: 1.0, longest=9))
    assert forgets.sentences[0] == (
        "It does not remember: the gradient reaches 0 steps back; the last step of context is enough to come "
        "within 1 % of the loss."
    )
    short = measure(
        MemoryProbe(lambda x: x.sum(1), probe.inputs, loss_at=lambda k: 1.0 if k is None else 2.0, longest=9)
    )
    assert "even the last 9 steps of context are not enough" in short.sentences[0]
    assert dict((row[0], row[1]) for row in short.rows())["context to come within 1 % of the loss"] == (
        "more than 9 steps"
    )

    def dead(inputs: Tensor) -> Tensor:
        return (inputs * 0.0).sum(1)

    report = measure(MemoryProbe(dead, probe.inputs))
    assert report.sentences[0] == "It does not remember: the gradient is exactly 0 at every lag."
    assert report.rows()[0][1] == "gradient is 0"
    assert any("exactly 0 at every lag in 6 of 6" in sentence for sentence in report.sentences)


def test_the_same_directions_serve_before_and_after(probe: MemoryProbe) -> None:
    layer = nn.LSTM(3, 64, batch_first=True)
    report = measure(MemoryProbe(last(layer), probe.inputs, initial=last(layer)), probes=2)
    assert isinstance(report.gradient, GradientReach)
    assert report.gradient_before is not None
    np.testing.assert_array_equal(report.gradient.norms, report.gradient_before.norms)
