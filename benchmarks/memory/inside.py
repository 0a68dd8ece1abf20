"""Forget a fact, name events, compare decays, count the cost: a row a measurement in ``results/inside.csv``.

About five minutes on one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from benchmarks.memory.two_facts import CHANNELS, VALUES, accuracies, stories, trained, words
from benchmarks.record import append_row, surroundings
from storyline import GRU, LSTM, RNN
from storyline.memory import gradient_reach
from storyline.memory.inside.events import memory_events
from storyline.memory.inside.fact_states import Fact
from storyline.memory.inside.facts import probe_fact
from storyline.memory.inside.forgetting import forget
from storyline.memory.inside.layer_trace import trace, trace_pieces
from storyline.memory.inside.lyapunov import gradient_decay, lyapunov_exponents
from storyline.memory.inside.time_scales import time_scales
from storyline.memory.inside.units import unit_faults

_JOBS = ("forgetting", "events", "decays", "costs")
# (measure, value, reference, what the reference is)
Row = tuple[str, float, float, str]


def forgetting(seed: int, updates: int) -> Iterator[Row]:
    """Both facts of a trained network, forgotten one at a time, without and with the other kept."""
    lstm, head = trained(seed, 14, updates)
    before = accuracies(lstm, head, 14, 9, None)
    x, facts, _, _ = stories(1500, 14, 2)
    both = [Fact(x, facts[:, k], 8, name=name) for k, name in ((0, "A"), (1, "B"))]
    for k in (0, 1):
        for how, keep in (("alone", []), ("keeping the other", [both[1 - k]])):
            after = accuracies(lstm, head, 14, 9, forget(lstm, both[k], [0], keep))
            yield f"accuracy on {both[k].name} when it is forgotten, {how}", after[k], 1 / VALUES, "chance"
            yield (
                f"accuracy on {both[1 - k].name} when {both[k].name} is forgotten, {how}",
                after[1 - k],
                before[1 - k],
                "before",
            )


def events(seed: int, updates: int) -> Iterator[Row]:
    """Of the five strongest events of a story of 300 steps, how many are the writing of a fact; 20 stories."""
    lstm, _ = trained(seed, 80, updates)
    x, _, places, _ = stories(20, 300, 3)
    found = right = told = 0
    for row in range(20):
        seen = memory_events(trace(lstm, x[row]), words(x[row]))
        found, right = found + len(seen), right + sum(each.written in places[row] for each in seen)
        told += len({each.written for each in seen} & set(places[row].tolist()))
    yield "share of events that write a fact", right / max(found, 1), 2 / 300, "share of steps that hold one"
    yield "share of facts that have an event", told / 40, 5 * 2 / 300, "of five steps drawn at random"


def decays(seed: int) -> Iterator[Row]:
    """The largest Lyapunov exponent and the slope of the gradient, in nats a step, of layers as initialised."""
    for kind in (RNN, LSTM, GRU):
        torch.manual_seed(seed)
        layer = kind(8, 64, batch_first=True, dtype=torch.float64)
        x = torch.randn(16, 200, 8, dtype=torch.float64)
        largest = lyapunov_exponents(layer, x, top=1)["layer 1"].largest
        reach = gradient_reach(lambda leaf, layer=layer: layer(leaf)[0][:, -1], x)
        yield (
            f"largest exponent, {kind.__name__}(64), nats a step",
            largest,
            gradient_decay(reach),
            "slope of the gradient",
        )


def costs(seed: int) -> Iterator[Row]:
    """Seconds of each instrument on 16 sequences of 200 steps through nn.LSTM(64), and of one forward pass."""
    torch.manual_seed(seed)
    layer, x = nn.LSTM(CHANNELS, 64, batch_first=True), stories(16, 200, seed)[0]
    many, facts, _, _ = stories(400, 40, seed)
    fact = Fact(many, facts[:, 0], 5, name="A")
    tasks: dict[str, Callable[[], object]] = {
        "trace": lambda: trace(layer, x),
        "trace_pieces": lambda: list(trace_pieces(layer, x)),
        "time_scales": lambda: time_scales(layer, x),
        "unit_faults": lambda: unit_faults(layer, x),
        "lyapunov_exponents, top 1": lambda: lyapunov_exponents(layer, x, top=1),
        "lyapunov_exponents, all 128": lambda: lyapunov_exponents(layer, x),
        "probe_fact, 400 sequences, 1 lag": lambda: probe_fact(layer, fact, [10]),
        "forget, 400 sequences": lambda: forget(layer, fact, [10]),
    }
    with torch.no_grad():
        forward = _seconds(lambda: layer(x))
    for name, task in tasks.items():
        yield f"seconds of {name}", _seconds(task), forward, "one forward pass of 16 x 200"


def _seconds(task: Callable[[], object]) -> float:
    """The least of three runs, after one that warms up."""
    taken = []
    for _ in range(4):
        start = time.perf_counter()
        task()
        taken.append(time.perf_counter() - start)
    return min(taken[1:])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory.inside", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=600, help="training steps of each network")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--jobs", nargs="+", choices=_JOBS, default=_JOBS, help="which; costs are taken once")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    place = surroundings()
    for seed in range(options.seeds):
        jobs = {
            "forgetting": forgetting(seed, options.updates),
            "events": events(seed, options.updates),
            "decays": decays(seed),
            "costs": costs(seed) if seed == 0 else iter(()),
        }
        for job in options.jobs:
            start = time.perf_counter()
            for measure, value, reference, what in jobs[job]:
                row = {"job": job, "seed": seed, "measure": measure, "value": f"{value:.6g}"}
                row |= {"reference": f"{reference:.6g}", "reference_is": what}
                row |= {"seconds": f"{time.perf_counter() - start:.2f}", **place}
                append_row(options.out / "inside.csv", row)
                print(f"{job:10} seed {seed}  {measure}: {value:.4g}  ({what}: {reference:.4g})", flush=True)


if __name__ == "__main__":
    main()
