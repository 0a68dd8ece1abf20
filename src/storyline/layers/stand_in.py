"""The layers that stand in for a user's nn.RNN, nn.LSTM or nn.GRU: the same object, of another class.

Nothing is copied: parameters, hooks, buffers, the training flag and every reference to the module, in an
optimiser or a list, are as they were, because the module is the one that it was.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from storyline.layers.recurrent import Recurrent, State
from storyline.layers.rnn import GRU, LSTM, RNN


class StandIn(Recurrent, ABC):
    """A recurrent layer in the place of torch.nn's, which reads a PackedSequence too and returns one then."""

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: State | None = None,
        *,
        lengths: Tensor | Sequence[int] | int | None = None,
        resets: Tensor | None = None,
        return_trace: bool = False,
    ) -> Any:
        """Read whole sequences, as `Recurrent.forward`.

        A PackedSequence comes back as one, packed alike, with the last state of each row in the order in
        which the rows were before they were sorted, as in torch.nn. Raises ValueError where `lengths`,
        `resets` or `return_trace` come with it.
        """
        if not isinstance(input, PackedSequence):
            return super().forward(input, hx, lengths=lengths, resets=resets, return_trace=return_trace)
        if lengths is not None or resets is not None or return_trace:
            raise ValueError(
                "input is a PackedSequence, which has its own lengths; for lengths=, resets= or return_trace= "
                "pass the padded tensor"
            )
        places, ends = _places(input)
        time, batch = len(input.batch_sizes), len(ends)
        padded = input.data.new_zeros(time * batch, input.data.shape[1]).index_copy(0, places, input.data)
        padded = padded.view(time, batch, -1)
        output, last = super().forward(
            padded.transpose(0, 1) if self.batch_first else padded, hx, lengths=ends
        )
        output = output.transpose(0, 1) if self.batch_first else output
        data = output.flatten(0, 1).index_select(0, places)
        return input._replace(data=data), last


@final
class StandInRNN(StandIn):
    """In the place of nn.RNN."""


@final
class StandInLSTM(StandIn):
    """In the place of nn.LSTM."""


@final
class StandInGRU(StandIn):
    """In the place of nn.GRU."""


STAND_INS: dict[type[nn.RNNBase], type[StandIn]] = {
    nn.RNN: StandInRNN,
    nn.LSTM: StandInLSTM,
    nn.GRU: StandInGRU,
}
_OURS: dict[type[nn.RNNBase], type[RNN | LSTM | GRU]] = {nn.RNN: RNN, nn.LSTM: LSTM, nn.GRU: GRU}


def settings(module: nn.RNNBase) -> dict[str, Any]:
    """The arguments that `module`, an nn.RNN, nn.LSTM or nn.GRU, was built with; its dropout apart."""
    names = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "bidirectional"]
    names += {"LSTM": ["proj_size"], "GRU": []}.get(module.mode, ["nonlinearity"])
    return {name: getattr(module, name) for name in names}


def stand_in(module: nn.RNNBase, backend: str) -> None:
    """Turn an nn.RNN, nn.LSTM or nn.GRU, of exactly this type, into its stand-in, in place."""
    original = type(module)
    # What our layers hold and torch's don't is read off one without weights, so that none is forgotten.
    model = _OURS[original](**settings(module), device="meta", backend=backend)
    extra = {name: value for name, value in vars(model).items() if name not in vars(module)}
    vars(module).update(extra, _stands_in_for=(original, tuple(extra)))
    module.__class__ = STAND_INS[original]


def step_back(module: StandIn) -> None:
    """Turn a stand-in into what it was before, with the parameters that it has now."""
    original, extra = vars(module).pop("_stands_in_for")
    for name in extra:
        del vars(module)[name]
    module.__class__ = original


def _places(packed: PackedSequence) -> tuple[Tensor, Tensor]:
    """Where each packed step stands in a flattened (time, batch), and the lengths (batch,); rows unsorted."""
    sizes, device = packed.batch_sizes, packed.data.device
    row = torch.arange(int(sizes[0]), device=sizes.device)
    inside = row < sizes.unsqueeze(1)
    step, rank = inside.nonzero(as_tuple=True)
    lengths, row = inside.sum(0), row.to(device)
    if packed.sorted_indices is not None and packed.unsorted_indices is not None:
        row, lengths = packed.sorted_indices, lengths[packed.unsorted_indices.to(lengths.device)]
    return step.to(device) * len(lengths) + row[rank.to(device)], lengths
