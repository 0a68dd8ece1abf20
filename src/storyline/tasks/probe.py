"""What the probes of all tasks have in common: the state that is measured, and the sequences it is measured on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from storyline.layers import GRU, LSTM, RNN, MemoryProbe

# How many sequences, the longest, set the length on which the gradient is followed, and on how many at most it is.
_LONGEST, _FOLLOWED = 8, 32


def last_state(layer: LSTM | GRU | RNN) -> Callable[[Tensor], Tensor]:
    """The function (batch, time, channels) -> h_T of the top layer, forward direction (batch, hidden_size)."""

    def function(inputs: Tensor) -> Tensor:
        output, _ = layer(inputs)
        state: Tensor = output[:, -1, : layer.hidden_size]
        return state

    return function


def stack_probe(
    layer: LSTM | GRU | RNN,
    initial: LSTM | GRU | RNN,
    embedded: Tensor,
    lengths: Tensor,
    loss_at: Callable[[int | None], float] | None,
    longest: int,
) -> MemoryProbe:
    """The probe of a recurrent stack on embedded sequences (batch, time, channels) of the given lengths (batch,)."""
    return MemoryProbe(
        function=last_state(layer),
        inputs=long_tails(embedded, lengths),
        layer=layer,
        layer_inputs=embedded,
        lengths=lengths,
        loss_at=loss_at,
        longest=longest,
        initial=last_state(initial),
    )


def long_tails(embedded: Tensor, lengths: Tensor) -> Tensor:
    """Ends of equal length of the longest rows (rows, steps, channels), for following the gradient back.

    As many steps as the eighth longest row has; the rows are all that have so many, 32 at most.
    """
    ordered = torch.sort(lengths, descending=True).values
    steps = int(ordered[min(_LONGEST, len(ordered)) - 1])
    rows = torch.nonzero(lengths >= steps).flatten()[:_FOLLOWED]
    index = (lengths[rows] - steps)[:, None] + torch.arange(steps)
    return embedded[rows[:, None], index]
