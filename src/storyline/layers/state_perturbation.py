"""Disturb a recurrent state between two pieces of a sequence, so that what must be kept is kept for long."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from storyline.layers.recurrent import Recurrent, State

# The state that holds what is remembered, and whether the equations keep it between -1 and 1: there c (or h) is a
# mean of what tanh wrote, weighted by the gates.
_KEPT: dict[str, tuple[str, bool]] = {
    "rnn_tanh": ("h", True),
    "rnn_relu": ("h", False),
    "lstm": ("c", False),
    "lstm_peephole": ("c", False),
    "lstm_coupled": ("c", True),
    "lstm_layer_norm": ("c", False),
    "gru": ("h", True),
    "gru_layer_norm": ("h", True),
    "slstm": ("c", True),
}


@dataclass(frozen=True)
class StatePerturbation:
    """What a state suffers between two pieces of a sequence in training, in place of a sequence of great length.

    A state that is read after 25,000 steps has aged in ways that 500 steps do not show: it has shrunk, taken up noise,
    and drifted along with whatever a step adds to it on average. Each row of the batch, with probability `share`,
    suffers now what would take long (x is c, or h where there is no c; x_0 is x at the beginning of the piece; u are
    uniform on [0, 1], n is normal, all drawn anew for each; a and b are coins, 0 or 1):

        x <- x + a clip(k (x - x_0), -drift, drift)      k = drift_factor^u - 1: the drift, extrapolated
        x <- x (1 - b shrinkage u)
        x <- x + noise u n
        h <- h (1 - shrinkage u) + noise u n             where h is not x

    and x is clipped to [-1, 1] where the equations keep it there. The gradient flows through x and h as if they had
    been multiplied and added to, and not through the drift. The sLSTM holds c / n, so that is its x.

    noise         the greatest standard deviation of what is added; 0: none
    shrinkage     the greatest share that is taken away, 0 to 1
    drift         the furthest that a unit is moved along its drift; 0: none
    drift_factor  the most pieces that the drift is extrapolated by, 1 or more
    share         the probability that a row suffers anything at the end of a piece

    Noise in the state makes fixed points of what is kept (Jim, Giles and Horne 1996, "An analysis of noise in
    recurrent neural networks"); the extrapolated drift is ours. Raises ValueError where a number is out of its range.
    """

    noise: float = 0.15
    shrinkage: float = 0.3
    drift: float = 0.5
    drift_factor: float = 200.0
    share: float = 0.7

    def __post_init__(self) -> None:
        ranges = {"noise": (0, math.inf), "shrinkage": (0, 1), "drift": (0, math.inf),
                  "drift_factor": (1, math.inf), "share": (0, 1)}  # fmt: skip
        for name, (least, most) in ranges.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
                raise ValueError(f"{name} is {value!r}; it must be a number from {least} to {most}")

    def scaled(self, strength: float) -> StatePerturbation:
        """The same, with noise, shrinkage and drift `strength` times as great, 0 to 1."""
        return StatePerturbation(
            self.noise * strength, self.shrinkage * strength, self.drift * strength, self.drift_factor, self.share
        )  # fmt: skip

    def __call__(self, layer: Recurrent, state: State, before: State | None) -> State:
        """`state` (layers * directions, batch, size), disturbed; `before`: as it was when the piece began.

        before: None leaves the drift out, as does a state that has not moved. Drawn from torch's global generator.
        Raises ValueError for a cell of which it is not known where it keeps what it remembers.
        """
        if not isinstance(layer, Recurrent):
            raise ValueError(
                f"layer is a {type(layer).__name__}; a recurrent layer of storyline was wanted, such as LSTM"
            )
        cell = layer.cell
        if cell.name not in _KEPT:
            raise ValueError(
                f"which state of {cell.name} holds what is remembered is not known; perturb one of {', '.join(_KEPT)}"
            )
        kept, bounded = _KEPT[cell.name]
        named = _named(layer, state)
        earlier = None if before is None else _content(_named(layer, before), kept)
        x = _content(named, kept)
        rows = _coin(self.share, x)
        if earlier is not None and self.drift:
            factor = torch.exp(_uniform(x) * math.log(self.drift_factor)) - 1
            step = (factor * (x - earlier).detach()).clamp(-self.drift, self.drift)
            x = x + rows * _coin(0.5, x) * step
        x = x * (1 - rows * _coin(0.5, x) * self.shrinkage * _uniform(x))
        x = x + rows * self.noise * _uniform(x) * torch.randn_like(x)
        x = x.clamp(-1, 1) if bounded else x
        after = dict(named)
        after[kept] = x * named["n"] if "n" in named else x
        if kept != "h":
            h = named["h"] * (1 - rows * self.shrinkage * _uniform(x))
            after["h"] = h + rows * self.noise * _uniform(x) * torch.randn_like(h)
        values = tuple(after[name] for name in cell.states)
        return values if len(values) > 1 else values[0]


def _named(layer: Recurrent, state: State) -> dict[str, Tensor]:
    values = (state,) if isinstance(state, Tensor) else state
    return dict(zip(layer.cell.states, values, strict=True))


def _content(named: dict[str, Tensor], kept: str) -> Tensor:
    """What is remembered; of the sLSTM c / n, and 0 before anything is written, when n is 0."""
    x = named[kept]
    return x / named["n"].clamp_min(torch.finfo(x.dtype).tiny) if "n" in named else x


def _uniform(like: Tensor) -> Tensor:
    """A number from 0 to 1 for each row, (1, batch, 1): all layers and units of a row share it."""
    return torch.rand(1, like.shape[1], 1, dtype=like.dtype, device=like.device)


def _coin(probability: float, like: Tensor) -> Tensor:
    return (_uniform(like) < probability).to(like.dtype)
