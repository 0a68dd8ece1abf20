"""A packed encoder reads tokens as the encoder reads their vectors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from storyline.cells import CELLS
from storyline.kernels import PackedStep, Projection, native
from storyline.layers import GRU, LSTM, SLSTM, CellStack, TokenEmbedding, packed
from storyline.layers.decoding import Encoded
from storyline.layers.packed_encoder import PackedRecurrentEncoder
from storyline.layers.recurrent_encoder import RecurrentEncoder

pytestmark = pytest.mark.skipif(native.missing is not None, reason=str(native.missing))

LAYERS = {
    **{name: lambda name=name: CellStack(CELLS[name], 10, 12, bidirectional=True) for name in native.cells()},
    "projected lstm": lambda: LSTM(10, 12, proj_size=5, bidirectional=True),
    "without bias": lambda: GRU(10, 12, bias=False, bidirectional=True),
    "four heads": lambda: SLSTM(10, 12, num_heads=4, bidirectional=True),
}


def bare_steps(layer) -> list[PackedStep]:
    return [
        PackedStep(layer.cell, replace(own, weight_ih=own.weight_ih[:, :0])) for *_, own in layer._parts()
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LAYERS)
def test_whole_sequences_have_the_bits_of_the_layer(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name]().to(dtype).eval()
    vectors, words = torch.randn(9, 10, dtype=dtype), torch.randint(9, (130, 7))
    lengths = torch.randint(1, 8, (130,))
    start = layer.initial_state(130)
    start = (start,) if isinstance(start, torch.Tensor) else start
    with torch.no_grad():
        output, last = layer(vectors[words].transpose(0, 1), lengths=lengths)
        for index, (step, (*_, own)) in enumerate(zip(bare_steps(layer), layer._parts(), strict=True)):
            table, size = Projection(own.weight_ih)(vectors), output.shape[2] // 2
            state = tuple(each[index] for each in start)
            for threads in (1, 3):
                wide = torch.full((130, 7, 2 * size + 3), torch.nan, dtype=dtype)
                before = torch.get_num_threads()
                torch.set_num_threads(threads)
                mine = step.sentences(
                    table, words, state, lengths, wide[..., 1 : 1 + size], reverse=index == 1
                )
                torch.set_num_threads(before)
                wanted = output.transpose(0, 1)[..., index * size : (index + 1) * size]
                assert torch.equal(wide[..., 1 : 1 + size], wanted)
                assert wide[..., :1].isnan().all()
                assert wide[..., 1 + size :].isnan().all()
                for a, b in zip(mine, (last,) if isinstance(last, torch.Tensor) else last, strict=True):
                    assert torch.equal(a, b[index])


def test_what_does_not_fit_is_told() -> None:
    layer = LSTM(10, 12)
    (step,) = bare_steps(layer)
    table, words, lengths = torch.randn(4, 48), torch.zeros(3, 5, dtype=torch.int64), torch.tensor([5, 2, 1])
    state, output = (torch.zeros(3, 12), torch.zeros(3, 12)), torch.empty(3, 5, 12)
    full = PackedStep(layer.cell, next(layer._parts())[3])
    for call, message in [
        (lambda: step.sentences(table[:, 1:], words, state, lengths, output), "shapes"),
        (lambda: step.sentences(table, words, state, lengths[:2], output), "shapes"),
        (lambda: step.sentences(table, words, state, lengths, output[:, 1:]), "shapes"),
        (lambda: full.sentences(table, words, state, lengths, output), "reads 10 numbers"),
        (lambda: step.sentences(table, words.int(), state, lengths, output), "int64"),
        (lambda: step.sentences(table.double(), words, state, lengths, output), "float32"),
        (lambda: step.sentences(table, words + 4, state, lengths, output), r"more_rows\[0\] is 4; .* 0 to 3"),
        (lambda: step.sentences(table, words, state, lengths + 1, output), r"lengths\[0\] is 6; .* 1 to 5"),
        (lambda: step.sentences(table, words, state, lengths - 1, output), r"lengths\[2\] is 0"),
        (lambda: step.sentences(table.requires_grad_(), words, state, lengths, output), "gradient"),
        (lambda: step.sentences(table.detach(), words, state, lengths, torch.empty(3, 12, 5).mT), "dense"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


KINDS = {
    "bidirectional": {"num_layers": 2},
    "one way": {"num_layers": 2, "bidirectional": False},
    "gnmt": {"num_layers": 3, "gnmt": True},
    "gru": {"core": "gru"},
    "rnn": {"core": "rnn"},
    "slstm": {"core": "slstm", "num_layers": 2},
}


def as_parts(encoded: Encoded) -> list[torch.Tensor]:
    return [encoded.output, encoded.lengths, *encoded.states.values()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", KINDS)
def test_tokens_are_read_as_their_vectors_are(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    encoder = RecurrentEncoder(20, 16, dropout=0.3, **KINDS[name]).to(dtype).eval()
    embedding = TokenEmbedding(30, 20, unknown_id=1).to(dtype).eval()
    ours, ids = packed(encoder), torch.randint(30, (7, 9))
    assert isinstance(ours, PackedRecurrentEncoder)
    with torch.no_grad():
        for lengths in (torch.tensor([3, 9, 1, 5, 9, 2, 4]), torch.full((7,), 9)):
            plain = encoder(3 * embedding(ids), lengths)
            for _ in range(2):  # the second time all shares are known
                mine = ours.read(ids, embedding, 3.0, lengths)
                for a, b in zip(as_parts(mine), as_parts(plain), strict=True):
                    assert torch.equal(a, b)
                assert list(mine.states) == list(plain.states)
        assert torch.equal(ours(3 * embedding(ids), lengths).output, plain.output)
        # Other vectors, and another scale, are not taken for those that were read.
        assert not torch.equal(ours.read(ids, embedding, 1.0, lengths).output, plain.output)
        assert torch.equal(ours.read(ids.int(), embedding, 3.0, lengths).output, plain.output)
    with pytest.raises(ValueError, match="a gradient is asked for"):
        ours.read(ids, embedding, 3.0, lengths)
    # Its weights are those of the encoder, once.
    assert [name.removeprefix("encoder.") for name in ours.state_dict()] == list(encoder.state_dict())


def test_an_encoder_that_is_watched_or_has_a_layer_of_another_kind_stays_as_it_is() -> None:
    watched, plain = RecurrentEncoder(6, 4).eval(), RecurrentEncoder(6, 4).eval()
    handle = watched.register_forward_hook(lambda *_: None)
    assert not isinstance(packed(watched), PackedRecurrentEncoder)
    assert not isinstance(packed(plain, encoders=False), PackedRecurrentEncoder)
    handle.remove()
    assert isinstance(packed(watched), PackedRecurrentEncoder)


def test_long_vectors_are_added_in_another_order() -> None:
    torch.manual_seed(0)
    encoder = RecurrentEncoder(300, 24).eval()
    embedding, ids = TokenEmbedding(40, 300, unknown_id=1).eval(), torch.randint(40, (5, 12))
    lengths = torch.tensor([12, 4, 7, 1, 12])
    ours = packed(encoder)
    with torch.no_grad():
        plain, mine = encoder(embedding(ids), lengths), ours.read(ids, embedding, 1.0, lengths)
        alone = ours.read(ids[1:2, :4], embedding, 1.0, lengths[1:2])
        assert torch.equal(alone.output[0], mine.output[1, :4])
        true = encoder.double()(embedding.double()(ids), lengths)
    for a, b, c in zip(as_parts(mine), as_parts(plain), as_parts(true), strict=True):
        assert (a - c).abs().max() <= 4 * (b - c).abs().max() + 1e-7


def test_sources_that_do_not_fit_are_told() -> None:
    ours, embedding = packed(RecurrentEncoder(6, 4).eval()), TokenEmbedding(9, 6, unknown_id=1).eval()
    ids, lengths = torch.tensor([[1, 2], [3, 0]]), torch.tensor([2, 1])
    for call, error, message in [
        (lambda: ours.read(ids[0], embedding, 1.0, lengths), ValueError, r"\(batch, source\)"),
        (lambda: ours.read(ids, embedding, 1.0, lengths + 1), ValueError, r"lengths\[0\] is 3"),
        (lambda: ours.read(ids + 7, embedding, 1.0, lengths), IndexError, "0 to 8"),
    ]:
        with torch.no_grad(), pytest.raises(error, match=message):
            call()
