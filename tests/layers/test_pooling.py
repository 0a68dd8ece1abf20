"""Pooling over ragged rows, against each row pooled alone."""

from __future__ import annotations

import pytest
import torch

from storyline.layers import LSTM, pool

LENGTHS = torch.tensor([5, 1, 3])


def ragged_states(size: int = 4) -> torch.Tensor:
    """(3, 5, size), negative everywhere, so that a padding of 0 would win a maximum; NaN in the padding."""
    states = -torch.rand(3, 5, size, dtype=torch.float64) - 1
    for row, length in enumerate(LENGTHS):
        states[row, length:] = torch.nan
    return states.requires_grad_()


@pytest.mark.parametrize(
    ("how", "alone"),
    [("last", lambda s: s[-1]), ("max", lambda s: s.max(0).values), ("mean", lambda s: s.mean(0))],
)
def test_each_row_alone(how: str, alone) -> None:
    states = ragged_states()
    pooled = pool(states, LENGTHS, how)
    expected = torch.stack([alone(states[row, :length]) for row, length in enumerate(LENGTHS)])
    torch.testing.assert_close(pooled, expected, rtol=0, atol=1e-15)
    weigh = torch.randn_like(pooled)
    (mine,) = torch.autograd.grad((pooled * weigh).sum(), states)
    (theirs,) = torch.autograd.grad((expected * weigh).sum(), states)
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-15)


def test_last_of_a_bidirectional_layer_is_its_last_state() -> None:
    layer = LSTM(2, 3, batch_first=True, bidirectional=True)
    states, (h_n, _) = layer(torch.randn(3, 5, 2), lengths=LENGTHS)
    pooled = pool(states, LENGTHS, "last", bidirectional=True)
    torch.testing.assert_close(pooled, torch.cat([h_n[0], h_n[1]], dim=1))


def test_no_such_pooling() -> None:
    with pytest.raises(ValueError, match="how is 'min'; it must be one of 'last', 'max', 'mean'"):
        pool(ragged_states(), LENGTHS, "min")  # type: ignore[arg-type]
