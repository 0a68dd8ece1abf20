"""The recurrent stack inside an encoder or a decoder, states by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from storyline.layers.recurrent import Recurrent, State
from storyline.layers.rnn import GRU, LSTM, RNN
from storyline.layers.slstm import SLSTM

CORES: dict[str, Callable[..., Recurrent]] = {"lstm": LSTM, "gru": GRU, "rnn": RNN, "slstm": SLSTM}


class RecurrentCore(nn.Module):
    """A stack of one of our recurrent layers, batch first.

    core: a name in `CORES`, or a class of ours that takes the same arguments.
    weight_dropout: the probability that a weight between the states of two steps is 0, the same ones at all steps of a
        call: DropConnect (Merity et al. 2018, section 2). In training only; kept weights are scaled by 1 / (1 - p).
    The other arguments are those of `Recurrent`.
    """

    def __init__(
        self,
        core: str | type[Recurrent],
        input_size: int,
        hidden_size: int,
        *,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        remember: int | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if not 0 <= weight_dropout < 1:
            raise ValueError(f"weight_dropout is {weight_dropout}; it must be a probability below 1")
        self.weight_dropout = weight_dropout
        # torch.nn warns of dropout where there is no layer above to drop for.
        self.layer: Recurrent = _class_of(core)(
            input_size,
            hidden_size,
            num_layers=num_layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if num_layers > 1 else 0.0,
            recurrent_dropout=recurrent_dropout,
            remember=remember,
            backend=backend,
        )

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the cell's states, h first."""
        return self.layer.cell.states

    def forward(
        self,
        input: Tensor,
        state: Mapping[str, Tensor] | None = None,
        lengths: Tensor | None = None,
        dropped: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Read (batch, time, input_size): the output (batch, time, directions * hidden_size), and the last states.

        state: by name, each (num_layers * directions, batch, hidden_size); None: the layer's initial one.
        lengths (batch,): None: all full. dropped: what `dropped_weights` gave, where one sequence is read in several
        calls; None: drawn for this call. What is returned has the names of `state`.
        """
        hx: State | None = None if state is None else tuple(state[name] for name in self.states)
        if isinstance(hx, tuple) and len(hx) == 1:
            (hx,) = hx
        if dropped is None:
            dropped = self.dropped_weights()
        if dropped:
            output, last = functional_call(self.layer, dict(dropped), (input, hx), {"lengths": lengths})
        else:
            output, last = self.layer(input, hx, lengths=lengths)
        last = (last,) if isinstance(last, Tensor) else last
        return output, dict(zip(self.states, last, strict=True))

    def dropped_weights(self) -> dict[str, Tensor]:
        """The layer's recurrent weights with some of them 0, by name, drawn anew; {} where nothing is dropped."""
        if not self.training or not self.weight_dropout:
            return {}
        return {
            name: functional.dropout(weight, self.weight_dropout)
            for name, weight in self.layer.named_parameters()
            if name.startswith("weight_hh")
        }


def _class_of(core: str | type[Recurrent]) -> Callable[..., Recurrent]:
    if isinstance(core, type) and issubclass(core, Recurrent):
        return core
    if not isinstance(core, str) or core not in CORES:
        names = ", ".join(map(repr, CORES))
        raise ValueError(
            f"core is {core!r}; it must be one of {names}, or a class of storyline's recurrent layers"
        )
    return CORES[core]
