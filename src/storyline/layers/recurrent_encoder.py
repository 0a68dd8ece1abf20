"""The recurrent encoder: a source read once, from both ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from storyline.layers.decoding import Encoded, Encoder
from storyline.layers.recurrent import Recurrent
from storyline.layers.recurrent_core import RecurrentCore


@final
class RecurrentEncoder(Encoder):
    """A recurrent stack over the source, `Encoded.output` being the states of its last layer.

    core: "lstm", "gru", "rnn", "slstm", or a class of ours. num_layers: of the stack.
    bidirectional: every layer reads from both ends (Bahdanau et al. 2015, section 3.2), each direction with
        hidden_size units: output_size is then 2 * hidden_size, else hidden_size.
    gnmt: the stack of Wu et al. 2016, sections 3.1-3.2: the first layer reads from both ends, with half of hidden_size
        units for either, the others from the front, and from the third on a layer's input is added to its
        output. output_size is hidden_size, whatever bidirectional says.
    dropout: of what a layer reads from the layer below. The other arguments are explained at `RecurrentCore`.

    `Encoded.states` are the last states of every layer, by the cell's names, each (num_layers, batch, output_size): the
    two directions of a layer side by side, forward first.
    Raises ValueError for a gnmt stack of one layer or with an odd hidden_size.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        core: str | type[Recurrent] = "lstm",
        num_layers: int = 1,
        bidirectional: bool = True,
        gnmt: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        remember: int | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if gnmt and (num_layers < 2 or hidden_size % 2):
            raise ValueError(
                f"gnmt=True stacks one-way layers on a bidirectional one of half the size; num_layers is {num_layers} "
                f"and must be 2 or more, hidden_size is {hidden_size} and must be even"
            )

        def core_of(size: int, units: int, layers: int, both: bool) -> RecurrentCore:
            return RecurrentCore(
                core,
                size,
                units,
                num_layers=layers,
                bidirectional=both,
                dropout=dropout,
                recurrent_dropout=recurrent_dropout,
                weight_dropout=weight_dropout,
                remember=remember,
                backend=backend,
            )

        self.gnmt, self.dropout = gnmt, dropout
        if gnmt:
            first = core_of(input_size, hidden_size // 2, 1, True)
            upper = [core_of(hidden_size, hidden_size, 1, False) for _ in range(num_layers - 1)]
            self.cores = nn.ModuleList([first, *upper])
        else:
            self.cores = nn.ModuleList([core_of(input_size, hidden_size, num_layers, bidirectional)])
        self.output_size = 2 * hidden_size if bidirectional and not gnmt else hidden_size

    def forward(self, embedded: Tensor, lengths: Tensor) -> Encoded:
        """Read sources (batch, source, input_size) of `lengths` (batch,) tokens; the output is 0 in the padding."""
        below, last = self.cores[0](embedded, lengths=lengths)
        return self.above(below, last, lengths)

    def above(self, below: Tensor, last: Mapping[str, Tensor], lengths: Tensor) -> Encoded:
        """The rest of `forward`, after the output and the last states of the first of `cores`."""
        states = [{name: _side_by_side(state, self.cores[0]) for name, state in last.items()}]
        for index, core in enumerate(self.cores[1:], 1):
            output, last = core(functional.dropout(below, self.dropout, self.training), lengths=lengths)
            states.append({name: _side_by_side(state, core) for name, state in last.items()})
            below = output + below if self.gnmt and index > 1 else output
        names = states[0]
        joined = {
            name: torch.cat([each[name] for each in states]) if len(states) > 1 else states[0][name]
            for name in names
        }
        return Encoded(below, torch.as_tensor(lengths, device=below.device), joined)


def _side_by_side(state: Tensor, core: nn.Module) -> Tensor:
    """(layers * directions, batch, size) -> (layers, batch, directions * size)."""
    assert isinstance(core, RecurrentCore)
    if not core.layer.bidirectional:
        return state
    return torch.cat([state[0::2], state[1::2]], dim=-1)
