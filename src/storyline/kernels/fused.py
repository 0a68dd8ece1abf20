"""The torch backend: torch's fused operators (oneDNN, cuDNN), which know neither lengths nor resets.

Both are served exactly, without packing and without sorting.

Ragged rows run at full length over padding that cannot do harm. The LSTM is held there: one more input
channel is 1 on padding and 0 elsewhere, and its weights drive the input and output gates to exactly 0 and the
forget gate to exactly 1, so c is held, h is 0, and every gradient that padding could send is exactly 0. The
relu network is held at h = 0 in the same way, because a free run could overflow. GRU and tanh network are
bounded and run free. h_n is taken at each row's last step.

Resets cut a row: every segment becomes a row of its own, ragged, and is put back afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from storyline.cells import Cell, Noise, State
from storyline.kernels.ragged import Ragged, Segments
from storyline.kernels.weights import Recurrence, Weights

OPERATORS: dict[str, Any] = {
    "lstm": torch.lstm,
    "gru": torch.gru,
    "rnn_tanh": torch.rnn_tanh,
    "rnn_relu": torch.rnn_relu,
}

# sigmoid(+-1e4) is 1 or 0 to the last bit in every dtype, and 1e4 is finite in float16. Inputs are 0 in the
# padding, so what it must outweigh is |weight_hh| |h| + |bias| alone.
_LARGE = 1e4
# What the padding channel adds to each preactivation, in the cell's gate order.
_HOLD: dict[str, tuple[float, ...]] = {
    "lstm": (-_LARGE, +_LARGE, 0.0, -_LARGE),
    "rnn_relu": (-_LARGE,),
}


def fused(
    cell: Cell,
    weights: Weights,
    input: Tensor,
    state: State,
    fresh: State,
    ragged: Ragged | None = None,
    resets: Tensor | None = None,
    noise: Noise | None = None,
) -> Recurrence:
    """One layer in one direction; see `recurrence` for the arguments."""
    # What choose_backend has refused before.
    assert noise is None
    assert not weights.own
    if resets is None:
        return _ragged(cell, weights, input, state, ragged)
    time, batch = resets.shape
    lengths = resets.new_full((batch,), time, dtype=torch.int64) if ragged is None else ragged.lengths
    segments = Segments.cut(resets, lengths)
    pieces = Ragged(segments.lengths, segments.gather.shape[0])
    split = pieces.clear(segments.split(input))
    result = _ragged(cell, weights, split, segments.initial(state, fresh), pieces)
    output = segments.join(result.output)
    if ragged is not None:
        output = ragged.clear(output)
    return Recurrence(output, tuple(each[segments.last] for each in result.state))


def fused_stack(
    cell: Cell,
    weights: Sequence[Weights],
    input: Tensor,
    state: State,
    *,
    num_layers: int,
    dropout: float,
    bidirectional: bool,
) -> tuple[Tensor, State]:
    """All layers and directions of a dense batch in one call, as torch.nn does it.

    input (time, batch, input_size); state, a tensor (num_layers * directions, batch, size) a name in
    `cell.states`; weights layer by layer, forward before reverse. Returns output
    (time, batch, directions * size of h) and the last state, shaped as `state`.
    """
    initial = state[0] if len(state) == 1 else state
    output, *last = OPERATORS[cell.name](
        input,
        initial,
        [tensor for each in weights for tensor in each.as_list()],
        weights[0].bias_ih is not None,
        num_layers,
        dropout,
        # cuDNN refuses a backward pass after train=False, but gradients in evaluation mode are lawful (the
        # memory instruments need them). Without dropout the flag changes nothing else.
        torch.is_grad_enabled(),
        bidirectional,
        False,
    )
    return output, tuple(last)


def why_not_autocast(cell: Cell, device: torch.device | None) -> str | None:
    """Why autocast on the CPU stops the fused operator of this cell, or None where it doesn't."""
    if cell.name != "lstm" or device is None or device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return None
    dtype = torch.get_autocast_dtype("cpu")
    return None if _runs_under_autocast(dtype) else f"oneDNN has no LSTM in {dtype} for this processor"


@cache
def _runs_under_autocast(dtype: torch.dtype) -> bool:
    """Whether oneDNN can run an LSTM in `dtype` here: there is no way to ask but to try one."""
    input, state, weight = torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), torch.zeros(4, 1)
    try:
        with torch.no_grad(), torch.autocast("cpu", dtype):
            torch.lstm(input, (state, state), [weight, weight], False, 1, 0.0, False, False, False)
    except RuntimeError:
        return False
    return True


def _ragged(cell: Cell, weights: Weights, input: Tensor, state: State, ragged: Ragged | None) -> Recurrence:
    if ragged is None:
        return _dense(cell, weights, input, state)
    hold = _HOLD.get(cell.name)
    if hold is None:
        free = _dense(cell, weights, input, state)
        return Recurrence(ragged.clear(free.output), (ragged.last(free.output),))
    padding = (~ragged.inside).to(input.dtype)
    held = _dense(cell, _with_hold(weights, hold), torch.cat([input, padding], dim=-1), state)
    return Recurrence(held.output, (ragged.last(held.output), *held.state[1:]))


def _with_hold(weights: Weights, hold: tuple[float, ...]) -> Weights:
    """`weights` with one more column of weight_ih, for the padding channel."""
    weight_ih = weights.weight_ih
    hidden_size = weight_ih.shape[0] // len(hold)
    column = torch.tensor(hold, dtype=weight_ih.dtype).repeat_interleave(hidden_size).unsqueeze(1)
    wider = torch.cat([weight_ih, column.to(weight_ih.device, non_blocking=True)], dim=1)
    return Weights(wider, weights.weight_hh, weights.bias_ih, weights.bias_hh, weights.weight_hr)


def _dense(cell: Cell, weights: Weights, input: Tensor, state: State) -> Recurrence:
    stacked = tuple(each.unsqueeze(0) for each in state)
    output, last = fused_stack(
        cell, [weights], input, stacked, num_layers=1, dropout=0.0, bidirectional=False
    )
    return Recurrence(output, tuple(each.squeeze(0) for each in last))
