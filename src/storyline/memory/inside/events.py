"""What a recurrent layer wrote, kept and erased while it read one sequence, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from storyline.memory.inside.keeping import held, why_no_gate
from storyline.memory.inside.layer_trace import LayerTrace
from storyline.memory.inside.sample import inside
from storyline.memory.steps import MeasureError, check_sizes

# A gate below one half erases by itself, however far below: so much of its logarithm is enough, and never infinite.
_LOWEST = 0.25


@dataclass(frozen=True)
class MemoryEvent:
    """Something that some units of a layer wrote at one step and kept; definitions in `memory_events`.

    part: ``"layer 1"``; units: their indices, the largest write first.
    written: the step, from 0; token: what was read there. kept: for how many steps.
    erased: the step at which it was, None where it was kept to the end; eraser: what was read there.
    strength: sum over the units of the write, in units of their typical state, times the steps kept.
    unit: what a step is called.
    """

    part: str
    units: tuple[int, ...]
    written: int
    token: str
    kept: int
    erased: int | None
    eraser: str | None
    strength: float
    unit: str

    @property
    def sentence(self) -> str:
        """``wrote 'XG-1000' at word 14, kept it 212 words, erased at 'goodbye'``; steps are counted from 1."""
        length = f"{self.kept:,} {self.unit}{'' if self.kept == 1 else 's'}"
        end = f"erased at {self.eraser!r}" if self.erased is not None else "to the end"
        return f"wrote {self.token!r} at {self.unit} {self.written + 1:,}, kept it {length}, {end}"

    def __str__(self) -> str:
        """The sentence, and who it was."""
        many = f"unit {self.units[0]}" if len(self.units) == 1 else f"{len(self.units)} units"
        return f"{self.sentence} ({self.part}, {many})"


def memory_events(
    trace: LayerTrace,
    tokens: Sequence[str],
    *,
    row: int = 0,
    strongest: int = 5,
    threshold: float = 1.0,
    unlike: float = 3.0,
    shortest: int = 2,
    unit: str = "word",
) -> tuple[MemoryEvent, ...]:
    """The strongest events of one sequence of a trace, in the order in which they were written.

    A unit's typical state is the root of the mean square of what it holds (c of an LSTM, h of a GRU, see `keeping`),
    and w_t = s_t - k_t s_(t-1), i g of an LSTM, what a step writes to it. How unlike the usual write one is, all units
    of a layer together, is its distance from the mean, 1 in the mean square,

        d_t = sqrt((w_t - w)^T C^-1 (w_t - w) / units)

    C the covariance of the writes, shrunk as in Ledoit and Wolf 2004. All of these are over all steps of all
    sequences of the trace. A unit that adds a little at every step holds far more than any one write; it is d_t that
    finds the write that matters. Then

        written     at a step t, to the units whose |w_t| is at least ``threshold`` times their typical state; and,
                    where d_t is at least ``unlike``, to those that carry it: |w_t - w| in units of its standard
                    deviation is at least half of the largest of the layer
        kept        while the product k_(t+1) ... k_e of the gate that keeps is at least one half
        erased      at the first step e where it is below; kept is e - t

    Units of a layer that wrote at the same step and kept for about as long (a fifth less at most, or 2 steps) make one
    event, erased when most of them, by the size of the write, erased. That a unit's value was cancelled by an opposite
    write is no erasure here, and backward directions are left out, since they read the end first.

    Args:
        trace: of a layer with gates that keep.
        tokens: what was read at each step of the sequence, as words: as many as its length.
        row: the sequence.
        strongest: how many events, by strength.
        threshold, unlike: above 0; see above.
        shortest: events that were kept for fewer steps are left out.
        unit: what a step is called, in the singular.

    Raises:
        MeasureError: the layer has no gate that keeps; tokens or row do not fit the trace.
    """
    check_sizes(strongest=strongest, shortest=shortest)
    if not (threshold > 0 and unlike > 0):
        raise MeasureError(f"threshold is {threshold}, unlike {unlike}; numbers above 0 were wanted")
    words = words_of(trace, tokens, row)
    last, found = len(words) - 1, []
    for part, end in trace.parts.items():
        if end.endswith("_reverse"):
            continue
        gates, sizes = gates_of(trace, part, row)
        writes = (sizes >= threshold) | _carriers(trace, part, row, unlike)
        for step, units, erased, strength in _events(gates, sizes, writes):
            eraser = None if erased is None else words[erased]
            kept = (last if erased is None else erased) - step
            found.append(MemoryEvent(part, units, step, words[step], kept, erased, eraser, strength, unit))
    found = sorted((each for each in found if each.kept >= shortest), key=lambda each: -each.strength)
    return tuple(sorted(found[:strongest], key=lambda each: (each.written, -each.strength)))


def words_of(trace: LayerTrace, tokens: Sequence[str], row: int) -> list[str]:
    """The tokens of a row of a trace, if they are one a step."""
    rows = len(trace.lengths)
    if not 0 <= row < rows:
        raise MeasureError(f"row is {row}; the trace has {rows} sequences, 0 to {rows - 1}")
    steps = int(trace.lengths[row])
    if isinstance(tokens, str) or len(tokens) != steps:
        came = "one string" if isinstance(tokens, str) else f"{len(tokens)}"
        raise MeasureError(
            f"tokens are {came}, and sequence {row} has {steps} steps; a word for each was wanted"
        )
    return [str(each) for each in tokens]


def gates_of(trace: LayerTrace, part: str, row: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of one sequence, in the order of the data: (k_t, |write| / typical state), (steps, units) each."""
    kept, written = trace.kept(part), trace.written(part)
    if kept is None or written is None:
        raise MeasureError(why_no_gate(trace.layer, "writes and erasures to tell apart").rstrip("."))
    steps = int(trace.lengths[row])
    after = held(trace.around(part)[1]).double()
    typical = after[inside(trace.lengths, after.shape[1])].square().mean(0).sqrt()
    size = written[row, :steps].double().abs()
    # a unit that holds nothing at all writes nothing either
    relative = size / typical.where(typical > 0, 1.0)
    return kept[row, :steps].double().cpu().numpy(), relative.cpu().numpy()


def _carriers(trace: LayerTrace, part: str, row: int, unlike: float) -> NDArray[np.bool_]:
    """(steps, units): the units that carry a write unlike the usual; see `memory_events`."""
    written = trace.written(part)
    assert written is not None
    real = inside(trace.lengths, written.shape[1])
    own = written[row, : int(trace.lengths[row])].double().cpu().numpy()
    usual = written[real].double().cpu().numpy()
    spread = usual.std(0)
    # up to rounding; a unit that is written alike at every step says nothing
    alive = spread > 1e-12 * max(spread.max(), 1e-300)
    carries = np.zeros(own.shape, dtype=bool)
    if len(usual) < 2 or not alive.any():
        return carries
    mean, spread = usual[:, alive].mean(0), spread[alive]
    z = (own[:, alive] - mean) / spread
    shape = ledoit_wolf((usual[:, alive] - mean) / spread, assume_centered=True)[0]
    distance = np.sqrt((z * np.linalg.solve(shape, z.T).T).mean(1))
    most = np.abs(z).max(1, keepdims=True)
    carries[:, alive] = (distance >= unlike)[:, None] & (np.abs(z) >= 0.5 * most)
    return carries


def _events(
    kept: NDArray[np.float64], sizes: NDArray[np.float64], writes: NDArray[np.bool_]
) -> list[tuple[int, tuple[int, ...], int | None, float]]:
    """(written, units, erased, strength) of every event of a part; all arguments (steps, units)."""
    steps = len(kept)
    fallen = np.cumsum(-np.log(kept.clip(_LOWEST, 1.0)), axis=0)
    by_step: dict[int, list[tuple[int, int, float]]] = {}
    for step, unit in np.argwhere(writes).tolist():
        # strictly below one half, up to rounding; a step beyond the last says that it never was
        limit = fallen[step, unit] + math.log(2.0) + 1e-9
        erased = int(np.searchsorted(fallen[:, unit], limit, side="right"))
        by_step.setdefault(step, []).append((erased, unit, float(sizes[step, unit])))
    found = []
    for step, those in by_step.items():
        for group in _alike(step, those):
            weight: dict[int, float] = {}
            for erased, _, size in group:
                weight[erased] = weight.get(erased, 0.0) + size
            end = max(weight, key=lambda each: (weight[each], each))
            strength = sum(size * (min(erased, steps - 1) - step) for erased, _, size in group)
            units = tuple(unit for _, unit, _ in sorted(group, key=lambda each: -each[2]))
            found.append((step, units, end if end < steps else None, strength))
    return found


def _alike(step: int, writes: list[tuple[int, int, float]]) -> list[list[tuple[int, int, float]]]:
    """Writes (erased, unit, size) of one step, in groups that were kept for about as long."""
    groups: list[list[tuple[int, int, float]]] = []
    for write in sorted(writes, reverse=True):
        longest = groups[-1][0][0] - step if groups else 0
        if groups and write[0] - step >= min(0.8 * longest, longest - 2):
            groups[-1].append(write)
        else:
            groups.append([write])
    return groups
