"""Traces against a NumPy transcription in float64, for every kind of layer that torch.nn has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from storyline.layers import GRU, LSTM, RNN, SLSTM, accelerate
from storyline.memory import MeasureError
from storyline.memory.inside.layer_trace import LayerTrace, trace, trace_pieces

BATCH, TIME, INPUT, HIDDEN = 4, 7, 3, 5
LENGTHS = [7, 1, 4, 6]
CASES = {
    "lstm": lambda: nn.LSTM(INPUT, HIDDEN, batch_first=True),
    "lstm stacked": lambda: nn.LSTM(INPUT, HIDDEN, 2, dropout=0.5, bidirectional=True),
    "lstm projected": lambda: nn.LSTM(INPUT, HIDDEN, 2, bidirectional=True, proj_size=2, batch_first=True),
    "lstm without bias": lambda: nn.LSTM(INPUT, HIDDEN, bias=False),
    "gru": lambda: nn.GRU(INPUT, HIDDEN, 2, bidirectional=True),
    "rnn": lambda: nn.RNN(INPUT, HIDDEN, 2, bidirectional=True, batch_first=True),
    "relu": lambda: nn.RNN(INPUT, HIDDEN, nonlinearity="relu"),
    "ours": lambda: LSTM(INPUT, HIDDEN, 2, bidirectional=True, dropout=0.3),
    "accelerated": lambda: accelerate(nn.GRU(INPUT, HIDDEN, batch_first=True)).model,
}


def sigma(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def numpy_trace(layer: nn.Module, x: np.ndarray, state: list[np.ndarray]) -> dict[str, np.ndarray]:
    """One sequence (time, channels) through the whole stack; slots as `LayerTrace` has them."""
    weights = {name: value.detach().numpy() for name, value in layer.state_dict().items()}
    kind = "lstm" if len(state) == 2 else "gru" if "GRU" in type(layer).__name__ else "rnn"
    found: dict[str, np.ndarray] = {}
    below, index = x, 0
    for number in range(layer.num_layers):
        outputs = []
        for end in [f"_l{number}", f"_l{number}_reverse"][: 1 + layer.bidirectional]:
            W, U = weights["weight_ih" + end], weights["weight_hh" + end]
            b, d = (weights.get(name + end, np.zeros(len(W))) for name in ("bias_ih", "bias_hh"))
            now = [each[index] for each in state]
            index += 1
            slots: list = [None] * (len(x) + 1)
            gates: list = [None] * len(x)
            backwards = end.endswith("reverse")
            slots[len(x) if backwards else 0] = now
            for t in reversed(range(len(x))) if backwards else range(len(x)):
                ax, ah, h = W @ below[t] + b, U @ now[0] + d, now[0]
                if kind == "lstm":
                    i, f, g, o = np.split(ax + ah, 4)
                    i, f, g, o = sigma(i), sigma(f), np.tanh(g), sigma(o)
                    c = f * now[1] + i * g
                    h = o * np.tanh(c)
                    if "weight_hr" + end in weights:
                        h = weights["weight_hr" + end] @ h
                    now, gates[t] = [h, c], dict(i=i, f=f, g=g, o=o)
                elif kind == "gru":
                    r = sigma(ax[:HIDDEN] + ah[:HIDDEN])
                    z = sigma(ax[HIDDEN : 2 * HIDDEN] + ah[HIDDEN : 2 * HIDDEN])
                    n = np.tanh(ax[2 * HIDDEN :] + r * ah[2 * HIDDEN :])
                    now, gates[t] = [(1 - z) * n + z * h], dict(r=r, z=z, n=n)
                else:
                    relu = layer.nonlinearity == "relu"
                    now, gates[t] = [np.maximum(ax + ah, 0) if relu else np.tanh(ax + ah)], {}
                slots[t if backwards else t + 1] = now
            for place, name in enumerate("hc"[: len(state)]):
                found[name + end] = np.array([slot[place] for slot in slots])
            for name in gates[0]:
                found[name + end] = np.array([each[name] for each in gates])
            outputs.append(found["h" + end][slice(0, -1) if backwards else slice(1, None)])
        below = np.concatenate(outputs, -1)
    return found | {"output": below}


def drawn(case: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor | tuple[torch.Tensor, ...]]:
    """The layer, the input batch first with junk beyond the lengths, an initial state."""
    torch.manual_seed(3)
    layer = CASES[case]().double()
    x = torch.randn(BATCH, TIME, INPUT, dtype=torch.float64)
    x[torch.arange(TIME) >= torch.tensor(LENGTHS)[:, None]] = float("nan")
    rows = layer.num_layers * (1 + layer.bidirectional)
    sizes = [layer.proj_size or HIDDEN] + [HIDDEN] * isinstance(layer, nn.LSTM | LSTM)
    state = tuple(torch.randn(rows, BATCH, size, dtype=torch.float64) for size in sizes)
    return layer, x, state if len(state) > 1 else state[0]


@pytest.mark.parametrize("case", CASES)
def test_trace_is_the_textbook(case: str) -> None:
    layer, x, state = drawn(case)
    assert layer.training
    fed = x if layer.batch_first else x.transpose(0, 1)
    got = trace(layer, fed, torch.tensor(LENGTHS), state)
    assert layer.training
    states = state if isinstance(state, tuple) else (state,)
    for row, length in enumerate(LENGTHS):
        wanted = numpy_trace(layer, x[row, :length].numpy(), [each[:, row].numpy() for each in states])
        np.testing.assert_allclose(got.output[row, :length], wanted.pop("output"), rtol=0, atol=1e-13)
        assert set(wanted) == set(got.states) | set(got.gates)
        for key, value in wanted.items():
            values = got.states.get(key, got.gates.get(key))[row]
            np.testing.assert_allclose(values[: len(value)], value, rtol=0, atol=1e-13)
            held = values[len(value) - 1] if key in got.states else torch.zeros(())
            assert (values[len(value) :] == held).all()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (256, 32)])
def test_pieces_are_the_whole(case: str, size: tuple[int, int]) -> None:
    layer, x, state = drawn(case)
    fed = x if layer.batch_first else x.transpose(0, 1)
    whole = trace(layer, fed, LENGTHS, state)
    seen = {end: torch.zeros(BATCH, TIME, dtype=torch.int64) for end in whole.parts.values()}
    for piece in trace_pieces(layer, fed, LENGTHS, state, steps_at_once=size[0], rows_at_once=size[1]):
        end = piece.part.suffix
        before, after, gates = whole.around(piece.part.name)
        kept = whole.kept(piece.part.name)
        for row, s in piece.inside.nonzero().tolist():
            b = piece.rows.start + row
            t = LENGTHS[b] - 1 - piece.start - s if piece.part.reverse else piece.start + s
            seen[end][b, t] += 1
            for some, others in ((before, piece.before), (after, piece.after), (gates, piece.gates)):
                assert some.keys() == others.keys()
                for name in some:
                    torch.testing.assert_close(some[name][b, t], others[name][row, s], rtol=0, atol=1e-14)
            if kept is not None:
                torch.testing.assert_close(kept[b, t], piece.kept[row, s], rtol=0, atol=1e-14)
    inside = torch.arange(TIME) < torch.tensor(LENGTHS)[:, None]
    assert all(torch.equal(count, inside.long()) for count in seen.values())


def test_packed_and_single_sequences_are_rows_of_the_padded_batch() -> None:
    layer, x, _ = drawn("lstm projected")
    whole = trace(layer, x, LENGTHS)
    packed = trace(layer, pack_padded_sequence(x, torch.tensor(LENGTHS), True, enforce_sorted=False))
    one = trace(layer, x[2, :4])
    for some, others in ((whole.states, packed.states), (whole.gates, packed.gates)):
        assert all(torch.equal(some[key], others[key]) for key in some)
    torch.testing.assert_close(one.gates["f_l1_reverse"][0], whole.gates["f_l1_reverse"][2, :4])
    assert packed.lengths.tolist() == LENGTHS


@pytest.mark.parametrize(
    "layer",
    [LSTM(3, 4, 2, zoneout=(0.3, 0.1), bidirectional=True), GRU(3, 4, zoneout=0.2), SLSTM(3, 4, 2, 2),
     LSTM(3, 4, coupled_gates=True), GRU(3, 4, layer_norm=True)],
    ids=["zoneout", "gru zoneout", "slstm", "coupled", "layer norm"],
)  # fmt: skip
def test_what_is_held_is_what_was_kept_and_what_was_written(layer: nn.Module) -> None:
    layer = layer.double()
    got = trace(layer, torch.randn(9, 2, 3, dtype=torch.float64), [9, 5])
    for part in got.parts:
        before, after, gates = got.around(part)
        hold = [each["c"] / each["n"].clamp_min(1e-300) if "n" in each else each.get("c", each["h"])
                for each in (before, after)]  # fmt: skip
        assert ((got.kept(part) >= 0) & (got.kept(part) <= 1)).all()
        inside = torch.arange(9) < torch.tensor([[9], [5]])
        change = got.kept(part) * hold[0] + got.written(part)
        torch.testing.assert_close(change[inside], hold[1][inside], rtol=0, atol=1e-13)
    if "i" in gates and "n" not in before and not layer.rates.zoneout:
        torch.testing.assert_close(got.written(part), gates["i"] * gates["g"])


def test_the_model_is_left_as_it_was() -> None:
    layer, x, _ = drawn("lstm stacked")
    before = {name: (id(each), each.clone()) for name, each in layer.named_parameters()}
    generator = torch.get_rng_state()
    layer.register_forward_hook(lambda *_: pytest.fail("the user's hook was run"))
    list(trace_pieces(layer, x.transpose(0, 1), LENGTHS))
    assert trace(layer, x.transpose(0, 1), LENGTHS).layer is not layer
    assert torch.equal(generator, torch.get_rng_state())
    for name, each in layer.named_parameters():
        assert (id(each), each.requires_grad) == (before[name][0], True)
        assert torch.equal(each, before[name][1])


def test_a_layer_with_a_forward_of_its_own_is_refused() -> None:
    class Louder(nn.GRU):
        def forward(self, *arguments):
            output, last = super().forward(*arguments)
            return 1.01 * output, last

    with pytest.raises(MeasureError, match="the Louder does not compute what its weights say: its output is"):
        trace(Louder(3, 4), torch.randn(5, 2, 3))


def test_long_sequences_need_the_memory_of_a_piece() -> None:
    """Every gate and state of 20,000 steps of 64 units would be 6 x 10 MB; held are 200 steps of them."""
    layer, x = nn.LSTM(1, 64, batch_first=True), torch.randn(1, 20_000, 1)
    total, largest = 0, 0
    for piece in trace_pieces(layer, x, steps_at_once=200):
        total += int(piece.inside.sum())
        tensors = [*piece.before.values(), *piece.gates.values()]
        largest = max(largest, *(each.untyped_storage().nbytes() for each in tensors))
    assert total == 20_000
    assert largest <= 201 * 64 * 4


def test_refusals() -> None:
    lstm = nn.LSTM(3, 4, batch_first=True)
    x = torch.randn(2, 5, 3)
    with pytest.raises(MeasureError, match="the layer is Linear; LSTM, GRU or RNN"):
        trace(nn.Linear(3, 4), x)
    with pytest.raises(
        MeasureError, match="the layer is Sequential, which holds recurrent layers at '0': pass one"
    ):
        trace(nn.Sequential(RNN(3, 4)), x)
    with pytest.raises(MeasureError, match="input has 2 features a step; this layer reads input_size=3"):
        trace(lstm, x[..., :2])
    with pytest.raises(MeasureError, match=r"input is torch.float64 and the layer is torch.float32"):
        trace(lstm, x.double())
    with pytest.raises(MeasureError, match="sequence 1 holds NaN or infinity at step 3"):
        trace(lstm, torch.where(torch.arange(10).view(2, 5, 1) == 8, float("nan"), x))
    with pytest.raises(MeasureError, match=r"lengths are \[5, 6\]; one of 1 to 5 for each of the 2"):
        trace(lstm, x, [5, 6])
    with pytest.raises(MeasureError, match=r"lengths are \[5.0, 4.0\]"):
        trace(lstm, x, torch.tensor([5.0, 4.0]))
    with pytest.raises(MeasureError, match=r"the initial state must be \(h_0, c_0\)"):
        trace(lstm, x, None, torch.zeros(1, 2, 4))
    with pytest.raises(MeasureError, match="leave lengths= out"):
        trace(lstm, pack_padded_sequence(x, torch.tensor([5, 4]), True), [5, 4])
    with pytest.raises(MeasureError, match="part is 'layer 2'; the trace has 'layer 1'"):
        trace(lstm, x).kept("layer 2")
    assert isinstance(trace(lstm, x), LayerTrace)
    with pytest.raises(MeasureError, match="steps_at_once is 0"):
        trace_pieces(lstm, x, steps_at_once=0)
