"""The time scales of a recurrent layer's units over real data, and their distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from storyline.memory.inside.keeping import keeping_gate, why_no_gate
from storyline.memory.inside.layer_trace import TracePiece, pieces_of
from storyline.memory.inside.sample import sample_of
from storyline.memory.inside.step_jacobian import step_jacobian
from storyline.memory.steps import check_sizes

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, eq=False)
class TimeScales:
    """After how many steps a unit has 1/e = 37 % left of what it held, if nothing new is written.

    From the gate k_t that keeps (f of an LSTM, z of a GRU, see `keeping`), over all steps t of all sequences:

        momentary   tau_t    = -1 / ln k_t
        mean        tau      = mean_t tau_t
        lasting     tau_eff  = -1 / mean_t ln k_t

    Lasting is what becomes of a memory: over n steps a unit keeps the share exp(-n / tau_eff) = k_1 ... k_n. Mean
    is the time scale of a typical step, as in Tallec and Ollivier 2018, section 2, for a gate that moves; it is the
    larger one always, and infinite where one step has k_t = 1 to the last digit. Where a gate never moves they are
    equal. A half-life is ln 2 = .69 times a time scale.

    A cell without such a gate has no time scale a unit, only one a direction of its state. With J_t the Jacobian of
    a step, ds_t / ds_(t-1), and lambda_j(J_t) its eigenvalues in falling order of modulus, at sampled steps,

        tau_j = mean_t -1 / ln |lambda_j(J_t)|,    tau_eff_j = -1 / mean_t ln |lambda_j(J_t)|

    and infinite where the modulus, or its mean logarithm, says that the direction grows.

    Attributes:
        mean: (units,) float64 by part, ``"layer 1"``, ``"layer 1, backward"``, in steps; 0 where k is 0.
        lasting: the same of tau_eff.
        gate: ``"forget gate"`` or ``"update gate"``, None where the time scales are those of a Jacobian.
        reason: why they are, in a sentence; None where they are a gate's.
        steps: over how many steps of the data; the sampled ones where a Jacobian was taken.
    """

    mean: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    lasting: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    gate: str | None = None
    reason: str | None = None
    steps: int = 0

    def half_lives(self, part: str) -> NDArray[np.float64]:
        """After how many steps half is left, ln 2 * lasting, (units,)."""
        return self.lasting[part] * math.log(2.0)

    def quantiles(self, part: str | None = None) -> dict[float, float]:
        """Lasting time scale in steps by quantile (.1, .25, .5, .75, .9) over the units of a part, or of all.

        An order statistic, so that infinite ones stay what they are.
        """
        values = np.concatenate(list(self.lasting.values())) if part is None else self.lasting[part]
        found = np.quantile(values, QUANTILES, method="inverted_cdf")
        return dict(zip(QUANTILES, (float(value) for value in found), strict=True))

    def __str__(self) -> str:
        """A line a part."""
        lines = []
        for part in self.lasting:
            q = self.quantiles(part)
            what = "units" if self.gate else "directions"
            lines.append(
                f"{part}: {len(self.lasting[part])} {what}, time scale {_number(q[0.5])} steps "
                f"(median), {_number(q[0.1])} to {_number(q[0.9])} (middle 80 %)"
            )
        return "\n".join(lines)


def time_scales(
    layer: nn.Module,
    inputs: Tensor | PackedSequence,
    lengths: Tensor | Sequence[int] | None = None,
    *,
    jacobians: int = 256,
    seed: int = 0,
    steps_at_once: int = 256,
) -> TimeScales:
    """Measure the time scale of every unit of a recurrent layer over some data; definitions in `TimeScales`.

    Args:
        layer, inputs, lengths: as for `trace`; the more steps, the better.
        jacobians: for a cell without a gate: of how many steps of each part, drawn without replacement with
            ``seed``, the Jacobian's spectrum is taken.
        steps_at_once: of each sequence in memory at the same time.

    Raises:
        MeasureError: as for `trace`, or fewer than one Jacobian is asked for.
    """
    check_sizes(jacobians=jacobians, steps_at_once=steps_at_once)
    sample = sample_of(layer, inputs, lengths)
    gate = keeping_gate(sample.stack)
    sums: dict[str, _Sums] = {}
    if gate is not None:
        for piece in pieces_of(sample, steps_at_once):
            kept = piece.kept
            assert kept is not None
            sums.setdefault(piece.part.name, _Sums()).add(kept[piece.inside].double())
    else:
        chosen = _chosen(sample.inside, jacobians, seed)
        for piece in pieces_of(sample.double(), steps_at_once):
            moduli = _moduli(piece, chosen[piece.rows, piece.start : piece.start + piece.inside.shape[1]])
            sums.setdefault(piece.part.name, _Sums()).add(moduli)
    return TimeScales(
        {part: each.mean() for part, each in sums.items()},
        {part: each.lasting() for part, each in sums.items()},
        gate,
        None
        if gate
        else why_no_gate(sample.stack, "time scale of their own, only the directions of its Jacobian"),
        next(iter(sums.values())).count,
    )


class _Sums:
    """Of tau and of ln k over steps."""

    def __init__(self) -> None:
        self.tau: Tensor | float = 0.0
        self.log: Tensor | float = 0.0
        self.count = 0

    def add(self, kept: Tensor) -> None:
        """kept: (steps, units), 0 or more."""
        log = kept.log()
        # ln 0 = -inf gives 0, as it should; a factor of 1 or more never forgets
        self.tau = self.tau + torch.where(kept >= 1, torch.inf, -1 / log).sum(0)
        self.log = self.log + log.sum(0)
        self.count += len(kept)

    def mean(self) -> NDArray[np.float64]:
        assert isinstance(self.tau, Tensor)
        return (self.tau / self.count).cpu().numpy()

    def lasting(self) -> NDArray[np.float64]:
        assert isinstance(self.log, Tensor)
        return torch.where(self.log >= 0, torch.inf, -self.count / self.log).cpu().numpy()


def _chosen(inside: Tensor, count: int, seed: int) -> Tensor:
    """(batch, time) bool: ``count`` of the steps that exist, drawn without replacement, or all."""
    places = inside.nonzero()
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(seed))[:count]
    chosen = torch.zeros_like(inside)
    rows, steps = places[order.to(places.device)].unbind(1)
    chosen[rows, steps] = True
    return chosen


def _moduli(piece: TracePiece, chosen: Tensor) -> Tensor:
    """|lambda_j| of the Jacobian at the chosen steps of a piece, (steps, size) in falling order."""
    size = sum(each.shape[-1] for each in piece.before.values())
    found = [piece.input.new_empty(0, size)]
    # a few at a time: a Jacobian of hundreds of units is large
    for places in torch.split(chosen.nonzero(), 16):
        rows, steps = places.unbind(1)
        state = {name: each[rows, steps] for name, each in piece.before.items()}
        values = torch.linalg.eigvals(step_jacobian(piece.part.layer, piece.input[rows, steps], state))
        found.append(values.abs().sort(1, descending=True).values)
    return torch.cat(found)


def _number(steps: float) -> str:
    return f"{steps:,.3g}" if steps < 1000.0 else f"{steps:,.0f}"
