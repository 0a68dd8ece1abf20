"""Every state and gate of a forward pass."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


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
