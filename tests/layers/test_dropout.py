"""One mask a sequence."""

from __future__ import annotations

import pytest
import torch

from storyline.layers import LSTM, LockedDropout, WeightDropout


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


def test_weight_dropout_is_the_layer_with_some_weights_zero() -> None:
    layer = LSTM(3, 16, 2, bidirectional=True)
    dropped = WeightDropout(layer, 0.5)
    input = torch.randn(6, 2, 3)
    before = {name: value.clone() for name, value in layer.named_parameters()}
    torch.manual_seed(1)
    output, _ = dropped(input, lengths=[6, 3])
    assert not torch.allclose(output, layer(input, lengths=[6, 3])[0])
    output.sum().backward()
    for name, value in layer.named_parameters():
        assert torch.equal(value, before[name])
        assert value.grad is not None
        if name.startswith("weight_hh"):
            # A dropped weight is one that the loss does not see.
            assert (value.grad == 0).float().mean().item() == pytest.approx(0.5, abs=0.07)
    assert torch.equal(dropped.eval()(input)[0], layer(input)[0])
    assert list(dropped.state_dict()) == [f"layer.{name}" for name in layer.state_dict()]


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_not_a_probability(p: float) -> None:
    for build in (LockedDropout, lambda p: WeightDropout(LSTM(2, 2), p)):
        with pytest.raises(ValueError, match=f"p is {p}; it must be a probability below 1"):
            build(p)
