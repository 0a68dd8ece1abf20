"""Units of a recurrent layer that do no work: saturated, dead, never forgetting; each by name, over real data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from storyline.layers import Recurrent, State
from storyline.memory.inside.keeping import keeping_gate, why_no_gate
from storyline.memory.inside.layer_trace import TracePiece, pieces_of
from storyline.memory.inside.sample import sample_of
from storyline.memory.steps import MeasureError, check_sizes

MARGIN, SHARE, DEAD = 0.01, 0.95, 1e-6


@dataclass(frozen=True)
class UnitFault:
    """One unit, and what is the matter with it.

    kind: ``"saturated"``, ``"dead"`` or ``"never forgets"``, see `unit_faults`.
    part: ``"layer 1"``, ``"layer 2, backward"``; suffix: torch.nn's, ``_l0``; unit: its index, from 0.
    name: of the gate that is saturated, or of the state that is dead, as in `LayerTrace`: ``"f"``, ``"h"``; of one that
        never forgets, the state that is kept.
    share: saturated: of the steps at which the gate is at either end; dead: the state's variance, as a share of that
        of a typical unit; never forgets: of the sequences that it outlasts.
    end: the end at which a saturated gate is at most of those steps: 0 or 1, of a tanh -1 or 1; else None.
    """

    kind: str
    part: str
    suffix: str
    unit: int
    name: str
    share: float
    end: int | None = None

    def __str__(self) -> str:
        """One sentence."""
        who = f"{self.part}, unit {self.unit}"
        if self.kind == "saturated":
            where = f"at an end of its range at {self.share:.1%} of the steps, mostly at {self.end}"
            return f"{who}: {self.name} is {where}"
        if self.kind == "dead":
            return f"{who}: {self.name} hardly moves, its variance is {self.share:.1e} of a typical unit's"
        return f"{who}: keeps more than half of {self.name} through the whole of {self.share:.1%} of the sequences"


@dataclass(frozen=True)
class UnitFaults:
    """What `unit_faults` found.

    steps, sequences: over how many; units: how many each part has; note: what could not be asked, None where all could.
    """

    faults: tuple[UnitFault, ...]
    units: dict[str, int]
    steps: int
    sequences: int
    note: str | None

    def of(self, kind: str) -> tuple[UnitFault, ...]:
        """Those of one kind: ``"saturated"``, ``"dead"``, ``"never forgets"``."""
        return tuple(each for each in self.faults if each.kind == kind)

    def __str__(self) -> str:
        """A line for the whole, and one a fault."""
        counts = ", ".join(f"{len(self.of(kind))} {kind}" for kind in ("saturated", "dead", "never forgets"))
        head = f"{sum(self.units.values())} units over {self.steps:,} steps: {counts}"
        return "\n".join([head, *map(str, self.faults)])


def unit_faults(
    layer: nn.Module,
    inputs: Tensor | PackedSequence,
    lengths: Tensor | Sequence[int] | None = None,
    state: State | None = None,
    *,
    steps_at_once: int = 256,
) -> UnitFaults:
    """Name the units of a recurrent layer that are saturated, dead or never forget, over some data.

    saturated       a gate lies within .01 of an end of its range, 0 or 1, of a tanh (g, n; h of an RNN) -1 or 1, at
                    95 % of the steps or more: its derivative there is 4 % or less of its largest, of a tanh 2 %.
    dead            the variance over all steps of a state, h, and c where there is one, is below 1e-6 of a typical
                    unit's: the median over those units whose variance is not itself below 1e-12 of the largest. Where
                    no unit moves at all, all are dead.
    never forgets   the gate that keeps (see `keeping`) lies within .01 of 1 at 95 % of the steps or more, and the
                    product of its values over the whole sequence is above one half in 95 % of the sequences or more.
                    Such a unit is saturated too.

    Arguments and errors as for `trace`; besides, MeasureError where there are fewer than 2 steps in all.
    """
    check_sizes(steps_at_once=steps_at_once)
    sample = sample_of(layer, inputs, lengths, state)
    steps = int(sample.lengths.sum())
    if steps < 2:
        raise MeasureError("the data has 1 step in all; at least 2 are needed to see whether a unit moves")
    found: dict[str, _Tally] = {}
    for piece in pieces_of(sample, steps_at_once):
        found.setdefault(piece.part.name, _Tally(piece, len(sample.lengths))).add(piece)
    faults = [fault for tally in found.values() for fault in tally.faults(steps)]
    units = {part: tally.size for part, tally in found.items()}
    note = None if keeping_gate(sample.stack) else why_no_gate(sample.stack, "way to never forget")
    return UnitFaults(tuple(faults), units, steps, len(sample.lengths), note)


def _bottoms(layer: Recurrent) -> dict[str, int]:
    """The lower end of each gate's range by its letter: 0 of a sigmoid, -1 of a tanh; the upper one is 1."""
    kind = layer.cell.name
    if kind == "slstm":  # whose i and f are exponentials, one of them 1 at every step
        return {"z": -1, "o": 0}
    if kind == "rnn_tanh":
        return {"h": -1}
    if keeping_gate(layer) is None:
        return {}
    return {name: -1 if name in "gn" else 0 for name in layer.cell.gates}


@dataclass
class _Moments:
    """Mean and sum of squared deviations, merged chunk by chunk (Chan et al. 1983): a constant has exactly 0."""

    count: int = 0
    mean: Tensor | float = 0.0
    squares: Tensor | float = 0.0

    def add(self, values: Tensor) -> None:
        """values: (steps, units) float64."""
        if not len(values):
            return
        # from the first value on, so that a constant's mean is that constant to the last digit
        mean = values[0] + (values - values[0]).mean(0)
        total = self.count + len(values)
        away = mean - self.mean
        self.squares = self.squares + (values - mean).square().sum(0)
        if self.count:
            self.squares = self.squares + away.square() * self.count * len(values) / total
        self.mean = self.mean + away * len(values) / total if self.count else mean
        self.count = total

    def variance(self) -> Tensor:
        assert isinstance(self.squares, Tensor)
        return self.squares / self.count


class _Tally:
    """What is counted of one part."""

    def __init__(self, piece: TracePiece, sequences: int) -> None:
        self.part, self.size = piece.part, piece.part.layer.hidden_size
        self.low: dict[str, Tensor] = {}
        self.high: dict[str, Tensor] = {}
        self.bottom: dict[str, int] = {}
        self.moments: dict[str, _Moments] = {}
        self.kept_high = torch.zeros(self.size, dtype=torch.int64, device=piece.input.device)
        self.log_kept = torch.zeros(sequences, self.size, dtype=torch.float64, device=piece.input.device)

    def add(self, piece: TracePiece) -> None:
        real = piece.inside
        for name, bottom in _bottoms(piece.part.layer).items():
            here = piece.gates.get(name, piece.after["h"])[real]
            self.bottom[name] = bottom
            self.low[name] = self.low.get(name, 0) + (here <= bottom + MARGIN).sum(0)
            self.high[name] = self.high.get(name, 0) + (here >= 1 - MARGIN).sum(0)
        for name in ("h", "c"):
            if name in piece.after:
                self.moments.setdefault(name, _Moments()).add(piece.after[name][real].double())
        if (kept := piece.kept) is not None:
            self.kept_high += (kept[real] >= 1 - MARGIN).sum(0)
            self.log_kept[piece.rows] += torch.where(real.unsqueeze(-1), kept, 1).double().log().sum(1)

    def faults(self, steps: int) -> list[UnitFault]:
        where = (self.part.name, self.part.suffix)
        found = []
        for name, low in self.low.items():
            share = (low + self.high[name]).double() / steps
            for unit in (share >= SHARE).nonzero().flatten().tolist():
                end = 1 if self.high[name][unit] >= low[unit] else self.bottom[name]
                found.append(UnitFault("saturated", *where, unit, name, float(share[unit]), end))
        for name, moments in self.moments.items():
            variance = moments.variance()
            moving = variance[variance > 1e-12 * variance.max()]
            typical = moving.median() if len(moving) else variance.new_ones(())
            for unit in (variance < DEAD * typical).nonzero().flatten().tolist():
                found.append(UnitFault("dead", *where, unit, name, float(variance[unit] / typical)))
        outlasted = (self.log_kept > -math.log(2)).double().mean(0)
        never = (self.kept_high >= SHARE * steps) & (outlasted >= SHARE)
        name = "c" if "c" in self.moments else "h"
        for unit in never.nonzero().flatten().tolist():
            found.append(UnitFault("never forgets", *where, unit, name, float(outlasted[unit])))
        return found
