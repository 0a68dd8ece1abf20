"""The layers that users build with: RNN, LSTM and GRU, in the place of torch.nn's."""

from __future__ import annotations

from typing import final

import torch

from storyline.cells import (
    Cell,
    gru,
    gru_layer_norm,
    lstm,
    lstm_coupled,
    lstm_layer_norm,
    lstm_peephole,
    rnn_relu,
    rnn_tanh,
)
from storyline.layers.noise import Zoneout
from storyline.layers.recurrent import Recurrent

Device = torch.device | str | int | None

_LSTM_VARIANTS = {"peepholes": lstm_peephole, "coupled_gates": lstm_coupled, "layer_norm": lstm_layer_norm}
_GRU_VARIANTS = {"layer_norm": gru_layer_norm}


def _variant(plain: Cell, variants: dict[str, Cell], asked: dict[str, bool]) -> tuple[str, Cell]:
    """(what extra_repr says, the cell) of the one variant that is asked for."""
    names = [name for name, wanted in asked.items() if wanted]
    if len(names) > 1:
        raise ValueError(f"{' and '.join(names)} are both asked for, but no cell has both; take one of them")
    return (f", {names[0]}=True", variants[names[0]]) if names else ("", plain)


@final
class RNN(Recurrent):
    """The vanilla recurrent network, `cells.rnn`, in the place of torch.nn.RNN.

    All arguments up to dtype are torch.nn.RNN's; the others, and forward, step and initial_state, are
    explained at `Recurrent`. Parameters, their order and their names are torch's; learn_initial_state adds
    h_0 (num_layers * directions, hidden_size).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        zoneout: float = 0.0,
        recurrent_dropout: float = 0.0,
        remember: int | None = None,
        learn_initial_state: bool = False,
        backend: str = "auto",
        checkpoint_every: int | None = None,
    ) -> None:
        cells = {"tanh": rnn_tanh, "relu": rnn_relu}
        if nonlinearity not in cells:
            raise ValueError(f"nonlinearity is {nonlinearity!r}; it must be 'tanh' or 'relu'")
        self.nonlinearity = nonlinearity
        super().__init__(
            cells[nonlinearity],
            input_size,
            hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
            zoneout=zoneout,
            recurrent_dropout=recurrent_dropout,
            remember=remember,
            learn_initial_state=learn_initial_state,
            backend=backend,
            checkpoint_every=checkpoint_every,
        )


@final
class LSTM(Recurrent):
    """Long short-term memory, `cells.lstm`, in the place of torch.nn.LSTM.

    All arguments up to dtype are torch.nn.LSTM's; those from zoneout on, and forward, step and initial_state,
    are explained at `Recurrent`. One of three variants may be taken:

    peepholes: the gates see the cell state, `cells.lstm_peephole`; adds peephole_i_l0, peephole_f_l0 and
        peephole_o_l0 (hidden_size,) and so on.
    coupled_gates: no input gate of its own, i = 1 - f, `cells.lstm_coupled`; weights and biases have
        3 * hidden_size rows, in the order f, g, o.
    layer_norm: the products and the cell state are normalised, `cells.lstm_layer_norm`; in the place of
        bias_ih and bias_hh stand gain_x_l0, gain_h_l0 and bias_l0 (4 * hidden_size,), gain_c_l0 and
        shift_c_l0 (hidden_size,).

    Without a variant, parameters, their order and their names are torch's; learn_initial_state adds
    h_0 and c_0 (num_layers * directions, hidden_size; proj_size for the h_0 of a projected one).
    Raises ValueError where two variants are asked for, or layer_norm without bias.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        peepholes: bool = False,
        coupled_gates: bool = False,
        layer_norm: bool = False,
        zoneout: Zoneout = 0.0,
        recurrent_dropout: float = 0.0,
        remember: int | None = None,
        learn_initial_state: bool = False,
        backend: str = "auto",
        checkpoint_every: int | None = None,
    ) -> None:
        variants = {"peepholes": peepholes, "coupled_gates": coupled_gates, "layer_norm": layer_norm}
        name, cell = _variant(lstm, _LSTM_VARIANTS, variants)
        super().__init__(
            cell,
            input_size,
            hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            proj_size=proj_size,
            device=device,
            dtype=dtype,
            zoneout=zoneout,
            recurrent_dropout=recurrent_dropout,
            remember=remember,
            learn_initial_state=learn_initial_state,
            backend=backend,
            checkpoint_every=checkpoint_every,
            variant=name,
        )


@final
class GRU(Recurrent):
    """The gated recurrent unit, `cells.gru`, in the place of torch.nn.GRU.

    All arguments up to dtype are torch.nn.GRU's; those from zoneout on, and forward, step and initial_state,
    are explained at `Recurrent`. Parameters, their order and their names are torch's; learn_initial_state
    adds h_0 (num_layers * directions, hidden_size).

    layer_norm: the products are normalised, `cells.gru_layer_norm`; in the place of bias_ih and bias_hh stand
        gain_x_l0, gain_h_l0 and bias_l0 (3 * hidden_size,) and shift_n_l0 (hidden_size,). Raises ValueError
        without bias.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        layer_norm: bool = False,
        zoneout: float = 0.0,
        recurrent_dropout: float = 0.0,
        remember: int | None = None,
        learn_initial_state: bool = False,
        backend: str = "auto",
        checkpoint_every: int | None = None,
    ) -> None:
        name, cell = _variant(gru, _GRU_VARIANTS, {"layer_norm": layer_norm})
        super().__init__(
            cell,
            input_size,
            hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
            zoneout=zoneout,
            recurrent_dropout=recurrent_dropout,
            remember=remember,
            learn_initial_state=learn_initial_state,
            backend=backend,
            checkpoint_every=checkpoint_every,
            variant=name,
        )
