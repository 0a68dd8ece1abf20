"""The layer of the sLSTM."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, final

import torch

from storyline.cells import slstm
from storyline.layers.recurrent import Recurrent
from storyline.layers.rnn import Device


@final
class SLSTM(Recurrent):
    """The scalar LSTM of xLSTM, `cells.slstm`: exponential input gate, normaliser, heads (Beck et al. 2024).

    num_heads: units are cut into so many heads of equal size, and read only the h of their own; hidden_size
        must be a multiple. weight_hh_l0 is (4 * hidden_size, hidden_size / num_heads), gate order i, f, z, o.
    The other arguments, forward, step and initial_state are explained at `Recurrent`. There is no zoneout,
    since c means nothing without the n and m of the same step.

    The state is (h, c, n, m), each (num_layers * directions, batch, hidden_size); all zeros is an empty one.
    learn_initial_state adds h_0, c_0 and m_0 (num_layers * directions, hidden_size); n_0 then is 1, so that
    c_0 is a value that weighs exp(m_0).
    This is the recurrent layer alone, without the convolution, normalisation and projections of xLSTM's block.
    """

    unlearned: ClassVar[dict[str, float]] = {"n": 1.0}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_heads: int = 4,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        recurrent_dropout: float = 0.0,
        remember: int | None = None,
        learn_initial_state: bool = False,
        backend: str = "auto",
        checkpoint_every: int | None = None,
    ) -> None:
        if isinstance(num_heads, bool) or not isinstance(num_heads, int) or num_heads < 1:
            raise ValueError(f"num_heads is {num_heads!r}; it must be a whole number, 1 or more")
        super().__init__(
            replace(slstm, heads=num_heads),
            input_size,
            hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
            recurrent_dropout=recurrent_dropout,
            remember=remember,
            learn_initial_state=learn_initial_state,
            backend=backend,
            checkpoint_every=checkpoint_every,
            variant=f", num_heads={num_heads}",
        )
