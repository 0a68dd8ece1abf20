"""One mask a sequence."""

from __future__ import annotations

import pytest
import torch

from storyline.layers import LockedDropout


@pytest.mark.parametrize(("batch_first", "time_dim"), [(False, 0), (True, 1)])
def test_locked_dropout_drops_the_same_channels_at_all_steps(batch_first: bool, time_dim: int) -> None:
    torch.manual_seed(0)
    dropout = LockedDropout(0.25, batch_first=batch_first)
    output = dropout(torch.ones(50, 40, 30))
    assert (output == output.narrow(time_dim, 0, 1)).all()
    mask = output.select(time_dim, 0)
    assert mask.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (mask == 0).float().mean().item() == pytest.approx(0.25, abs=0.05)
    assert not (mask == mask[0]).all()
    input = torch.randn(3, 4, 5)
    assert dropout.eval()(input) is input


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_not_a_probability(p: float) -> None:
    with pytest.raises(ValueError, match=f"p is {p}; it must be a probability below 1"):
        LockedDropout(p)
