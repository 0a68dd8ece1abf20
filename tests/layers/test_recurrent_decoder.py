"""The recurrent decoder: against the papers, step by step on torch.nn's cells; whole = step by step; ragged = alone."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from storyline.layers.attentions import ATTENTIONS
from storyline.layers.copying import coverage
from storyline.layers.decoding import DecodingState, Encoded
from storyline.layers.recurrent_core import CORES
from storyline.layers.recurrent_decoder import RecurrentDecoder
from storyline.layers.recurrent_encoder import RecurrentEncoder

INPUT, HIDDEN, TIME = 3, 8, 4
LENGTHS = torch.tensor([5, 2, 3])
TARGETS = torch.tensor([4, 3, 1])

FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "gnmt": {"num_layers": 3, "gnmt": True},
    "feeding": {"num_layers": 2, "input_feeding": True},
    "thought": {"num_layers": 2, "feed_thought": True},
}
forms = pytest.mark.parametrize("form", list(FORMS))


def build(core: str = "lstm", **more: Any) -> tuple[RecurrentEncoder, RecurrentDecoder]:
    torch.manual_seed(6)
    layers, gnmt = more.get("num_layers", 1), more.get("gnmt", False)
    encoder = RecurrentEncoder(INPUT, HIDDEN, core=core, num_layers=layers, gnmt=gnmt, bidirectional=False)
    decoder = RecurrentDecoder(INPUT, encoder.output_size, HIDDEN, core=core, **more)
    return encoder.double().eval(), decoder.double().eval()


def draw() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(8)
    source = torch.randn(3, 5, INPUT, generator=generator, dtype=torch.float64)
    return source, torch.randn(3, TIME, INPUT, generator=generator, dtype=torch.float64)


def lstm_cells(decoder: RecurrentDecoder) -> list[nn.LSTMCell]:
    cells = []
    for core in decoder.cores:
        cell = nn.LSTMCell(core.layer.input_size, HIDDEN).double()
        cell.load_state_dict(
            {name.removesuffix("_l0"): value for name, value in core.layer.state_dict().items()}
        )
        cells.append(cell)
    return cells


@pytest.mark.parametrize("feeding", [False, True])
def test_is_the_papers_equations(feeding: bool) -> None:
    """Three layers with general attention, a sentence at a time: Wu et al. 2016 and Luong et al. 2015, eq. 5 and 8."""
    encoder, decoder = build(num_layers=3, gnmt=True, attention="general", input_feeding=feeding)
    source, target = draw()
    encoded = encoder(source, LENGTHS)
    decoded = decoder(target, encoded)
    cells, first, combine = lstm_cells(decoder), decoder.bridge(encoded), decoder.combine
    for row, length in enumerate(LENGTHS.tolist()):
        H = encoded.output[row, :length]
        states = [(first["h"][layer, row], first["c"][layer, row]) for layer in range(3)]
        vector = torch.zeros(HIDDEN, dtype=torch.float64)

        def attend(asked: Tensor, H: Tensor = H) -> tuple[Tensor, Tensor]:
            weights = torch.softmax(H @ decoder.attention.of_source.weight.T @ asked, dim=0)
            return weights @ H, weights

        for time in range(TIME):
            x = torch.cat([target[row, time], vector]) if feeding else target[row, time]
            below = x
            for layer, cell in enumerate(cells):
                states[layer] = cell(x, states[layer])
                read = states[layer][0] + below if layer == 2 else states[layer][0]
                if layer == (2 if feeding else 0):
                    context, weights = attend(read)
                below = read
                x = below if feeding else torch.cat([below, context])
            vector = combine(torch.cat([below, context]))
            if feeding:
                vector = torch.tanh(vector)
            torch.testing.assert_close(decoded.output[row, time], vector)
            torch.testing.assert_close(decoded.attention[row, time, :length], weights)


def test_feed_thought_reads_the_thought_vector_beside_every_token() -> None:
    encoder, decoder = build(feed_thought=True)
    source, target = draw()
    encoded = encoder(source, LENGTHS)
    (cell,), first = lstm_cells(decoder), decoder.bridge(encoded)
    state = first["h"][0], first["c"][0]
    for time in range(TIME):
        state = cell(torch.cat([target[:, time], encoded.states["h"][-1]], dim=-1), state)
        torch.testing.assert_close(decoder(target, encoded).output[:, time], state[0])


def assert_steps_are_the_whole(decoder: RecurrentDecoder, encoded: Encoded, target: Tensor) -> None:
    """With three hypotheses a sentence: the whole target, the target backwards, the whole target."""
    backwards = target.flip(1)
    wanted, other = decoder(target, encoded), decoder(backwards, encoded)
    state = decoder.begin(encoded).select(torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2]))
    for time in range(TIME):
        tokens = torch.stack([target[:, time], backwards[:, time], target[:, time]], dim=1).flatten(0, 1)
        decoded, state = decoder.step(tokens, state)
        for place, whole in enumerate((wanted, other, wanted)):
            torch.testing.assert_close(decoded.output[place::3], whole.output[:, time], rtol=0, atol=1e-12)
            if whole.attention is not None:
                assert decoded.attention is not None
                torch.testing.assert_close(
                    decoded.attention[place::3], whole.attention[:, time], rtol=0, atol=1e-12
                )
    assert (wanted.attention is None) == (decoder.attention is None)


@forms
@pytest.mark.parametrize("core", list(CORES))
def test_steps_are_the_whole_for_every_core(core: str, form: str) -> None:
    encoder, decoder = build(core, attention="additive", **FORMS[form])
    source, target = draw()
    assert_steps_are_the_whole(decoder, encoder(source, LENGTHS), target)


@pytest.mark.parametrize(
    ("attention", "form"),
    # Without attention there is nothing to feed.
    [pair for pair in product([None, *ATTENTIONS], FORMS) if pair != (None, "feeding")],
)
def test_steps_are_the_whole_for_every_attention(attention: str | None, form: str) -> None:
    encoder, decoder = build(attention=attention, **FORMS[form])
    source, target = draw()
    assert_steps_are_the_whole(decoder, encoder(source, LENGTHS), target)


def test_coverage_attention_sees_what_was_taken_before() -> None:
    encoder, decoder = build(attention="coverage")
    source, target = draw()
    encoded = encoder(source, LENGTHS)
    decoded = decoder(target, encoded)
    first = {name: state[:1] for name, state in decoder.bridge(encoded).items()}
    query, _ = decoder.cores[0](target, first)
    told = {**decoder.attention.prepare(encoded), "coverage": coverage(decoded.attention)}
    torch.testing.assert_close(decoder.attention(query, told)[1], decoded.attention)
    assert not torch.allclose(
        decoder.attention(query, decoder.attention.prepare(encoded))[1], decoded.attention
    )


def test_sentences_may_leave_between_steps() -> None:
    encoder, decoder = build(attention="local")
    source, target = draw()
    encoded = encoder(source, LENGTHS)
    _, state = decoder.step(target[:, 0], decoder.begin(encoded))
    kept = state.select(torch.tensor([2, 2, 0, 0]), torch.tensor([2, 0]))
    decoded, after = decoder.step(target[:, 1][[2, 2, 0, 0]], kept)
    torch.testing.assert_close(decoded.output, decoder(target, encoded).output[[2, 2, 0, 0], 1])
    assert isinstance(after, DecodingState)


@forms
def test_a_pair_gives_what_it_gives_alone(form: str) -> None:
    """With gradients, and with NaN in the padding of the targets."""
    encoder, decoder = build(attention="additive", **FORMS[form])
    source, target = draw()
    beyond = torch.arange(TIME) >= TARGETS.unsqueeze(1)
    by = torch.randn(3, TIME, HIDDEN, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    parameters = [*encoder.parameters(), *decoder.parameters()]

    together = decoder(target.masked_fill(beyond.unsqueeze(-1), torch.nan), encoder(source, LENGTHS), TARGETS)
    gradients = torch.autograd.grad((together.output * by)[~beyond].sum(), parameters)
    alone: list[Tensor] = [torch.zeros_like(each) for each in parameters]
    for row, (length, tokens) in enumerate(zip(LENGTHS.tolist(), TARGETS.tolist(), strict=True)):
        encoded = encoder(source[row : row + 1, :length], LENGTHS[row : row + 1])
        decoded = decoder(target[row : row + 1, :tokens], encoded)
        torch.testing.assert_close(decoded.output[0], together.output[row, :tokens], rtol=0, atol=1e-12)
        score = (decoded.output[0] * by[row, :tokens]).sum()
        alone = [a + b for a, b in zip(alone, torch.autograd.grad(score, parameters), strict=True)]
    torch.testing.assert_close(list(gradients), alone, rtol=0, atol=1e-11)


def test_weight_dropout_draws_one_mask_a_target() -> None:
    """In a loop over time too: the output is that of a decoder which has the drawn weights as its own."""
    _, decoder = build(attention="additive", input_feeding=True, weight_dropout=0.5)
    encoder, _ = build()
    source, target = draw()
    encoded = encoder(source, LENGTHS)
    decoder.train()
    torch.manual_seed(1)
    output = decoder(target, encoded).output
    torch.manual_seed(1)
    (drawn,) = decoder.cores[0].dropped_weights().values()
    with torch.no_grad():
        decoder.cores[0].layer.weight_hh_l0.copy_(drawn)
    torch.testing.assert_close(decoder.eval()(target, encoded).output, output)


def test_dropout_between_layers_is_in_training_only() -> None:
    encoder, decoder = build(num_layers=2, attention="dot", dropout=0.5)
    source, target = draw()
    encoded = encoder(source, LENGTHS)
    still = decoder(target, encoded).output
    decoder.train()
    assert not torch.allclose(decoder(target, encoded).output, still)


def test_need_weights_false_gives_the_same_output() -> None:
    encoder, decoder = build(attention="multihead")
    source, target = draw()
    encoded = encoder(source, LENGTHS)
    wanted = decoder(target, encoded)
    decoder.need_weights = False
    decoded = decoder(target, encoded)
    assert decoded.attention is None
    torch.testing.assert_close(decoded.output, wanted.output)


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match="attention is 'self'; it must be one of"):
        build(attention="self")
    with pytest.raises(ValueError, match=r"input_feeding=True .* attention is None; name an attention"):
        build(input_feeding=True)
    with pytest.raises(ValueError, match="take weight_dropout"):
        build(attention="dot", input_feeding=True, recurrent_dropout=0.1)
    with pytest.raises(ValueError, match="num_layers is 0"):
        RecurrentDecoder(3, 8, 8, num_layers=0)
    encoder, decoder = build(attention="dot", weight_dropout=0.2)
    source, target = draw()
    encoded = encoder(source, LENGTHS)
    with pytest.raises(ValueError, match=r"\(2, 4, 3\); it must be .* = \(3, time, 3\)"):
        decoder(target[:2], encoded)
    state = decoder.begin(encoded)
    with pytest.raises(ValueError, match=r"embedded has shape \(2, 3\); .* = \(3, 3\)"):
        decoder.step(target[:2, 0], state)
    with pytest.raises(ValueError, match="4 hypotheses and 3 sentences"):
        decoder.step(target[[0, 1, 2, 2], 0], state.select(torch.tensor([0, 1, 2, 2])))
    decoder.train()
    with pytest.raises(ValueError, match="one mask for a whole target"):
        decoder.step(target[:, 0], state)
    with pytest.raises(ValueError, match="set it to False"):
        build(feed_thought=True)[1](target, Encoded(encoded.output, LENGTHS))
