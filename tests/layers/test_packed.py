"""A packed module says what the module says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from storyline.cells import CELLS
from storyline.kernels import PackedStep, Projection, native
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
from storyline.layers.deferred_state import DeferredState
from storyline.layers.packed import PackedLinear, PackedRecurrent
from storyline.layers.packed_decoder import PackedRecurrentDecoder
from storyline.layers.parameters import weights_of
from storyline.layers.recurrent_decoder import RecurrentDecoder
from storyline.layers.recurrent_encoder import RecurrentEncoder
from storyline.layers.token_shares import TokenShares
from storyline.search import Beam, Limits, beam_search
from storyline.search.likeliest import likeliest_tokens
from storyline.tasks.text_to_text_network import SourceToTarget

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


@pytest.mark.parametrize("name", LAYERS)
def test_rows_go_on_from_others_and_take_shares_of_a_table(name: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name](batch_first=True).double().eval()
    (step, *_) = packed(layer).steps
    weight = layer.weight_ih_l0.detach()
    bare = PackedStep(layer.cell, replace(weights_of(layer, layer.cell, "_l0"), weight_ih=weight[:, :0]))
    state = tuple(torch.randn_like(each[0]) for each in as_tuple(layer.initial_state(6)))
    if "slstm" in name or "heads" in name:
        state = (state[0], state[1], state[2].abs() + 1, state[3])
    words, parents = torch.tensor([2, 0, 1, 2, 2, 0, 3, 1]), torch.tensor([5, 0, 0, 5, 2, 2, 5, 1])
    vectors = torch.randn(4, 10, dtype=torch.float64)
    with torch.no_grad():
        wanted = step(vectors[words], tuple(each[parents] for each in state))
        mine = bare(None, state, vectors @ weight.T, more_rows=words, parents=parents)
        for each, plain in zip(mine, wanted, strict=True):
            torch.testing.assert_close(each, plain)
        alone = bare(None, state, vectors @ weight.T, more_rows=words[3:4], parents=parents[3:4])
        assert all(torch.equal(a[0], b[3]) for a, b in zip(alone, mine, strict=True))
    for call, message in [
        (lambda: bare(None, state, vectors @ weight.T, parents=parents), "shapes"),
        (lambda: step(None, state), "shapes"),
        (lambda: step(vectors[words], state, parents=parents.int()), "int64"),
        (lambda: step(vectors[words], state, parents=parents.to("meta")), "int64 on cpu"),
        (lambda: step(vectors[words], state, parents=parents + 1), r"parents\[0\] is 6; .* 0 to 5"),
        (lambda: step(vectors[words], state, parents=parents - 1), r"parents\[1\] is -1"),
        (
            lambda: bare(None, state, vectors @ weight.T, more_rows=words + 1, parents=parents),
            r"more_rows\[6\] is 4; .* 0 to 3",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("name", LAYERS)
def test_a_step_that_reads_nothing_starts_from_the_biases(name: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name](batch_first=True).double().eval()
    (full, *_) = packed(layer).steps
    weights = weights_of(layer, layer.cell, "_l0")
    bare = PackedStep(layer.cell, replace(weights, weight_ih=layer.weight_ih_l0.detach()[:, :0]))
    state = tuple(torch.rand_like(each[0]) + 1 for each in as_tuple(layer.initial_state(3)))
    with torch.no_grad():
        wanted = full(torch.zeros(3, 10, dtype=torch.float64), state)
        full(torch.full((3, 10), 50.0, dtype=torch.float64), state)  # what it leaves in its scratch memory
        assert all(torch.equal(a, b) for a, b in zip(bare(None, state), wanted, strict=True))


@pytest.mark.parametrize("core", [LSTM, GRU])
def test_a_state_of_two_blocks_is_added_in_another_order(core: type[LSTM] | type[GRU]) -> None:
    torch.manual_seed(0)
    layer = core(5, 300, batch_first=True).eval()
    state = tuple(torch.randn(1, 9, 300) for _ in layer.cell.states)
    x, parents = torch.randn(4, 5), torch.tensor([7, 2, 7, 0])
    (step,), chosen = packed(layer).steps, tuple(each[:, parents] for each in state)

    def given(states: tuple[torch.Tensor, ...]) -> torch.Tensor | tuple[torch.Tensor, ...]:
        return states if len(states) > 1 else states[0]

    with torch.no_grad():
        scan = as_tuple(layer(x.unsqueeze(1), given(chosen))[1])
        plain = step(x, tuple(each[0] for each in chosen))
        assert all(torch.equal(a, b[0]) for a, b in zip(plain, scan, strict=True))
        shared = step(x, tuple(each[0] for each in state), parents=parents)
        alone = step(x[2:3], tuple(each[0] for each in state), parents=parents[2:3])
        assert all(torch.equal(a[0], b[2]) for a, b in zip(alone, shared, strict=True))
        double = tuple(each.double() for each in chosen)
        right = as_tuple(layer.double()(x.double().unsqueeze(1), given(double))[1])
    for mine, same, true in zip(shared, plain, right, strict=True):
        assert (mine - true[0]).abs().max() <= 4 * (same - true[0]).abs().max() + 1e-7


def as_tuple(state: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (state,) if isinstance(state, torch.Tensor) else state


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
        assert isinstance(mine, DeferredState) == ("projected" in mine.shared)
        table = TokenEmbedding(20, 7, unknown_id=1).double().eval()
        for step in range(5):
            words = torch.randint(20, (6 if step > 1 else 3,))
            said, state = decoder.step(0.5 * table(words), state)
            if isinstance(ours, PackedRecurrentDecoder) and step % 2:
                same, mine = ours.read(words, table, 0.5, mine)
            else:
                same, mine = ours.step(0.5 * table(words), mine)
            torch.testing.assert_close(same.output, said.output)
            torch.testing.assert_close(same.attention, said.attention)
            for each, part in state.rows.items():
                torch.testing.assert_close(mine.rows[each], part)
            if step == 1:  # two sentences stay, with three hypotheses each
                state, mine = state.select(rows, sentences), mine.select(rows, sentences)
            if step == 2:  # twice, before anything is read
                for chosen, left in (([0, 0, 2, 5, 4, 4], None), ([5, 4, 3], torch.tensor([1]))):
                    state, mine = (each.select(torch.tensor(chosen), left) for each in (state, mine))
                state, mine = (each.select(torch.tensor([2, 1, 0] * 2)) for each in (state, mine))
                assert all(len(part) == 1 for part in mine.settled().shared.values())
                torch.testing.assert_close(dict(mine.settled().rows), dict(state.rows))


def test_the_n_best_are_the_same_packed_and_alone() -> None:
    torch.manual_seed(1)
    embedding = TokenEmbedding(40, 12, unknown_id=1)
    encoder = RecurrentEncoder(12, 10, num_layers=2)
    decoder = RecurrentDecoder(12, 20, 10, attention="additive", num_layers=2)
    head = LinearHead(10, 40)
    torch.nn.init.normal_(head.linear.weight, std=2.0)
    network = SourceToTarget(embedding, embedding, encoder, decoder, head, scale=3.0).double().eval()
    lengths = torch.tensor([7, 2, 5, 1, 6])
    source = torch.randint(3, 40, (5, 7)).masked_fill(torch.arange(7) >= lengths.unsqueeze(1), 0)

    def found(model: SourceToTarget, places: list[int]) -> list[list[tuple[list[int], float]]]:
        limits = Limits(torch.full((len(places),), 2), 2, 3 + lengths[places], forbidden=(0,))
        with torch.no_grad():
            state = model.begin(source, lengths).select(torch.tensor(places), torch.tensor(places))
        outputs = beam_search(model, state, Beam(4, alpha=0.6, n_best=4), limits).hypotheses
        return [[(one.tokens.tolist(), one.score) for one in each] for each in outputs]

    ours, plain = found(packed(network), list(range(5))), found(network, list(range(5)))
    assert [[one[0] for one in each] for each in ours] == [[one[0] for one in each] for each in plain]
    torch.testing.assert_close(
        torch.tensor([[one[1] for one in each] for each in ours]),
        torch.tensor([[one[1] for one in each] for each in plain]),
    )
    single = packed(network.float())
    together = found(single, list(range(5)))
    assert [found(single, [place])[0] for place in range(5)] == together


@pytest.mark.parametrize("whole", [torch.uint8, torch.int32])
def test_a_packed_decoder_reads_lengths_of_any_integers(whole: torch.dtype) -> None:
    torch.manual_seed(0)
    decoder = RecurrentDecoder(7, 12, 12, attention="additive").eval()
    states = {name: torch.randn(1, 3, 12) for name in ("h", "c")}
    encoded = Encoded(torch.randn(3, 5, 12), torch.tensor([3, 5, 1], dtype=whole), states)
    x = torch.randn(3, 7)
    with torch.no_grad():
        said, mine = (each.step(x, each.begin(encoded))[0] for each in (decoder, packed(decoder)))
    torch.testing.assert_close(mine.output, said.output)
    torch.testing.assert_close(mine.attention, said.attention)


def test_shares_of_tokens_outlive_the_mode_and_the_vectors_they_were_made_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    embedding, projection = TokenEmbedding(30, 6, unknown_id=1).eval(), Projection(torch.randn(9, 6))
    with torch.inference_mode(), torch.device("meta"):
        kept = TokenShares(embedding, 2.0, projection)
        kept.of(torch.tensor([1, 2], device="cpu"))
    monkeypatch.setattr("storyline.layers.token_shares._LARGEST_TABLE_BYTES", 0)
    passing = TokenShares(embedding, 2.0, projection)
    tokens = torch.tensor([2, 3, 29])
    with torch.no_grad():
        wanted = 2 * embedding(tokens) @ projection_weight(projection)
        embedding.embedding.weight.mul_(-1.5)
        for shares in (kept, passing):
            table, rows = shares.of(tokens)
            torch.testing.assert_close(table[rows], wanted)
            for foreign in (-1, 30):
                with pytest.raises(IndexError, match=f"from 2 to {foreign}|from {foreign} to 2; .* 0 to 29"):
                    shares.of(torch.tensor([2, foreign]))


def test_a_vocabulary_too_large_for_a_table_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    embedding, projection = TokenEmbedding(30, 6, unknown_id=1).eval(), Projection(torch.randn(9, 6))
    kept = TokenShares(embedding, 2.0, projection)
    monkeypatch.setattr("storyline.layers.token_shares._LARGEST_TABLE_BYTES", 30 * 9 * 4 - 1)
    passing = TokenShares(embedding, 2.0, projection)
    with torch.no_grad():
        for tokens in (torch.tensor([3, 29, 3, 0]), torch.tensor([29, 4])):
            (table, rows), (own, places) = kept.of(tokens), passing.of(tokens)
            assert torch.equal(table[rows], own[places])
            torch.testing.assert_close(own[places], 2 * embedding(tokens) @ projection_weight(projection))
            assert len(table) == 30 > len(own)


def projection_weight(projection: Projection) -> torch.Tensor:
    return projection(torch.eye(projection.depth))
