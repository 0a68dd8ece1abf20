"""What a trained task hands to the instruments of memory: functions of tensors and a sample of the user's data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from storyline.layers import GRU, LSTM, RNN

# How many sequences, the longest, set the length on which the gradient is followed, and on how many at most it is.
_LONGEST, _FOLLOWED = 8, 32


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


def long_tails(embedded: Tensor, lengths: Tensor) -> Tensor:
    """Ends of equal length of the longest rows (rows, steps, channels), for following the gradient back.

    As many steps as the eighth longest row has; the rows are all that have so many, 32 at most.
    """
    ordered = torch.sort(lengths, descending=True).values
    steps = int(ordered[min(_LONGEST, len(ordered)) - 1])
    rows = torch.nonzero(lengths >= steps).flatten()[:_FOLLOWED]
    index = (lengths[rows] - steps)[:, None] + torch.arange(steps)
    return embedded[rows[:, None], index]
