"""How long each unit keeps what it holds, read from the gate that keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from storyline.layers import GRU, LSTM, RNN
from storyline.memory.steps import MeasureError

# The gate that multiplies the old state: f in c = f c + i g (LSTM), z in h = (1 - z) n + z h (torch's GRU).
_KEEPING = {"f": "forget gate", "z": "update gate"}
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, eq=False)
class HalfLives:
    """After how many steps a unit has lost half of what it held, if nothing new is written.

    With m the mean over all steps and sequences of the gate that multiplies the unit's old state
    (forget gate f of an LSTM, update gate z of a GRU; with zoneout at rate r, r + (1 - r) times it),

        half-life = ln(1/2) / ln(m)        in steps; infinite where m is 1, 0 where m is 0

    Attributes:
        units: half-lives (units,) float64 by part of the stack: ``"layer 1"``, ``"layer 1, backward"``.
        gate: ``"forget gate"`` or ``"update gate"``, None where the layer has none.
        reason: why there are none, None where there are.
    """

    units: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    gate: str | None = None
    reason: str | None = None

    @property
    def all(self) -> NDArray[np.float64]:
        """The half-lives of all units of all layers, in steps."""
        return np.concatenate(list(self.units.values())) if self.units else np.empty(0)

    @property
    def never(self) -> int:
        """How many units never forget: their mean gate is 1 to the last digit."""
        return int(np.isinf(self.all).sum())

    def quantiles(self, part: str | None = None) -> dict[float, float]:
        """Half-life in steps by quantile (.1, .25, .5, .75, .9) over the units of a part, or of all.

        An order statistic (the smallest half-life that at least this share of units does not exceed), so
        that infinite ones stay what they are. Empty where there are no half-lives.
        """
        values = self.all if part is None else self.units[part]
        if not len(values):
            return {}
        found = np.quantile(values, QUANTILES, method="inverted_cdf")
        return dict(zip(QUANTILES, (float(value) for value in found), strict=True))


def half_lives(
    layer: nn.Module, inputs: Tensor, lengths: Tensor | None = None, *, rows_at_once: int = 32
) -> HalfLives:
    """Measure the half-life of every unit of a recurrent layer on a sample of data.

    Args:
        layer: LSTM, GRU or RNN of storyline.layers or of torch.nn. Measured in evaluation mode (its mode is
            put back); an RNN has no gate, and the result says so.
        inputs: as the layer reads them: (time, batch, channels), or (batch, time, channels) with batch_first.
        lengths: (batch,) steps of each sequence; steps beyond them do not count. None: all of them do.
        rows_at_once: sequences in memory at the same time.

    Raises:
        MeasureError: the layer is of another kind, or the inputs or lengths do not fit.
    """
    ours = _as_ours(layer)
    if isinstance(ours, RNN):
        return HalfLives(reason="An RNN has no gate that keeps its state, so its units have no half-life.")
    batch_first = bool(ours.batch_first)
    if inputs.ndim != 3 or 0 in inputs.shape:
        order = "(batch, time, channels)" if batch_first else "(time, batch, channels)"
        raise MeasureError(f"inputs have shape {tuple(inputs.shape)}; {order} was wanted")
    rows, time = (inputs.shape[0], inputs.shape[1]) if batch_first else (inputs.shape[1], inputs.shape[0])
    steps = _steps(lengths, rows, time, inputs.device)
    sums: dict[str, Tensor] = {}
    was_training = ours.training
    ours.eval()
    try:
        for start in range(0, rows, rows_at_once):
            part = inputs.narrow(0 if batch_first else 1, start, min(rows_at_once, rows - start))
            _add_gates(sums, ours, part, steps[start : start + rows_at_once])
    finally:
        ours.train(was_training)
    # The last state is the one that the gate keeps: c of an LSTM, h of a GRU.
    rate = ours.rates.zoneout[-1] if ours.rates.zoneout else 0.0
    units = {
        key: _half_life((rate + (1 - rate) * total / steps.sum()).cpu().numpy())
        for key, total in sums.items()
    }
    (letter,) = {key.split("_")[0] for key in units}
    return HalfLives({_part_name(key): value for key, value in units.items()}, _KEEPING[letter])


def _half_life(mean_gate: NDArray[np.float64]) -> NDArray[np.float64]:
    lives = np.full(mean_gate.shape, np.inf)
    with np.errstate(divide="ignore"):  # ln 0 = -inf gives the half-life 0, as it should
        np.divide(np.log(0.5), np.log(mean_gate), out=lives, where=mean_gate < 1.0)
    return lives


def _as_ours(layer: nn.Module) -> LSTM | GRU | RNN:
    """The layer itself, or ours with torch's weights: ours returns its gates, torch's cannot."""
    if isinstance(layer, LSTM | GRU | RNN):
        return layer
    if not isinstance(layer, nn.LSTM | nn.GRU | nn.RNN):
        raise MeasureError(
            f"the layer is {type(layer).__name__}; LSTM, GRU or RNN, of storyline or torch.nn, was wanted"
        )
    settings: dict[str, Any] = {
        "num_layers": layer.num_layers,
        "bias": layer.bias,
        "batch_first": layer.batch_first,
        "bidirectional": layer.bidirectional,
        "dtype": layer.weight_ih_l0.dtype,
        "device": layer.weight_ih_l0.device,
    }
    ours: LSTM | GRU | RNN
    if isinstance(layer, nn.LSTM):
        ours = LSTM(layer.input_size, layer.hidden_size, proj_size=layer.proj_size, **settings)
    elif isinstance(layer, nn.GRU):
        ours = GRU(layer.input_size, layer.hidden_size, **settings)
    else:
        ours = RNN(layer.input_size, layer.hidden_size, nonlinearity=layer.nonlinearity, **settings)
    ours.load_state_dict(layer.state_dict())
    return ours


def _steps(lengths: Tensor | None, rows: int, time: int, device: torch.device) -> Tensor:
    if lengths is None:
        return torch.full((rows,), time, dtype=torch.int64, device=device)
    steps = torch.as_tensor(lengths, dtype=torch.int64, device=device)
    if steps.shape != (rows,) or int(steps.min()) < 1 or int(steps.max()) > time:
        came = str(steps.tolist()) if steps.numel() < 9 else f"a tensor of {tuple(steps.shape)}"
        raise MeasureError(
            f"lengths are {came}; one of 1 to {time} for each of the {rows} sequences was wanted"
        )
    return steps


def _add_gates(sums: dict[str, Tensor], layer: LSTM | GRU, inputs: Tensor, steps: Tensor) -> None:
    with torch.no_grad():
        *_, trace = layer(inputs, lengths=steps, return_trace=True)
    for key, gate in trace.gates.items():
        if key.split("_")[0] in _KEEPING:
            # gates are 0 beyond a row's length, so they do not count there
            sums[key] = sums.get(key, 0.0) + gate.double().sum((0, 1))


def _part_name(key: str) -> str:
    """``f_l0_reverse`` -> ``layer 1, backward``."""
    number = int(key.split("_")[1][1:]) + 1
    return f"layer {number}{', backward' if key.endswith('_reverse') else ''}"
