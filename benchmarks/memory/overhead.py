"""What `horizon` costs beside one evaluation of the same data, alternating, on one thread; results/overhead.csv."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import append_row, surroundings
from storyline.memory import horizon

RESULTS = Path(__file__).parent / "results" / "overhead.csv"
# (sequences, steps, channels, hidden size)
SIZES = ((64, 200, 32, 64), (256, 500, 32, 64), (256, 200, 16, 128), (1024, 200, 32, 64))
# Those that are also measured as the hidden part of a model that remembers, of which nothing is known but its answers.
REMEMBERING = SIZES[:2]
FORGET_BIAS = 3.0


class Remembering(torch.nn.Module):
    """A layer whose forget gates stand open at first, and a linear head."""

    def __init__(self, layer: torch.nn.LSTM, classes: int) -> None:
        super().__init__()
        self.layer, self.head = layer, torch.nn.Linear(layer.hidden_size, classes)
        size = layer.hidden_size
        with torch.no_grad():
            layer.bias_ih_l0[size : 2 * size] = FORGET_BIAS  # type: ignore[index, union-attr, operator]

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.head(self.layer(inputs)[0]))


MUST, AIM = 20.0, 5.0


def add_to(commands: Any) -> None:
    parser = commands.add_parser("overhead", description=__doc__, help="horizon's cost in evaluations")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-record", action="store_true", help="write no row")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    place = surroundings()
    for name, model, inputs in cases():
        with torch.no_grad():
            said = model(inputs)
        targets = (said[0] if isinstance(said, tuple) else said)[:, -1]
        for case, given in (("without targets", None), ("with targets", targets)):
            ratios, evaluation, whole = compare(model, inputs, given, options.repeats)
            row = {
                "case": f"{name}, {case}",
                "evaluation_ms": round(1e3 * evaluation, 1),
                "horizon_ms": round(1e3 * whole, 1),
                "ratio": round(statistics.median(ratios), 2),
                "lowest": round(min(ratios), 2),
                "highest": round(max(ratios), 2),
                "repeats": options.repeats,
                "must": MUST,
                "aim": AIM,
                **place,
            }
            print(
                f"{row['case']:56s} {row['ratio']:6.2f} x ({row['lowest']} to {row['highest']})", flush=True
            )
            if not options.no_record:
                append_row(RESULTS, row)
    return 0


def cases() -> Iterator[tuple[str, torch.nn.Module, torch.Tensor]]:
    """(name, model, inputs (batch, time, channels)), one after the other."""
    for sequences, steps, channels, hidden in SIZES:
        torch.manual_seed(0)
        layer = torch.nn.LSTM(channels, hidden, batch_first=True)
        inputs = torch.randn(sequences, steps, channels)
        name = f"nn.LSTM({channels}, {hidden}), {sequences} x {steps}"
        yield name, layer, inputs
        if (sequences, steps, channels, hidden) in REMEMBERING:
            model = Remembering(layer, 4)
            yield f"{name}, forget bias {FORGET_BIAS:g}, in a module with a head", model, inputs


def compare(
    model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor | None, repeats: int
) -> tuple[list[float], float, float]:
    """Ratios of the two times, turn by turn, and the medians of both in seconds."""

    def evaluate() -> None:
        with torch.no_grad():
            model(inputs)

    def measure() -> None:
        horizon(model, inputs, targets)

    evaluate(), measure()
    pairs = [(_seconds(evaluate), _seconds(measure)) for _ in range(repeats)]
    ratios = [whole / once for once, whole in pairs]
    return ratios, statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs)


def _seconds(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
