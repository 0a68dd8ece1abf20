"""The decoder-only Transformer: torch.nn's numbers, and the laws that a layer with a state owes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from storyline.layers import LSTM, Transformer, transformer
from storyline.layers.transformer_positions import Turns, sinusoids

EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-12}
KINDS = ("sinusoidal", "learned", "rotary")


def made(input_size: int = 6, num_layers: int = 2, **more: Any) -> Transformer:
    torch.manual_seed(3)
    layer = Transformer(input_size, 8, num_layers, batch_first=True, num_heads=2, feedforward_size=12, **more)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return layer.double()


def texts(rows: int, steps: int, size: int = 6) -> Tensor:
    return torch.randn(rows, steps, size, dtype=torch.float64)


@pytest.mark.parametrize("window", [None, 3])
def test_it_is_torchs_encoder_under_a_causal_mask(window: int | None) -> None:
    ours = made(8, window=window)
    layer = nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True, norm_first=True)
    theirs = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(8), enable_nested_tensor=False).double()
    theirs.load_state_dict(ours.state_dict())
    x, weights, steps = texts(3, 7, 8), texts(3, 7, 8), torch.arange(7)
    ago = steps[:, None] - steps
    unseen = (ago < 0) | (ago >= (window or 7))
    wanted = theirs(x * 8**0.5 + sinusoids(steps, 8), mask=unseen)
    output, _ = ours(x)
    torch.testing.assert_close(output, wanted, **EXACT)
    (output * weights).sum().backward()
    (wanted * weights).sum().backward()
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, **EXACT, msg=name)


def test_positions_are_the_papers() -> None:
    for p, i in [(0, 0), (3, 4), (1_000_000, 2)]:
        row = sinusoids(torch.tensor([p]), 8)[0]
        assert row[i].item() == pytest.approx(np.sin(p / 10_000 ** (i / 8)), abs=1e-9)
        assert row[i + 1].item() == pytest.approx(np.cos(p / 10_000 ** (i / 8)), abs=1e-9)
    # Su et al. 2021, section 3.2.1: a pair of channels is a complex number, turned by p times its frequency
    x = np.random.default_rng(0).standard_normal((1, 5, 1, 6))
    positions = np.array([0, 1, 2, 7, 400])
    turned = (x[..., :3] + 1j * x[..., 3:]) * np.exp(
        1j * positions[:, None, None] / 10_000 ** (np.arange(3) / 3)
    )
    given = torch.from_numpy(x)
    ours = Turns.of(torch.from_numpy(positions), 6, given).turn(given)
    np.testing.assert_allclose(
        ours.numpy(), np.concatenate([turned.real, turned.imag], -1), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("positions", KINDS)
@pytest.mark.parametrize("window", [None, 1, 4])
def test_steps_and_chunks_are_the_whole(
    positions: Any, window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformer, "_BLOCK", 3)
    layer, x = made(positions=positions, window=window), texts(2, 11)
    whole, last = layer(x)
    for cuts in ([1] * 11, [5, 1, 5], [1, 8, 2]):
        state, outputs = None, []
        for part in x.split(cuts, 1):
            output, state = layer(part, state)
            outputs.append(output)
        torch.testing.assert_close(torch.cat(outputs, 1), whole, **EXACT)
        torch.testing.assert_close(state, last, **EXACT)
        assert all(each.shape[3] == (11 if window is None else window - 1) for each in state[1:])
    state = layer.initial_state(2)
    for t in range(11):
        output, state = layer.step(x[:, t], state)
        torch.testing.assert_close(output, whole[:, t], **EXACT)


@pytest.mark.parametrize("positions", KINDS)
@pytest.mark.parametrize("window", [None, 3])
def test_ragged_chunks_are_each_row_alone(positions: Any, window: int | None) -> None:
    """A row's text does not depend on how much the others have read; gradients through the state included."""
    layer, x = made(positions=positions, window=window), texts(3, 9)
    chunks = [torch.tensor([4, 1, 2]), torch.tensor([1, 3, 2]), torch.tensor([2, 2, 1])]
    for row in range(3):
        x.requires_grad_(True).grad = None
        state, at, outputs = None, [0, 0, 0], []
        for lengths in chunks:
            part = x.new_full((3, int(lengths.max()), 6), torch.nan)
            for each, n in enumerate(lengths.tolist()):
                part = part.index_put((torch.tensor(each), torch.arange(n)), x[each, at[each] : at[each] + n])
                at[each] += n
            output, state = layer(part, state, lengths=lengths)
            outputs.append(output[row, : lengths[row]])
            assert not output[row, lengths[row] :].any()
        alone = x.detach()[row, : at[row]].clone().requires_grad_(True)
        wanted, last = layer(alone)
        torch.testing.assert_close(torch.cat(outputs), wanted, **EXACT)
        assert state[0].tolist() == [at]
        kept = last[2].shape[2]
        torch.testing.assert_close(state[2][:, row, :, state[2].shape[3] - kept :], last[2], **EXACT)
        chosen, _ = layer(x[:1, :2], tuple(each[:, row : row + 1] for each in state))
        torch.testing.assert_close(chosen[0], layer(x[0, :2], last)[0], **EXACT)
        torch.cat(outputs).square().sum().backward()
        wanted.square().sum().backward()
        torch.testing.assert_close(x.grad[row, : at[row]], alone.grad, **EXACT)
        x = x.detach()


def test_it_is_called_as_the_lstm_is() -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 3, 6)
    for kind in (LSTM, Transformer):
        layer = kind(6, 8, 2, batch_first=False)
        output, state = layer(x, lengths=[5, 2, 4])
        assert output.shape == (5, 3, 8)
        assert not output[2:, 1].any()
        again, _ = layer.step(x[0], layer.initial_state(3))
        torch.testing.assert_close(again, output[0], rtol=0, atol=1e-6)
        # rows change places alike
        chosen = tuple(each[:, [2, 0]] for each in state)
        one, _ = layer.step(x[0, :2], chosen)
        other, _ = layer.step(x[0, :2].flip(0), tuple(each[:, [0, 2]] for each in state))
        torch.testing.assert_close(one, other.flip(0), rtol=0, atol=1e-6)
        alone, last = layer(x[:2, 1])
        torch.testing.assert_close(alone, output[:2, 1], rtol=0, atol=1e-6)
        following, _ = layer(x[2:, 1], last)
        assert following.shape == (3, 8)


def test_distances_alone_count_for_rotary_positions() -> None:
    """With a window, what came long ago leaves no trace, not even by its length."""
    layer, x = made(positions="rotary", window=3), texts(1, 20)
    late, _ = layer(x)
    soon, _ = layer(x[:, 10:])
    torch.testing.assert_close(late[:, 14:], soon[:, 4:], **EXACT)
    assert not torch.allclose(late[:, 13], soon[:, 3])


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: Transformer(4, 8, window=0), "window is 0"),
        (lambda: Transformer(4, 6, num_heads=2, positions="rotary"), "3 channels; rotary positions need"),
        (lambda: made()(texts(2, 3), lengths=[3, 4]), r"lengths\[1\] is 4"),
        (lambda: made().step(texts(2, 3)), "input has 3 dimensions"),
        (lambda: made()(texts(2, 3), texts(1, 1)), "the state must be `read` and a cache for each of 2"),
        (lambda: made()(texts(2, 3), made().initial_state(3)), r"read has shape \(1, 3\), not \(1, 2\)"),
        (lambda: made()(texts(2, 3), made(num_layers=1).initial_state(2)), "it is a tuple of length 2"),
    ],
)
def test_what_does_not_fit_is_refused(act: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        act()
