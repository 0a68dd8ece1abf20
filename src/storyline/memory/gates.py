"""How long each unit keeps what it holds, read from the gate that keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from storyline.memory.keeping import keeping_gate, why_no_gate
from storyline.memory.layer_trace import trace_pieces
from storyline.memory.parts import as_ours
from storyline.memory.steps import MeasureError

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, eq=False)
class HalfLives:
    """After how many steps a unit has lost half of what it held, if nothing new is written.

    With m the mean over all steps and sequences of the gate that multiplies the unit's old state
    (forget gate f of an LSTM, update gate z of a GRU, see `keeping`; zoneout keeps more than its gate does),

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
        layer: LSTM, GRU or RNN of storyline.layers or of torch.nn. Measured in evaluation mode, and left as it
            is; an RNN has no gate, and the result says so.
        inputs: as the layer reads them: (time, batch, channels), or (batch, time, channels) with batch_first.
        lengths: (batch,) steps of each sequence; steps beyond them do not count. None: all of them do.
        rows_at_once: sequences in memory at the same time.

    Raises:
        MeasureError: the layer is of another kind, or the inputs or lengths do not fit.
    """
    ours = as_ours(layer)
    gate = keeping_gate(ours)
    if gate is None:
        return HalfLives(reason=why_no_gate(ours))
    if inputs.ndim != 3 or 0 in inputs.shape:
        order = "(batch, time, channels)" if ours.batch_first else "(time, batch, channels)"
        raise MeasureError(f"inputs have shape {tuple(inputs.shape)}; {order} was wanted")
    sums: dict[str, Tensor] = {}
    count: dict[str, int] = {}
    for piece in trace_pieces(layer, inputs, lengths, rows_at_once=rows_at_once):
        kept, name = piece.kept, piece.part.name
        assert kept is not None
        real = torch.where(piece.inside.unsqueeze(-1), kept, 0).double()
        sums[name] = sums.get(name, 0.0) + real.sum((0, 1))
        count[name] = count.get(name, 0) + int(piece.inside.sum())
    units = {name: _half_life((total / count[name]).cpu().numpy()) for name, total in sums.items()}
    return HalfLives(units, gate)


def _half_life(mean_gate: NDArray[np.float64]) -> NDArray[np.float64]:
    lives = np.full(mean_gate.shape, np.inf)
    with np.errstate(divide="ignore"):  # ln 0 = -inf gives the half-life 0, as it should
        np.divide(np.log(0.5), np.log(mean_gate), out=lives, where=mean_gate < 1.0)
    return lives
