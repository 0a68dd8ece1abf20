"""The bridge from an encoder's states to a decoder's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from storyline.layers.bridge import Bridge
from storyline.layers.decoding import Encoded


def encoded(layers: int = 2, size: int = 6, names: str = "hc") -> Encoded:
    generator = torch.Generator().manual_seed(1)
    states = {name: torch.randn(layers, 3, size, generator=generator, dtype=torch.float64) for name in names}
    return Encoded(torch.zeros(3, 4, size, dtype=torch.float64), torch.tensor([4, 2, 1]), states)


@pytest.mark.parametrize("layers", [2, 1])
def test_learned_is_tanh_of_a_map_of_its_own_for_each_layer_and_state(layers: int) -> None:
    """Layer by layer; where there are more or fewer layers, all of the last one."""
    source = encoded(layers=3 if layers == 1 else 2)
    bridge = Bridge(6, 4, 2, ("h", "c")).double()
    state = bridge(source)
    for name in ("h", "c"):
        for layer in range(2):
            s = source.states[name][layer if layers == 2 else -1].numpy()
            wanted = np.tanh(s @ bridge.weights[name][layer].detach().numpy())
            np.testing.assert_allclose(state[name][layer].detach(), wanted, rtol=1e-12)


def test_a_state_that_the_encoder_lacks_is_made_of_h() -> None:
    source = encoded(names="h")
    bridge = Bridge(6, 4, 2, ("h", "c", "n"), constant={"n": 1.0}).double()
    state = bridge(source)
    torch.testing.assert_close(state["c"], torch.tanh(source.states["h"] @ bridge.weights["c"]))
    assert (state["n"] == 1).all()
    assert "n" not in bridge.weights


def test_copy_and_zero() -> None:
    source = encoded()
    copied = Bridge(6, 6, 2, ("h", "c"), kind="copy")(source)
    assert all(torch.equal(copied[name], source.states[name]) for name in ("h", "c"))
    empty = Bridge(6, 4, 3, ("h",), kind="zero")(source)
    assert torch.equal(empty["h"], torch.zeros(3, 3, 4, dtype=torch.float64))


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match="bridge is 'none'; it must be one of 'learned', 'copy', 'zero'"):
        Bridge(6, 4, 2, ("h",), kind="none")
    with pytest.raises(ValueError, match="have 6 channels and the decoder's 4; make them equal"):
        Bridge(6, 4, 2, ("h",), kind="copy")
    with pytest.raises(ValueError, match="the encoder has 2 layers and the decoder 1"):
        Bridge(6, 6, 1, ("h",), kind="copy")(encoded())
    with pytest.raises(ValueError, match="needs the encoder's state 'c', but it has 'h'"):
        Bridge(6, 6, 2, ("h", "c"), kind="copy")(encoded(names="h"))
    with pytest.raises(ValueError, match="but it has none; take bridge='zero'"):
        Bridge(6, 4, 2, ("h",))(encoded(names=""))
    with pytest.raises(ValueError, match="'h' has 6 channels; this bridge reads source_size=5"):
        Bridge(5, 4, 2, ("h",))(encoded())
