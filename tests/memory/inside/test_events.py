"""Events of networks built by hand, whose gates open and shut on given words."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from storyline.memory import MeasureError
from storyline.memory.inside.events import memory_events
from storyline.memory.inside.layer_trace import trace

WORDS = {"the": 0, "XG-1000": 1, "goodbye": 2, "yes": 3, "hum": 4}
FAR = 60.0


def read(text: list[str]) -> torch.Tensor:
    return nn.functional.one_hot(torch.tensor([WORDS[word] for word in text]), len(WORDS)).double()


def by_hand(units: int = 3) -> nn.LSTM:
    """Unit 0 writes at 'XG-1000' and erases at 'goodbye'; unit 1 writes at 'yes' and halves in 10 steps."""
    layer = nn.LSTM(len(WORDS), units).double()
    with torch.no_grad():
        for each in layer.parameters():
            each.zero_()
        i, f, g, _ = layer.bias_ih_l0.split(units)
        i.fill_(-FAR)
        f.fill_(FAR)
        g.fill_(FAR)
        layer.weight_ih_l0[0, WORDS["XG-1000"]] = 2 * FAR
        layer.weight_ih_l0[1, WORDS["yes"]] = 2 * FAR
        layer.weight_ih_l0[units, WORDS["goodbye"]] = -2 * FAR
        f[1] = torch.logit(torch.tensor(0.5 ** (1 / 9.5), dtype=torch.float64))
    return layer


def text(before: int, between: int) -> list[str]:
    return ["the"] * before + ["XG-1000"] + ["the"] * between + ["goodbye", "the", "the"]


def test_wrote_kept_and_erased() -> None:
    words = text(13, 211)
    (event,) = memory_events(trace(by_hand(), read(words)), words)
    assert str(event) == (
        "wrote 'XG-1000' at word 14, kept it 212 words, erased at 'goodbye' (layer 1, unit 0)"
    )
    assert (event.written, event.erased, event.units) == (13, 225, (0,))
    typical = math.sqrt(212 / len(words))  # c is 1 at 212 of the steps
    assert event.strength == pytest.approx(212 / typical)


def test_never_erased_and_faded_away() -> None:
    words = ["yes", *["the"] * 4, "XG-1000", *["the"] * 14, "hum"]
    found = memory_events(trace(by_hand(), read(words)), words, unit="step", threshold=0.9)
    assert [each.sentence for each in found] == [
        "wrote 'yes' at step 1, kept it 10 steps, erased at 'the'",  # .5^(10 / 9.5) is below one half
        "wrote 'XG-1000' at step 6, kept it 15 steps, to the end",
    ]
    assert [each.erased for each in found] == [10, None]


def test_units_that_write_and_erase_together_are_one_event() -> None:
    layer = by_hand(8)
    with torch.no_grad():
        layer.weight_ih_l0[3:6, WORDS["XG-1000"]] = 2 * FAR
        layer.weight_ih_l0[8 + 3 : 8 + 5, WORDS["goodbye"]] = -2 * FAR
        layer.weight_ih_l0[8 + 5, WORDS["hum"]] = -2 * FAR  # unit 5 erases sooner
        layer.weight_ih_l0[16 + 4, WORDS["XG-1000"]] = -FAR + 1.0  # unit 4 writes tanh 1
    words = ["XG-1000", *["the"] * 9, "hum", *["the"] * 9, "goodbye"]
    found = memory_events(trace(layer, read(words)), words)
    assert [(set(each.units), each.kept, each.eraser) for each in found] == [
        ({0, 3, 4}, 20, "goodbye"), ({5}, 10, "hum"),
    ]  # fmt: skip
    assert str(found[0]).endswith("(layer 1, 3 units)")
    (strongest,) = memory_events(trace(layer, read(words)), words, strongest=1)
    assert strongest == found[0]


def test_a_rewritten_unit_has_two_events() -> None:
    words = ["XG-1000", "the", "the", "goodbye", "the", "XG-1000", "the", "goodbye"]
    found = memory_events(trace(by_hand(), read(words)), words)
    assert [(each.written, each.erased) for each in found] == [(0, 3), (5, 7)]
    assert len(memory_events(trace(by_hand(), read(words)), words, shortest=3)) == 1


def test_rows_and_layers() -> None:
    torch.manual_seed(0)
    layer = nn.LSTM(len(WORDS), 3, num_layers=2, bidirectional=True).double()
    one = by_hand()
    for name, value in one.state_dict().items():
        layer.state_dict()[name].copy_(value)
    short, long = text(1, 3), text(2, 7)
    x = torch.zeros(len(long), 2, len(WORDS), dtype=torch.float64)
    x[: len(short), 0], x[:, 1] = read(short), read(long)
    both = trace(layer, x, [len(short), len(long)])
    for row, words, kept in ((0, short, 4), (1, long, 8)):
        first = [each for each in memory_events(both, words, row=row, strongest=50) if each.part == "layer 1"]
        assert [(each.token, each.eraser, each.kept) for each in first] == [("XG-1000", "goodbye", kept)]


def test_a_gru_writes_where_its_update_gate_shuts() -> None:
    layer = nn.GRU(len(WORDS), 2).double()
    with torch.no_grad():
        for each in layer.parameters():
            each.zero_()
        layer.bias_ih_l0[2:4] = FAR  # z = 1: kept
        layer.weight_ih_l0[3, WORDS["XG-1000"]] = layer.weight_ih_l0[3, WORDS["goodbye"]] = -2 * FAR
        layer.weight_ih_l0[5, WORDS["XG-1000"]] = FAR
    words = text(3, 6)
    (event,) = memory_events(trace(layer, read(words)), words)
    assert event.sentence == "wrote 'XG-1000' at word 4, kept it 7 words, erased at 'goodbye'"


def integrator() -> nn.LSTM:
    """Six units that add all they read, little by little, and never forget; 'XG-1000' goes where nothing else does."""
    layer = nn.LSTM(4, 6).double()
    with torch.no_grad():
        for each in layer.parameters():
            each.zero_()
        layer.bias_ih_l0[:12] = FAR
        layer.weight_ih_l0[12:18, :3] = (
            0.1 * torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).double()
        )
        layer.weight_ih_l0[12:18, 3] = 0.4 * torch.tensor([0, 1, 0, 0, 0, -1.0]).double()
    return layer


@pytest.mark.parametrize("at", [10, 200])
def test_a_write_unlike_the_others_is_found_where_all_is_added_up(at: int) -> None:
    layer, words = integrator(), ["the"] * 1000
    x = torch.randn(1000, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x[:, 3], words[at] = 0, "XG-1000"
    x[at] = torch.tensor([0.0, 0, 0, 1])
    found = trace(layer, x)
    typical = found.states["c_l0"][0].square().mean(0).sqrt()
    assert (found.written("layer 1")[0, at].abs() < 0.3 * typical).all()
    (event,) = memory_events(found, words)
    assert event.sentence == f"wrote 'XG-1000' at word {at + 1}, kept it {999 - at} words, to the end"
    assert {1, 5} <= set(event.units)
    assert memory_events(found, words, unlike=100) == ()


def test_nothing_written_is_no_event() -> None:
    words = ["the"] * 5
    assert memory_events(trace(by_hand(), read(words)), words) == ()


def test_refusals() -> None:
    words = text(1, 2)
    found = trace(by_hand(), read(words))
    with pytest.raises(
        MeasureError, match="An RNN has no gate that keeps its state, so its units have no writes"
    ):
        memory_events(trace(nn.RNN(len(WORDS), 2).double(), read(words)), words)
    with pytest.raises(
        MeasureError, match="tokens are 3, and sequence 0 has 7 steps; a word for each was wanted"
    ):
        memory_events(found, words[:3])
    with pytest.raises(MeasureError, match="tokens are one string"):
        memory_events(found, "abcdefg")
    with pytest.raises(MeasureError, match="row is 1; the trace has 1 sequences, 0 to 0"):
        memory_events(found, words, row=1)
    with pytest.raises(MeasureError, match="threshold is 0, unlike 3"):
        memory_events(found, words, threshold=0)
    with pytest.raises(MeasureError, match="strongest is 0"):
        memory_events(found, words, strongest=0)
