"""A case: who can do it, who does it right, how long each takes, and what that says of ours; as a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.record import append_row, processor_features, surroundings
from benchmarks.speed.cases import MEMORY_GROWTH, TIME_GROWTH, Case
from benchmarks.speed.jax_peer import jax_peers
from benchmarks.speed.layer_norm_peers import layer_norm_peers
from benchmarks.speed.memory import peak_bytes
from benchmarks.speed.neighbours import BUSY_CORES, Neighbours
from benchmarks.speed.onnx_peer import onnx_peers
from benchmarks.speed.ours import PREFIX, ours
from benchmarks.speed.parity import MismatchError, check
from benchmarks.speed.peak import peak
from benchmarks.speed.problem import Implementation, Problem, UnavailableError
from benchmarks.speed.row import summary, text, versions
from benchmarks.speed.threads import set_threads
from benchmarks.speed.timing import Timing, interleave
from benchmarks.speed.torch_peers import torch_peers

RESULTS = Path(__file__).parent / "results"
_SHORT = "ours over the short sequence"
Builders = Mapping[str, Callable[[], Implementation]]


class NotTimedError(Exception):
    """A case has no row; the message says why."""


@dataclass
class Entrants:
    """Who takes part: implementations whose answers are right; of the others, the reason."""

    entered: dict[str, Implementation] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


def measure(
    case: Case, threads: int, *, tiny: bool = False, rounds: int = 9, without: frozenset[str] = frozenset()
) -> dict[str, object]:
    """The row, printed and (unless tiny) appended to results/<group>.csv.

    without: names of peers that are to be left out. Raises NotTimedError where ours cannot do the case or is wrong.
    """
    set_threads(threads)
    place = surroundings()  # of the code that runs, whatever is committed meanwhile
    case = case.tiny() if tiny else case
    try:
        # The reference is a plain loop: over 100,000 steps it would take as long as all the rest.
        right = Problem.draw(replace(case, time=case.short_time) if case.short_time else case)
    except UnavailableError as error:
        raise NotTimedError(str(error)) from error
    entrants = _enter(right, threads, without)
    first = _ours_first(entrants)
    problem, timed, short = right, dict(entrants.entered), {}
    if case.short_time:
        problem = Problem.draw(case)
        builders = _builders(problem, threads)
        timed = {name: builders[name]() for name in entrants.entered}
        short = {_SHORT: entrants.entered[first]}
    size = 128 if tiny else 1536
    peaks = [peak(threads, size)]
    with Neighbours() as neighbours:
        timings = interleave(timed | short, rounds=2 if tiny else rounds, seconds=0.0 if tiny else 1.0)
    peaks.append(peak(threads, size))
    row = summary(
        problem,
        first,
        {name: timings[name] for name in timed},
        max(peaks),
        entrants.left_out | entrants.wrong,
    )
    if case.short_time:
        row["measured"] = text(_growth(case, timed[first], short[_SHORT], timings[first], timings[_SHORT]), 3)
    row |= {"threads": threads, "rounds": len(timings[first].samples), **place}
    row |= {"features": processor_features(), "versions": versions()}
    row["others_cores"] = "" if neighbours.cores is None else round(neighbours.cores, 2)
    _say(case, row)
    if not tiny:
        append_row(RESULTS / f"{case.group}.csv", row)
    return row


def _builders(problem: Problem, threads: int) -> Builders:
    return {
        **ours(problem),
        **torch_peers(problem),
        **layer_norm_peers(problem),
        **onnx_peers(problem, threads),
        **jax_peers(problem),
    }


def _enter(problem: Problem, threads: int, without: frozenset[str]) -> Entrants:
    """Build everybody, compare everybody's answer with the reference, and say of each that is left out why."""
    entrants, reference = Entrants(), problem.reference()
    for name, build in _builders(problem, threads).items():
        if name in without:
            entrants.left_out[name] = "not asked for"
            continue
        try:
            implementation = build()
            missing = check(implementation.answer(), reference)
        except MismatchError as error:
            entrants.wrong[name] = f"fails parity: {error}"
        except UnavailableError as error:
            entrants.left_out[name] = str(error)
        except Exception as error:
            # What fails in a library, such as torch.compile without a compiler, is that library's matter: the others
            # go on. Of ours, only a refusal may be passed over.
            if name.startswith(PREFIX) and not isinstance(error, ValueError):
                raise
            entrants.left_out[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        else:
            entrants.entered[name] = implementation
            if missing:
                print(f"{problem.case.name}: {name} does not give {', '.join(missing)}", flush=True)
    for name, reason in (entrants.left_out | entrants.wrong).items():
        print(f"{problem.case.name}: {name} is not timed: {reason}", flush=True)
    return entrants


def _ours_first(entrants: Entrants) -> str:
    """The implementation of ours that users get without asking: the row is about it.

    Raises NotTimedError where there is none, or where any of ours is wrong.
    """
    wrong = [f"{name} {reason}" for name, reason in entrants.wrong.items() if name.startswith(PREFIX)]
    names = [name for name in entrants.entered if name.startswith(PREFIX)]
    if wrong or not names:
        raise NotTimedError("; ".join(wrong) or "no implementation of ours can do it")
    return names[0]


def _growth(
    case: Case, long: Implementation, short: Implementation, long_timing: Timing, short_timing: Timing
) -> dict[str, float | None]:
    """Seconds and bytes a step of the long run by those of the short one."""
    assert case.short_time is not None
    longer = case.time / case.short_time
    long_bytes, short_bytes = peak_bytes(long.run), peak_bytes(short.run)
    memory = long_bytes / short_bytes / longer if long_bytes and short_bytes else None
    if memory is None:
        print(f"{case.name}: the system does not tell how much memory a call takes", flush=True)
    return {TIME_GROWTH: long_timing.median / short_timing.median / longer, MEMORY_GROWTH: memory}


def _say(case: Case, row: Mapping[str, object]) -> None:
    print(
        f"{case.name}: {row['threads']} threads: {row['ours']} {row['median_seconds']} s; "
        f"{row['share_of_peak_percent']} % of the peak; measured {row['measured']} (must {row['must']}); "
        f"medians {row['medians']}",
        flush=True,
    )
    if row["others_cores"] and float(str(row["others_cores"])) > BUSY_CORES:
        print(
            f"{case.name}: other processes kept {row['others_cores']} cores busy meanwhile: "
            "run it again on an idle machine before you believe it",
            flush=True,
        )
