"""The whole report of a model: what it says of a memory that is known, what it leaves out, and why."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from storyline.memory import MeasureError, MemoryProbe, measure
from storyline.memory.report.example import choose_example

BACK, SCALE = 6, 30.0


class Delay(nn.Module):
    """Answers at every step with what stood `back` steps before, as log probabilities of two classes."""

    def __init__(self, back: int) -> None:
        super().__init__()
        self.back = back

    def forward(self, inputs: Tensor) -> Tensor:
        late = nn.functional.pad(inputs[..., 0], (self.back, 0))[:, : inputs.shape[1]]
        return nn.functional.logsigmoid(torch.stack([-6 * late, 6 * late], -1))


def lstm_of(scale: float) -> nn.LSTM:
    """An LSTM whose forget gate stands still, so that each of its units has the time scale `scale`."""
    layer = nn.LSTM(1, 4, batch_first=True)
    keep = np.exp(-1 / scale)
    with torch.no_grad():
        for weight in (layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0):
            weight[4:8] = 0.0
        layer.bias_ih_l0[4:8] = float(np.log(keep / (1 - keep)))
    return layer


@pytest.fixture(scope="module")
def probe() -> MemoryProbe:
    torch.manual_seed(0)
    rows = list(torch.randn(200, 30, 1))
    targets = torch.tensor([int(row[-1 - BACK, 0] > 0) for row in rows])
    words = [[f"{value:.2f}" for value in row[:, 0].tolist()] for row in rows]
    return MemoryProbe(
        Delay(BACK),
        rows,
        targets,
        lstm_of(SCALE),
        Delay(2),
        lstm_of(3.0),
        words=words,
        unit="word",
        total=900,
    )


def test_a_memory_that_is_known(probe: MemoryProbe, tmp_path: Path) -> None:
    report = measure(probe)
    found = {row[0]: row[1:] for row in report.rows()}
    assert found["remembers (counterfactual)"] == (f"{BACK}", f"{BACK}-{BACK}", "-")
    assert found["gradient reaches"] == (f"{BACK}", f"{BACK}-{BACK}", "2")
    # a context of k steps holds the lags 0 ... k - 1
    assert found["uses, of the context"][0] == f"{BACK + 1}"
    assert found["the data needs, at least"][0] == f"{BACK + 1}"
    assert found["time scale, layer 1: median (80 %)"] == ("30 (30 to 30)", "-", "3 (3 to 3)")
    assert report.sentences[0] == (
        "It remembers 6 words (95 % interval 6-6): what lies further back changes its answer by less than 1 %."
    )
    assert report.sentences[1] == "No fault found: your data needs 7 steps, your model uses 7."
    said = " ".join(report.sentences)
    assert "Measured on 200 of 900 sequences, drawn at random;" in said
    assert "A step is one word." in said
    # what was not looked for is said where the need is known, too
    assert "; state drifts (trained_steps= was not given, the longest sequences" in said
    table = report.table()
    assert table.startswith(report.headline)
    assert len({len(line) for line in table.splitlines()[2 : 3 + len(found)]}) == 1
    report.write_html(tmp_path / "report.html", title="A & B", footer="seed 0")
    html = (tmp_path / "report.html").read_text()
    assert "<h1>A &amp; B</h1>" in html
    assert html.count("<svg") == 4
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    # nothing is fetched: the heat maps lie in the page
    assert not re.search(r'(src|href)="(?!#|data:image/png;base64,)', html)
    assert measure(probe).to_html("A & B", "seed 0") == html


def test_what_was_written_is_said_in_the_words_of_the_data(probe: MemoryProbe) -> None:
    """One word alone opens the input gate, and the forget gate keeps it to the end."""
    layer = nn.LSTM(1, 1, batch_first=True)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.zero_()
        layer.weight_ih_l0[0], layer.bias_ih_l0[0] = 40.0, -20.0
        layer.bias_ih_l0[1], layer.bias_ih_l0[2] = 20.0, 2.0
    rows = [torch.zeros(12 + i % 3, 1) for i in range(20)]
    words = [["..."] * len(row) for row in rows]
    for row, text in zip(rows, words, strict=True):
        row[4], text[4] = 1.0, "XG-1000"
        row += 0.001 * torch.randn(len(row), 1)
    marked = replace(probe, inputs=rows, layer=layer, words=words, targets=None, initial_layer=None)
    report = measure(marked)
    assert report.example is not None
    assert [event.sentence for event in report.example.events] == [
        f"wrote 'XG-1000' at word 5, kept it {len(report.example.words) - 5} words, to the end"
    ]
    assert report.example.events[0].sentence in report.table()
    assert "XG-1000" in report.to_html()


def test_what_cannot_be_measured_is_none_and_said(probe: MemoryProbe) -> None:
    report = measure(MemoryProbe(Delay(BACK), probe.inputs))
    assert (report.before, report.need, report.scales, report.example) == (None,) * 4
    said = " ".join(report.sentences)
    for sentence in (
        "Not measured: use (no targets were given",
        "Not measured: gradient before training (the initial weights are not known).",
        "Not measured: need of the data (the data has no answers; give data with the targets).",
        "Not measured: time scales (no recurrent layer of the model reads these steps).",
    ):
        assert sentence in said
    assert "a step is" not in said.lower()
    # without answers too: what needs none is diagnosed, and the rest is named
    assert report.sentences[1] == "No fault found: your model uses 7 steps."
    assert "Not looked for: truncated too short (chunk= was not given, the steps that" in said
    assert "; vanishing (no targets were given, and inputs are no tokens" in said
    html = report.to_html()
    assert html.count("<svg") == 1
    assert "Inside, on an example" not in html


def test_a_cell_without_gates_has_time_scales_and_no_example(probe: MemoryProbe) -> None:
    report = measure(replace(probe, layer=nn.RNN(1, 4, batch_first=True), targets=None))
    assert report.scales is not None
    assert report.example is None
    assert "Not measured: example (An RNN has no gate" in " ".join(report.sentences)
    assert "directions" in report.to_html().lower()


class LastOf(nn.Module):
    """One answer a sequence, from the last state of a layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs)[0][:, -1]


def test_faults_that_need_no_answers_are_found_without(probe: MemoryProbe) -> None:
    stuck, counter = lstm_of(3.0), lstm_of(1e6)
    with torch.no_grad():
        # input and output gates at an end; an input gate of a half, an answer of 3 tenths a step, nothing forgotten
        stuck.bias_ih_l0[0:4] = stuck.bias_ih_l0[12:16] = 30.0
        stuck.weight_ih_l0[8:12] = 9.0
        for weight in (counter.weight_ih_l0, counter.weight_hh_l0, counter.bias_hh_l0):
            weight.zero_()
        counter.weight_ih_l0[0:4], counter.bias_ih_l0[8:12] = 0.1, 0.3
    report = measure(replace(probe, model=LastOf(stuck), layer=stuck, targets=None))
    assert report.diagnosis.names == ("saturated",)
    assert "Saturated: " in report.table()
    assert "vanishing" in report.diagnosis.unsought
    counting = replace(probe, model=LastOf(counter), layer=counter, targets=None)
    assert "state drifts" in measure(counting).diagnosis.unsought
    # a state that grows is no harm where nobody runs the model for longer; who says so asks for it
    assert "state drifts" in measure(replace(counting, trained_steps=30)).diagnosis.unsought
    drifts = measure(replace(counting, trained_steps=math.inf), trained_steps=30)
    assert "state drifts" in drifts.diagnosis.names
    assert (
        "Whether what was found harms the answers is not known without the need of the data."
        in drifts.sentences
    )


def test_what_the_probe_says_of_the_training_is_diagnosed_and_the_remedy_is_a_setting(
    probe: MemoryProbe,
) -> None:
    few = [row[-5:] for row in probe.inputs]
    targets = torch.tensor([int(row[-3, 0] > 0) for row in few])
    # a model that forgets, of data that needs three steps
    probe = replace(probe, model=Delay(0), inputs=few, targets=targets, words=None, initial=None)
    told = {"clip": math.inf, "chunk": math.inf, "reset_every": math.inf, "trained_steps": math.inf}
    whole = measure(replace(probe, targets=None, **told))
    # but for what is seen of a recurrent layer alone, and of answers
    unsought = ("exploding", "dead units", "input ignored", "saturated", "vanishing")
    assert whole.diagnosis.unsought == unsought
    told = {"clip": 0.5, "gradient_norms": (40.0,), "chunk": 2, "reset_every": 1, "trained_steps": math.inf}
    settings = {"clip": "clip_norm", "chunk": "steps", "cell": "core"}
    untold = measure(replace(probe, settings=settings)).table()
    assert "clipped too hard (the model does not tell the norm that gradients were clipped to)" in untold
    assert (
        "state drifts (the model does not tell the longest sequences that the model was trained on; --tr"
        in untold
    )
    report = measure(replace(probe, settings=settings, **told))
    assert report.diagnosis.names[:2] == ("truncated too short", "reset too often")
    assert "clipped too hard" in report.diagnosis.names
    said = report.sentences
    place = next(i for i, each in enumerate(said) if each.startswith("Truncated too short: gradients went"))
    assert said[place + 1] == "To train it so: storyline train ... --set steps=8."
    assert said[place + 2].startswith("Reset too often: ")
    assert said[place + 3] == "No setting of storyline train does that."
    assert "To train it so: storyline train ... --set clip_norm=80.0." in said
    assert "--set steps=8" in report.to_html()
    assert "storyline train" not in replace(report, settings={}).table()


def test_words_for_models_without_memory_and_with_more_than_the_data_shows(probe: MemoryProbe) -> None:
    forgets = measure(replace(probe, model=Delay(0), targets=None, unit="step"))
    assert forgets.headline == (
        "It does not remember: what lies before the last step changes its answer by less than 1 %."
    )

    class Sum(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs.cumsum(1)

    report = measure(replace(probe, model=Sum(), targets=None))
    assert report.headline == (
        "It remembers at least 29 words: as far back as the data goes, its answer still depends on what was there."
    )


def test_too_little_data_is_refused(probe: MemoryProbe) -> None:
    with pytest.raises(MeasureError, match="inputs hold 1 sequences; at least 8 are needed"):
        measure(replace(probe, inputs=probe.inputs[:1]))


def test_a_long_example_is_cut_and_a_short_one_preferred() -> None:
    layer = nn.GRU(2, 3, batch_first=True)
    rows = [torch.randn(n, 2) for n in (900, 35, 3)]
    words = [[str(i) for i in range(len(row))] for row in rows]
    found = choose_example(layer, rows, words, "word")
    assert found.trace.lengths.tolist() == [35, 3, 400]
    alone = choose_example(layer, rows[:1], words[:1], "word")
    assert alone.words == tuple(words[0][:400])
