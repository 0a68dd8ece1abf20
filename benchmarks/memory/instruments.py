"""The instruments against what is known: closed forms, ablation of a trained model, the same model as a black box.

A table on the terminal, and a row of results/instruments.csv for each case and measure.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.memory.ablation import MarkedBit
from benchmarks.memory.filters import FILTERS, Filter, NoisyRegister, register, white
from benchmarks.record import append_row, surroundings
from storyline.memory import Horizon, horizon

RESULTS = Path(__file__).parent / "results" / "instruments.csv"
# In the three bars of percent: what must hold, what is aimed at.
BARS = {"closed form": (5.0, 1.0), "ablation": (10.0, 5.0), "black box": (10.0, 0.0)}
SEQUENCES, PLANTED = 8192, 10_240
NOISY = NoisyRegister(0.95, 0.8, 48, 80)
BITS = (MarkedBit(40, 60), MarkedBit(100, 130))


@dataclass(frozen=True)
class Trial:
    """What one seed of a case gave: expected and found steps, and the interval."""

    expected: int
    found: int
    low: int
    high: int

    @property
    def error(self) -> float:
        """Percent of the expected."""
        return 100.0 * abs(self.found - self.expected) / self.expected


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "instruments", description=__doc__, help="the instruments against what is known"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=tuple(BARS), default=None)
    parser.add_argument("--no-record", action="store_true", help="write no row")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    place = surroundings()
    cases = {"closed form": closed_forms, "ablation": ablations, "black box": black_boxes}
    for claim, take in cases.items():
        if options.only not in (None, claim):
            continue
        for case, measure, trials, seconds in take(options.seeds):
            row = summary(claim, case, measure, trials, seconds)
            print(
                f"{claim:11s}  {case:24s} {measure:15s} expected {row['expected']:24s} found {row['found']:24s} "
                f"worst error {row['worst_error_percent']:5.2f} %  in the interval {row['covered']}/{len(trials)}",
                flush=True,
            )
            if not options.no_record:
                append_row(RESULTS, {**row, **place})
    return 0


def summary(claim: str, case: str, measure: str, trials: list[Trial], seconds: float) -> dict[str, Any]:
    """A row: per seed what was expected and found, and the worst and mean error with its spread over seeds."""
    must, aim = BARS[claim]
    errors = np.array([trial.error for trial in trials])
    return {
        "claim": claim,
        "case": case,
        "measure": measure,
        "expected": " ".join(str(trial.expected) for trial in trials),
        "found": " ".join(str(trial.found) for trial in trials),
        "worst_error_percent": round(float(errors.max()), 3),
        "mean_error_percent": round(float(errors.mean()), 3),
        "spread_percent": round(float(errors.std(ddof=1)) if len(errors) > 1 else 0.0, 3),
        "covered": sum(trial.low <= trial.expected <= trial.high for trial in trials),
        "seeds": len(trials),
        "must_percent": must,
        "aim_percent": aim,
        "seconds": round(seconds, 2),
    }


Case = tuple[str, str, list[Trial], float]


def closed_forms(seeds: int) -> Iterator[Case]:
    for known in FILTERS:
        found, seconds = [], time.perf_counter()
        for seed in range(seeds):
            inputs = white(SEQUENCES, known.steps, seed)
            targets = known.run(inputs)[:, -1]
            measures = ("gradient", "counterfactual", "use")
            found.append(horizon(known.run, inputs, targets, pairings=1, measures=measures, seed=seed))
        seconds = time.perf_counter() - seconds
        for measure in measures:
            yield (
                known.name,
                measure,
                [_trial(h, measure, known.expected(measure)) for h in found],
                seconds / 3,
            )
    yield _recalled(register(30, 120), 29, seeds)
    begun, trials = time.perf_counter(), []
    for seed in range(seeds):
        inputs = NOISY.draw(PLANTED, torch.Generator().manual_seed(seed))
        h = horizon(NOISY.run, inputs, measures=("recall",), planted=PLANTED, seed=seed)
        trials.append(_trial(h, "recall", NOISY.expected(0.5, PLANTED)))
    yield NOISY.name, "recall", trials, time.perf_counter() - begun


def _recalled(known: Filter, expected: int, seeds: int) -> Case:
    begun, trials = time.perf_counter(), []
    for seed in range(seeds):
        inputs = torch.randn(512, known.steps, 1, generator=torch.Generator().manual_seed(seed))
        trials.append(_trial(horizon(known.run, inputs, measures=("recall",), seed=seed), "recall", expected))
    return known.name, "recall", trials, time.perf_counter() - begun


def ablations(seeds: int) -> Iterator[Case]:
    for task in BITS:
        by_measure: dict[str, list[Trial]] = {"counterfactual": [], "use": []}
        begun = time.perf_counter()
        for seed in range(seeds):
            model = task.train(seed)
            generator = torch.Generator().manual_seed(1000 + seed)
            reach = task.ablated(model, generator)
            if reach is None:
                raise RuntimeError(
                    f"seed {seed} has not learned {task}; its memory cannot be known by ablation"
                )
            inputs, answers = task.draw(512, generator)
            h = horizon(model, inputs, answers, measures=tuple(by_measure), seed=seed)
            by_measure["counterfactual"].append(_trial(h, "counterfactual", reach))
            # a context of k steps holds the lags 0 ... k - 1
            by_measure["use"].append(_trial(h, "use", reach + 1))
        seconds = time.perf_counter() - begun
        for measure, trials in by_measure.items():
            yield f"marked bit {task.lag} back", measure, trials, seconds / 2


def black_boxes(seeds: int) -> Iterator[Case]:
    by_measure: dict[str, list[Trial]] = {"counterfactual": [], "recall": [], "use": []}
    begun = time.perf_counter()
    for seed in range(seeds):
        torch.manual_seed(seed)
        layer = torch.nn.LSTM(8, 32, batch_first=True)
        with torch.no_grad():
            layer.bias_ih_l0[32:64] = 2.0
        inputs = torch.randn(256, 200, 8)
        targets = layer(inputs)[0][:, -1].detach()

        def black(array: np.ndarray, layer: torch.nn.LSTM = layer) -> np.ndarray:
            with torch.no_grad():
                return layer(torch.from_numpy(array))[0].numpy()

        measures = tuple(by_measure)
        white = horizon(layer, inputs, targets, measures=measures, seed=seed)
        blind = horizon(black, inputs.numpy(), targets.numpy(), measures=measures, seed=seed)
        for measure, trials in by_measure.items():
            trials.append(_trial(blind, measure, max(1, getattr(white, measure).steps)))
    seconds = time.perf_counter() - begun
    for measure, trials in by_measure.items():
        yield "LSTM 32, forget bias 2", measure, trials, seconds / 3


def _trial(h: Horizon, name: str, expected: int) -> Trial:
    taken = h.measures[name]
    return Trial(expected, taken.steps, taken.low, taken.high)
