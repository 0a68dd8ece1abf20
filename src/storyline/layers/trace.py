"""Every state and gate of a forward pass."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from storyline.kernels import Recurrence


@dataclass(frozen=True)
class Trace:
    """Every state and gate of every layer and direction, differentiable like the output.

    Keys are the cell's own name and the layer's suffix: `c_l0`, `f_l1`, `h_l0_reverse`. Shapes are
    (time + 1, batch, size) for states and (time, batch, hidden_size) for gates; with `batch_first=True` the
    batch comes first, and unbatched input has none.

    states: slot 0 is the initial state, slot t + 1 the one after step t, held beyond the row's length. A
        reverse direction reads the other way: slot t is the state after it has read step t, and the slot at
        the row's length, with all beyond it, the initial one. At a reset the slot holds the state that the
        reset throws away.
    gates: slot t belongs to step t, in both directions; after the non-linearity; 0 beyond the row's length.
    """

    states: dict[str, Tensor]
    gates: dict[str, Tensor]


def collect_trace(parts: dict[str, Recurrence], batched: bool, batch_first: bool) -> Trace:
    """From what the backend returned for each layer and direction, by suffix; unbatched has a batch of 1."""
    states: dict[str, Tensor] = {}
    gates: dict[str, Tensor] = {}
    for suffix, part in parts.items():
        assert part.scan is not None
        for target, source in ((states, part.scan.states), (gates, part.scan.gates)):
            for name, values in source.items():
                shaped = values.transpose(0, 1) if batch_first else values
                target[name + suffix] = shaped if batched else shaped.squeeze(1)
    return Trace(states, gates)
