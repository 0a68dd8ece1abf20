"""A row: what the timings of a case say of ours, beside the others and beside the machine's peak."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping

from benchmarks.speed.cases import OTHERS, PEAK
from benchmarks.speed.ours import PREFIX
from benchmarks.speed.problem import Problem
from benchmarks.speed.timing import Timing


def summary(
    problem: Problem,
    first: str,
    timings: Mapping[str, Timing],
    best_peak: tuple[float, str],
    left_out: Mapping[str, str],
) -> dict[str, object]:
    """The columns that the timings decide.

    first: the name of ours; best_peak: flop/s and how they were found; left_out: name -> reason.
    """
    case, mine = problem.case, timings[first]
    others = {name: timing for name, timing in timings.items() if not name.startswith(PREFIX)}
    best = min(others, key=lambda name: others[name].median, default="")
    ratio = others[best].median / mine.median if best else None
    ratio_minimum = min(timing.minimum for timing in others.values()) / mine.minimum if best else None
    flops = case.flops(problem.row_steps)
    share = 100 * flops / mine.median / best_peak[0]
    measured = {bar.against: _against(bar.against, others, mine) for bar in case.bars}
    measured = {name: {OTHERS: ratio, PEAK: share}.get(name, value) for name, value in measured.items()}
    q1, median, q3 = mine.quartiles
    return {
        "case": case.name,
        "ours": first,
        "minimum_seconds": digits(mine.minimum),
        "q1_seconds": digits(q1),
        "median_seconds": digits(median),
        "q3_seconds": digits(q3),
        "best_other": best,
        "best_other_seconds": digits(others[best].median) if best else "",
        "ratio": "" if ratio is None else round(ratio, 3),
        "ratio_of_minima": "" if ratio_minimum is None else round(ratio_minimum, 3),
        "medians": text({name: timing.median for name, timing in timings.items()}, None),
        "cores": text({name: timing.cores for name, timing in timings.items()}, 2),
        "left_out": "; ".join(f"{name}: {reason}" for name, reason in left_out.items()),
        "flops": flops,
        "peak_flops_per_second": digits(best_peak[0]),
        "peak_by": best_peak[1],
        "share_of_peak_percent": round(share, 2),
        "must": text({bar.against: bar.must for bar in case.bars}, None),
        "aim": text({bar.against: bar.aim for bar in case.bars}, None),
        "measured": text(measured, 3),
    }


def _against(family: str, others: Mapping[str, Timing], mine: Timing) -> float | None:
    medians = [timing.median for name, timing in others.items() if name.startswith(family)]
    return min(medians) / mine.median if medians else None


def digits(value: float) -> str:
    return f"{value:.5g}"


def text(values: Mapping[str, float | None], decimals: int | None) -> str:
    """`name: value; name: value`, as `readme.pairs` reads it; nothing for None."""
    shown = {name: value for name, value in values.items() if value is not None}
    return "; ".join(
        f"{name}: {digits(value) if decimals is None else round(value, decimals)}"
        for name, value in shown.items()
    )


def versions() -> str:
    found = []
    for name in ("numpy", "onnxruntime", "jax"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return "; ".join(found)
