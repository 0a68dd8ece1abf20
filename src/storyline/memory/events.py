"""What a recurrent layer wrote, kept and erased while it read one sequence, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storyline.memory.keeping import held, why_no_gate
from storyline.memory.layer_trace import LayerTrace
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
    shortest: int = 2,
    unit: str = "word",
) -> tuple[MemoryEvent, ...]:
    """The strongest events of one sequence of a trace, in the order in which they were written.

    A unit's typical state is the root of the mean square of what it holds (c of an LSTM, h of a GRU, see `keeping`)
    over all steps of all sequences of the trace. Then, for each unit,

        written     at a step t whose write |s_t - k_t s_(t-1)| (i |g| of an LSTM) is at least ``threshold`` times the
                    typical state
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
        threshold: above 0; see above.
        shortest: events that were kept for fewer steps are left out.
        unit: what a step is called, in the singular.

    Raises:
        MeasureError: the layer has no gate that keeps; tokens or row do not fit the trace.
    """
    check_sizes(strongest=strongest, shortest=shortest)
    if not threshold > 0:
        raise MeasureError(f"threshold is {threshold}; a number above 0 was wanted")
    words = words_of(trace, tokens, row)
    last, found = len(words) - 1, []
    for part, end in trace.parts.items():
        if end.endswith("_reverse"):
            continue
        for step, units, erased, strength in _events(*gates_of(trace, part, row), threshold):
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
    real = after.new_zeros(after.shape[:2], dtype=after.dtype)
    for each, length in enumerate(trace.lengths.tolist()):
        real[each, :length] = 1
    typical = ((after.square() * real[..., None]).sum((0, 1)) / real.sum()).sqrt()
    size = written[row, :steps].double().abs()
    # a unit that holds nothing at all writes nothing either
    relative = size / typical.where(typical > 0, 1.0)
    return kept[row, :steps].double().cpu().numpy(), relative.cpu().numpy()


def _events(
    kept: NDArray[np.float64], sizes: NDArray[np.float64], threshold: float
) -> list[tuple[int, tuple[int, ...], int | None, float]]:
    """(written, units, erased, strength) of every event of a part; both arguments (steps, units)."""
    steps = len(kept)
    fallen = np.cumsum(-np.log(kept.clip(_LOWEST, 1.0)), axis=0)
    by_step: dict[int, list[tuple[int, int, float]]] = {}
    for step, unit in np.argwhere(sizes >= threshold).tolist():
        # strictly below one half, up to rounding; a step beyond the last says that it never was
        limit = fallen[step, unit] + math.log(2.0) + 1e-9
        erased = int(np.searchsorted(fallen[:, unit], limit, side="right"))
        by_step.setdefault(step, []).append((erased, unit, float(sizes[step, unit])))
    found = []
    for step, writes in by_step.items():
        for group in _alike(step, writes, steps):
            weight: dict[int, float] = {}
            for erased, _, size in group:
                weight[erased] = weight.get(erased, 0.0) + size
            end = max(weight, key=lambda each: (weight[each], each))
            strength = sum(size * (min(erased, steps - 1) - step) for erased, _, size in group)
            units = tuple(unit for _, unit, _ in sorted(group, key=lambda each: -each[2]))
            found.append((step, units, end if end < steps else None, strength))
    return found


def _alike(step: int, writes: list[tuple[int, int, float]], steps: int) -> list[list[tuple[int, int, float]]]:
    """Writes (erased, unit, size) of one step, in groups that were kept for about as long."""
    groups: list[list[tuple[int, int, float]]] = []
    for write in sorted(writes, reverse=True):
        longest = groups[-1][0][0] - step if groups else 0
        if groups and write[0] - step >= min(0.8 * longest, longest - 2):
            groups[-1].append(write)
        else:
            groups.append([write])
    return groups
