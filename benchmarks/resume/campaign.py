"""Many runs, each killed again and again until it comes to its end; then compared with one never killed."""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from benchmarks.resume.killing import Kill, outcome, run_once
from benchmarks.resume.programs import CASES

_MOST_KILLS_A_RUN = 4


@dataclass
class Tally:
    """What a campaign counted."""

    timed_kills: int = 0
    operation_kills: int = 0
    runs: int = 0
    mismatches: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return self.timed_kills + self.operation_kills


@dataclass(frozen=True)
class Reference:
    """A run never killed: what it left, how long it took, its operations on the disk, save by save."""

    left: dict[str, str]
    seconds: float
    saves: list[list[str]]


def campaign(kills: int, saves: int, seed: int, folder: Path, say: Callable[[str], None]) -> Tally:
    """Kill at every operation of `saves` saves of each case, then at least `kills` times at random."""
    chance, tally = random.Random(seed), Tally()
    references = {case: _reference(case, folder) for case in CASES}
    for case, reference in references.items():
        if CASES[case][1].checkpoint_seconds is not None:
            continue  # its operations are other ones in each run: a number would not name a place
        for kill in _points(reference.saves, saves):
            _one_run(case, reference, folder, iter([kill]), tally)
        say(f"{case}: {tally.operation_kills} kills at operations, {len(tally.mismatches)} mismatches")
    said = 0
    while tally.timed_kills < kills:
        case = chance.choice(list(CASES))
        reference = references[case]
        longest = reference.seconds * chance.choice((0.2, 0.5, 1.0))
        times = (Kill(seconds=chance.uniform(0, longest)) for _ in range(_MOST_KILLS_A_RUN))
        _one_run(case, reference, folder, times, tally)
        if tally.timed_kills - said >= 25:
            said = tally.timed_kills
            say(f"{said} kills at random times, {len(tally.mismatches)} mismatches")
    return tally


def _reference(case: str, folder: Path) -> Reference:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        run, count = Path(place) / "run", Path(place) / "operations"
        begun = time.perf_counter()
        run_once(case, run, resume=False, kill=None, count=count)
        return Reference(outcome(run), time.perf_counter() - begun, json.loads(count.read_text()))


def _points(saves: list[list[str]], wanted: int) -> list[Kill]:
    """Every operation of some saves as a place to die: before it, and for writes also with half written.

    Of the saves first the last checkpoint (after it nothing is computed that could mend it), then the model's,
    then other checkpoints from the middle outwards.
    """
    model, last = len(saves) - 1, len(saves) - 2
    order = [last, model, *sorted(range(last), key=lambda i: abs(i - last // 2))]
    starts = [0, *accumulate(len(save) for save in saves)]
    points = []
    for save in order[:wanted]:
        for number, name in enumerate(saves[save], starts[save]):
            points.append(Kill(operation=number))
            if name == "write":
                points.append(Kill(operation=number, half=True))
    return points


def _one_run(case: str, reference: Reference, folder: Path, kills: Iterator[Kill], tally: Tally) -> None:
    """Start, kill, resume, kill, ..., resume to the end, compare."""
    tally.runs += 1
    with tempfile.TemporaryDirectory(dir=folder) as place:
        run, used = Path(place) / "run", []
        for kill in kills:
            if run_once(case, run, resume=run.exists(), kill=kill):
                break  # it came to its end before the kill
            used.append(kill)
            tally.timed_kills += kill.seconds is not None
            tally.operation_kills += kill.operation is not None
        run_once(case, run, resume=True, kill=None)
        left = outcome(run)
        differing = sorted(
            name for name in left.keys() | reference.left.keys() if left.get(name) != reference.left.get(name)
        )
        if differing:
            tally.mismatches.append(f"{case}: after {used} these differ: {', '.join(differing)}")
