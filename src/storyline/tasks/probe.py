"""What a trained task hands to the instruments of memory: functions of tensors and a sample of the user's data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from storyline.layers import GRU, LSTM, RNN


@dataclass(frozen=True, eq=False)
class MemoryProbe:
    """A trained model and a sample of data; the fields are those of `storyline.memory.Probe`.

    function      embedded inputs (batch, time, channels) -> last state h_T of the top layer (batch, hidden_size);
                  of a bidirectional stack, that of the forward direction
    inputs        (batch, time, channels): sequences of the sample, embedded, cut to equal length at their end
    layer         the recurrent stack, batch first
    layer_inputs  (batch, time, channels): the sample, embedded, ragged
    lengths       (batch,) steps of each row of `layer_inputs`
    loss_at       k -> mean loss where each prediction has only the last k steps, None: all of them;
                  None where no targets were given
    longest       the largest k, in steps
    initial       `function` of the model as it was initialised
    """

    function: Callable[[Tensor], Tensor]
    inputs: Tensor
    layer: LSTM | GRU | RNN
    layer_inputs: Tensor
    lengths: Tensor
    loss_at: Callable[[int | None], float] | None
    longest: int
    initial: Callable[[Tensor], Tensor]


def last_state(layer: LSTM | GRU | RNN) -> Callable[[Tensor], Tensor]:
    """The function (batch, time, channels) -> h_T of the top layer, forward direction (batch, hidden_size)."""

    def function(inputs: Tensor) -> Tensor:
        output, _ = layer(inputs)
        state: Tensor = output[:, -1, : layer.hidden_size]
        return state

    return function


def equal_tails(embedded: Tensor, lengths: Tensor, steps: int) -> Tensor:
    """The last `steps` steps of each row (batch, steps, channels); every length must be at least `steps`."""
    first = lengths - steps
    index = first[:, None] + torch.arange(steps)
    return embedded[torch.arange(len(embedded))[:, None], index]
