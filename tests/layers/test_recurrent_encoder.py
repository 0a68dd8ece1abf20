"""The recurrent encoder and its stack, against torch.nn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from storyline.layers import GRU
from storyline.layers.recurrent_core import CORES, RecurrentCore
from storyline.layers.recurrent_encoder import RecurrentEncoder

INPUT, HIDDEN = 5, 8
LENGTHS = torch.tensor([4, 6, 1])


def build(**more: Any) -> RecurrentEncoder:
    torch.manual_seed(2)
    return RecurrentEncoder(INPUT, HIDDEN, **more).double().eval()


def sources() -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(3, 6, INPUT, generator=generator, dtype=torch.float64)


def test_output_and_states_are_those_of_torch() -> None:
    encoder, embedded = build(num_layers=2), sources()
    layer = nn.LSTM(INPUT, HIDDEN, 2, batch_first=True, bidirectional=True).double()
    layer.load_state_dict(encoder.cores[0].layer.state_dict())
    packed, (h, c) = layer(pack_padded_sequence(embedded, LENGTHS, batch_first=True, enforce_sorted=False))
    wanted, _ = pad_packed_sequence(packed, batch_first=True)

    encoded = encoder(embedded, LENGTHS)
    torch.testing.assert_close(encoded.output, wanted)
    assert encoder.output_size == 2 * HIDDEN
    for name, both in {"h": h, "c": c}.items():
        for number in range(2):
            side_by_side = torch.cat([both[2 * number], both[2 * number + 1]], dim=-1)
            torch.testing.assert_close(encoded.states[name][number], side_by_side)
    assert encoded.padding().tolist() == [[False] * 4 + [True] * 2, [False] * 6, [False] + [True] * 5]


def test_gnmt_is_the_stack_of_the_paper() -> None:
    """Bidirectional, one way, then twice one way with what it read added."""
    encoder, embedded = build(num_layers=4, gnmt=True), sources()
    for row, length in enumerate(LENGTHS.tolist()):
        below, last = embedded[row : row + 1, :length], []
        for number, core in enumerate(encoder.cores):
            first = number == 0
            size = HIDDEN // 2 if first else HIDDEN
            layer = nn.LSTM(below.shape[-1], size, batch_first=True, bidirectional=first).double()
            layer.load_state_dict(core.layer.state_dict())
            output, (h, _) = layer(below)
            last.append(h.transpose(0, 1).flatten(1))
            below = below + output if number > 1 else output
        encoded = encoder(embedded, LENGTHS)
        torch.testing.assert_close(encoded.output[row, :length], below[0])
        torch.testing.assert_close(encoded.states["h"][:, row : row + 1], torch.stack(last))
    assert encoder.output_size == HIDDEN


@pytest.mark.parametrize("core", list(CORES))
@pytest.mark.parametrize("gnmt", [False, True])
def test_a_row_gives_what_it_gives_alone(core: str, gnmt: bool) -> None:
    encoder, embedded = build(core=core, num_layers=3, gnmt=gnmt), sources()
    hidden = torch.arange(6) >= LENGTHS.unsqueeze(1)
    encoded = encoder(embedded.masked_fill(hidden.unsqueeze(-1), torch.nan), LENGTHS)
    assert set(encoded.states) == set(encoder.cores[0].states)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = encoder(embedded[row : row + 1, :length], LENGTHS[row : row + 1])
        torch.testing.assert_close(alone.output[0], encoded.output[row, :length], rtol=0, atol=1e-12)
        for name, state in alone.states.items():
            torch.testing.assert_close(state[:, 0], encoded.states[name][:, row], rtol=0, atol=1e-12)
        assert (encoded.output[row, length:] == 0).all()


def test_weight_dropout_hides_the_same_weights_at_all_steps() -> None:
    """A call equals the layer whose recurrent weights are the ones that were drawn; another call draws others."""
    torch.manual_seed(0)
    core = RecurrentCore(GRU, INPUT, HIDDEN, weight_dropout=0.5).double()
    embedded = sources()
    torch.manual_seed(7)
    output, _ = core(embedded)
    torch.manual_seed(7)
    (drawn,) = core.dropped_weights().values()
    weight = core.layer.weight_hh_l0
    assert 0.2 < float((drawn == 0).double().mean()) < 0.8
    torch.testing.assert_close(drawn[drawn != 0], 2 * weight[drawn != 0])
    plain = nn.GRU(INPUT, HIDDEN, batch_first=True).double()
    plain.load_state_dict({**core.layer.state_dict(), "weight_hh_l0": drawn})
    torch.testing.assert_close(output, plain(embedded)[0])

    output.sum().backward()
    assert (weight.grad[drawn == 0] == 0).all()
    assert not torch.equal(core(embedded)[0], output)
    core.eval()
    torch.testing.assert_close(core(embedded)[0], core.layer(embedded)[0])


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match="core is 'lstn'; it must be one of 'lstm', 'gru', 'rnn', 'slstm'"):
        build(core="lstn")
    with pytest.raises(ValueError, match="num_layers is 1 and must be 2 or more"):
        build(gnmt=True)
    with pytest.raises(ValueError, match=r"weight_dropout is 1\.0; it must be a probability below 1"):
        build(weight_dropout=1.0)
    with pytest.raises(ValueError, match=r"lengths\[1\] is 9, but input has only 6 steps"):
        build()(sources(), torch.tensor([1, 9, 2]))
