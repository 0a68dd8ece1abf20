"""A benchmark of a task: real data, a trivial baseline in the same run, seeds, one row."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from benchmarks.record import append_row, surroundings

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Outcome:
    """One seed: the number reported, the seconds of training (wall clock), and what else is worth a column."""

    value: float
    seconds: float
    parameters: int
    details: dict[str, float] = field(default_factory=dict)


# A bar that hangs on the run itself: from the baselines and the mean details of the seeds.
Must = Callable[[Mapping[str, float], Mapping[str, float]], float]


@dataclass(frozen=True)
class Benchmark:
    """What is measured.

    `run(seed, tiny)` trains and measures one seed, on as many threads as torch has; `baselines(tiny)` returns name ->
    value on the same split, in the same unit. `tiny` runs everything at a size that takes seconds, so that the suite
    can keep it from rotting: its numbers mean nothing and are not recorded.
    """

    name: str
    data: tuple[str, ...]  # folders of the real data, of SOURCES
    title: str
    metric: str
    must: float | Must | None
    aim: float | None
    higher_is_better: bool
    baselines: Callable[[bool], dict[str, float]]
    run: Callable[[int, bool], Outcome]
    model: str


def measure(
    benchmark: Benchmark, seeds: list[int], *, threads: int = 1, jobs: int = 1, tiny: bool = False
) -> dict[str, object]:
    """Baselines and every seed; the row, printed and (unless tiny) appended to results/<name>.csv.

    threads  of a seed; jobs: seeds that run side by side, in processes of their own
    """
    torch.set_num_threads(threads)
    place = surroundings()  # of the code that runs, whatever is committed meanwhile
    began = time.perf_counter()
    baselines = benchmark.baselines(tiny)
    for name, value in baselines.items():
        print(f"{benchmark.name}: {name}: {value:.4f}", flush=True)
    baseline_seconds = time.perf_counter() - began
    outcomes = []
    for seed, outcome in zip(seeds, _outcomes(benchmark, seeds, threads, jobs, tiny), strict=True):
        outcomes.append(outcome)
        more = "  ".join(f"{name} {value:.4f}" for name, value in outcome.details.items())
        print(
            f"{benchmark.name}: seed {seed}: {outcome.value:.4f} in {outcome.seconds:.0f} s  {more}",
            flush=True,
        )
    row = summarise(benchmark, baselines, baseline_seconds, seeds, outcomes, jobs) | place
    if not tiny:
        append_row(RESULTS / f"{benchmark.name}.csv", row)
    return row


def _outcomes(
    benchmark: Benchmark, seeds: list[int], threads: int, jobs: int, tiny: bool
) -> Iterator[Outcome]:
    if jobs == 1:
        yield from (_one(benchmark.name, seed, threads, tiny) for seed in seeds)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        count = len(seeds)
        yield from pool.map(_one, [benchmark.name] * count, seeds, [threads] * count, [tiny] * count)


def _one(name: str, seed: int, threads: int, tiny: bool) -> Outcome:
    """One seed, with the processor's seconds of all its threads, evaluation included, among the details."""
    # By its name, because functions do not travel to another process.
    from benchmarks.tasks.catalogue import BENCHMARKS

    torch.set_num_threads(threads)
    began = time.process_time()
    outcome = BENCHMARKS[name].run(seed, tiny)
    return replace(outcome, details=outcome.details | {"cpu seconds": time.process_time() - began})


def summarise(
    benchmark: Benchmark,
    baselines: dict[str, float],
    baseline_seconds: float,
    seeds: list[int],
    outcomes: list[Outcome],
    jobs: int,
) -> dict[str, object]:
    values = [outcome.value for outcome in outcomes]
    details = {
        name: round(statistics.fmean(outcome.details[name] for outcome in outcomes), 4)
        for name in outcomes[0].details
    }
    details["seeds side by side"] = jobs
    must = benchmark.must(baselines, details) if callable(benchmark.must) else benchmark.must
    return {
        "benchmark": benchmark.name,
        "metric": benchmark.metric,
        "mean": round(statistics.fmean(values), 4),
        "spread": round(statistics.stdev(values), 4) if len(values) > 1 else 0.0,
        "lowest": round(min(values), 4),
        "highest": round(max(values), 4),
        "seeds": " ".join(str(seed) for seed in seeds),
        "values": " ".join(f"{value:.4f}" for value in values),
        "baselines": "; ".join(f"{name}: {value:.4f}" for name, value in baselines.items()),
        "must": "" if must is None else round(must, 4),
        "aim": "" if benchmark.aim is None else benchmark.aim,
        "seconds_per_seed": round(statistics.fmean(outcome.seconds for outcome in outcomes), 1),
        "slowest_seed_seconds": round(max(outcome.seconds for outcome in outcomes), 1),
        "baseline_seconds": round(baseline_seconds, 1),
        "parameters": outcomes[0].parameters,
        "threads": torch.get_num_threads(),
        "model": benchmark.model,
        "details": "; ".join(f"{name}: {value}" for name, value in details.items()),
    }
