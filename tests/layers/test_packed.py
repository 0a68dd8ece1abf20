"""A packed module says what the module says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from storyline.cells import CELLS
from storyline.kernels import native
from storyline.layers import (
    GRU,
    LSTM,
    SLSTM,
    AdaptiveHead,
    CellStack,
    LinearHead,
    PackedScores,
    TiedHead,
    TokenEmbedding,
    packed,
)
from storyline.layers.decoding import Encoded
from storyline.layers.packed import PackedLinear, PackedRecurrent
from storyline.layers.packed_decoder import PackedRecurrentDecoder
from storyline.layers.recurrent_decoder import RecurrentDecoder
from storyline.search.likeliest import likeliest_tokens

pytestmark = pytest.mark.skipif(native.missing is not None, reason=str(native.missing))


@pytest.mark.parametrize("kind", ["linear", "tied", "tied with a projection", "float16"])
def test_a_head_says_the_same(kind: str) -> None:
    torch.manual_seed(0)
    embedding = TokenEmbedding(500, 24, unknown_id=1)
    head = {
        "linear": lambda: LinearHead(24, 500, dropout=0.5),
        "tied": lambda: TiedHead(embedding, dropout=0.5),
        "tied with a projection": lambda: TiedHead(embedding, input_size=32, dropout=0.5),
        "float16": lambda: LinearHead(24, 500).half(),
    }[kind]().eval()
    inputs = torch.randn(6, 32 if kind.endswith("projection") else 24).to(next(head.parameters()).dtype)
    with torch.no_grad():
        said, plain = packed(head)(inputs), head(inputs)
    assert isinstance(said, PackedScores) == (kind != "float16")
    if isinstance(said, PackedScores):
        torch.testing.assert_close(said.whole(), plain)
    ours, wanted = (likeliest_tokens(each, 4, 3, (0, 9)) for each in (said, plain.clone()))
    torch.testing.assert_close(ours[0], wanted[0])
    assert torch.equal(ours[1], wanted[1])
    torch.testing.assert_close(ours[2], wanted[2])


LAYERS = {
    **{
        name: lambda name=name, **more: CellStack(CELLS[name], 10, 12, num_layers=2, **more)
        for name in native.cells()
    },
    "projected lstm": lambda **more: LSTM(10, 12, num_layers=2, proj_size=5, **more),
    "without bias": lambda **more: GRU(10, 12, bias=False, **more),
    "four heads": lambda **more: SLSTM(10, 12, num_heads=4, **more),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LAYERS)
def test_a_step_has_the_bits_of_the_layer(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name](batch_first=True).to(dtype).eval()
    ours = packed(layer)
    assert isinstance(ours, PackedRecurrent)
    state = (
        tuple(torch.randn_like(each) for each in layer.initial_state(230))
        if len(layer.cell.states) > 1
        else None
    )
    if state is None:
        state = torch.randn_like(layer.initial_state(230))
    elif name == "slstm" or name == "four heads":
        state = (state[0], state[1], state[2].abs() + 1, state[3])
    x = torch.randn(230, 1, 10, dtype=dtype)
    with torch.no_grad():
        output, last = layer(x, state)
        for threads in (1, 3):
            before = torch.get_num_threads()
            torch.set_num_threads(threads)
            mine, mine_last = ours(x, state)
            torch.set_num_threads(before)
            assert torch.equal(mine, output)
            for a, b in zip(mine_last, last, strict=True):
                assert torch.equal(a, b)
        # Whole sequences, and all that only the layer knows, are the layer's.
        wide = torch.randn(3, 4, 10, dtype=dtype)
        assert torch.equal(ours(wide, lengths=[4, 2, 1])[0], layer(wide, lengths=[4, 2, 1])[0])
        assert ours.cell is layer.cell


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(50, 16, unknown_id=1)
        self.core = LSTM(16, 16, batch_first=True)
        self.parts = nn.ModuleList([nn.Linear(16, 16), nn.Sequential(nn.Linear(16, 16), nn.Tanh())])
        self.again = self.parts[0]
        self.head = TiedHead(self.embedding)

    def forward(self, ids: torch.Tensor, hx: tuple) -> tuple:
        x, hx = self.core(self.embedding(ids).unsqueeze(1), hx)
        for part in [*self.parts, self.again]:
            x = part(x)
        return self.head(x.squeeze(1)), hx


def test_a_network_is_packed_through_and_left_alone() -> None:
    torch.manual_seed(0)
    network = Network()
    with pytest.raises(ValueError, match="Network is in training; call eval"):
        packed(network)
    ours = packed(network.eval())
    assert isinstance(ours, Network)
    assert isinstance(ours.parts[0], PackedLinear)
    assert ours.again is ours.parts[0]
    assert isinstance(network.parts[0], nn.Linear)
    assert ours.embedding is not network.embedding
    assert ours.embedding.weight is network.embedding.weight
    twice = packed(ours)
    assert twice.core is ours.core
    assert twice.head is ours.head
    ids, hx = torch.arange(7), tuple(torch.randn(1, 7, 16) for _ in range(2))
    with torch.no_grad():
        said, plain = ours(ids, hx)[0].whole(), network(ids, hx)[0]
        torch.testing.assert_close(said, plain)
        alone = torch.cat(
            [ours(ids[i : i + 1], tuple(each[:, i : i + 1] for each in hx))[0].whole() for i in ids]
        )
        assert torch.equal(alone, said)
        network.head.bias.add_(1)
        network.parts[0].weight.zero_()
        assert torch.equal(ours(ids, hx)[0].whole(), said), "the weights are those of the time of packing"
    with pytest.raises(ValueError, match="gradient"):
        ours(ids, tuple(each.requires_grad_() for each in hx))


def test_what_cannot_be_packed_runs_as_it_is() -> None:
    zoned = LSTM(4, 4, zoneout=0.1).eval()
    assert packed(zoned) is zoned
    head = AdaptiveHead(8, 20, [5]).eval()
    x = torch.randn(3, 8)
    with torch.no_grad():
        torch.testing.assert_close(packed(head).log_probabilities(x), head.log_probabilities(x))


DECODERS = {
    "one layer": {"attention": "additive"},
    "three layers, gnmt": {"attention": "general", "num_layers": 3, "gnmt": True},
    "local, gru": {"attention": "local", "num_layers": 2, "core": "gru"},
    "dot, slstm": {"attention": "dot", "num_layers": 2, "core": "slstm"},
    "fed": {"attention": "additive", "num_layers": 2, "input_feeding": True},
    "many heads": {"attention": "multihead", "num_layers": 2},
    "coverage": {"attention": "coverage", "num_layers": 2},
    "thought": {"attention": "additive", "feed_thought": True},
    "no attention": {"attention": None, "num_layers": 2},
}


@pytest.mark.parametrize("longest", [5, 70])
@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_writes_the_same(name: str, longest: int) -> None:
    torch.manual_seed(0)
    decoder = RecurrentDecoder(7, 12, 12, **DECODERS[name]).double().eval()
    ours = packed(decoder)
    projects = name not in ("many heads", "coverage", "thought", "no attention")
    assert isinstance(ours, PackedRecurrentDecoder) == projects
    lengths = torch.tensor([3, longest, 1])
    states = {name: torch.randn(1, 3, 12, dtype=torch.float64) for name in ("h", "c")}
    encoded = Encoded(torch.randn(3, longest, 12, dtype=torch.float64), lengths, states)
    rows, sentences = torch.tensor([0, 0, 0, 2, 2, 2]), torch.tensor([0, 2])
    with torch.no_grad():
        state, mine = decoder.begin(encoded), ours.begin(encoded)
        assert ("projected" in mine.shared) == (projects and longest < 65)
        for step in range(4):
            token = torch.randn(6 if step > 1 else 3, 7, dtype=torch.float64)
            (said, state), (same, mine) = decoder.step(token, state), ours.step(token, mine)
            torch.testing.assert_close(same.output, said.output)
            torch.testing.assert_close(same.attention, said.attention)
            for each, part in state.rows.items():
                torch.testing.assert_close(mine.rows[each], part)
            if step == 1:  # two sentences stay, with three hypotheses each
                state, mine = state.select(rows, sentences), mine.select(rows, sentences)
