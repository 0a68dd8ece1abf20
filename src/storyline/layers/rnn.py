"""The layers that users build with: RNN, LSTM and GRU, in the place of torch.nn's."""

from __future__ import annotations

from typing import final

import torch

from storyline.cells import gru, lstm, rnn_relu, rnn_tanh
from storyline.layers.recurrent import Recurrent

Device = torch.device | str | int | None


@final
class RNN(Recurrent):
    """The vanilla recurrent network, `cells.rnn`, in the place of torch.nn.RNN.

    All arguments up to dtype are torch.nn.RNN's; the last three, and forward, step and initial_state, are
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
        remember: int | None = None,
        learn_initial_state: bool = False,
        backend: str = "auto",
    ) -> None:
        cells = {"tanh": rnn_tanh, "relu": rnn_relu}
        if nonlinearity not in cells:
            raise ValueError(f"nonlinearity is {nonlinearity!r}; it must be 'tanh' or 'relu'")
        self.nonlinearity = nonlinearity
        super().__init__(
            cells[nonlinearity],
            f"RNN_{nonlinearity.upper()}",
            input_size,
            hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
            remember=remember,
            learn_initial_state=learn_initial_state,
            backend=backend,
        )


@final
class LSTM(Recurrent):
    """Long short-term memory, `cells.lstm`, in the place of torch.nn.LSTM.

    All arguments up to dtype are torch.nn.LSTM's; the last three, and forward, step and initial_state, are
    explained at `Recurrent`. Parameters, their order and their names are torch's; learn_initial_state adds
    h_0 and c_0 (num_layers * directions, hidden_size; proj_size for the h_0 of a projected one).
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
        remember: int | None = None,
        learn_initial_state: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__(
            lstm,
            "LSTM",
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
            remember=remember,
            learn_initial_state=learn_initial_state,
            backend=backend,
        )


@final
class GRU(Recurrent):
    """The gated recurrent unit, `cells.gru`, in the place of torch.nn.GRU.

    All arguments up to dtype are torch.nn.GRU's; the last three, and forward, step and initial_state, are
    explained at `Recurrent`. Parameters, their order and their names are torch's; learn_initial_state adds
    h_0 (num_layers * directions, hidden_size).
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
        remember: int | None = None,
        learn_initial_state: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__(
            gru,
            "GRU",
            input_size,
            hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
            remember=remember,
            learn_initial_state=learn_initial_state,
            backend=backend,
        )
