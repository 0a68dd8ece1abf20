"""One mask a sequence; and one that costs little."""

from __future__ import annotations

import pytest
import torch

from storyline.layers import LockedDropout
from storyline.layers.dropout import dropout


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


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_cheap_dropout_drops_each_element_by_itself(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(300, 1001, dtype=torch.float64, requires_grad=True)
    output = dropout(x, p, training=True)
    dropped = output == 0
    assert output[~dropped].unique().item() == pytest.approx(1 / (1 - p), rel=1e-4)
    # five standard deviations, of the share and of the share of neighbours that are dropped both
    count, sd = x.numel(), (p * (1 - p)) ** 0.5
    assert dropped.double().mean().item() == pytest.approx(p, abs=5 * sd / count**0.5)
    for ago in (1, 2, 3, 4, 8):
        flat = dropped.flatten().double() - p
        assert abs(float((flat[ago:] * flat[:-ago]).mean())) < 5 * sd**2 / count**0.5
    output.sum().backward()
    assert torch.equal(x.grad, output.detach())
    torch.manual_seed(0)
    assert torch.equal(dropout(x, p, training=True), output)
    assert not torch.equal(dropout(x, p, training=True), output)
    assert dropout(x, p, training=False) is x
