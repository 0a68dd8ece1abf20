"""One step of training on a very long sequence, plain and with checkpoint_every: seconds and peak memory.

Each case runs in a process of its own, so that its peak is its own. Printed and recorded as a row of results/long.csv.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import ROOT, append_row, surroundings
from storyline import GRU, LSTM, RNN

RESULTS = Path(__file__).parent / "results" / "long.csv"
LAYERS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
STATUS = Path("/proc/self/status")
# What a plain run of the kernels has for every step and unit at once, output and gradients included: an LSTM's.
NUMBERS_KEPT = 12


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "long", description=__doc__, help="a million steps, with and without recomputing"
    )
    parser.add_argument("--layer", choices=LAYERS, default="lstm")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--every", type=int, default=1000, help="checkpoint_every of the second case")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-record", action="store_true", help="write no row")
    parser.add_argument("--one", type=int, default=None, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if not STATUS.is_file():
        sys.exit(f"{STATUS} is not there; the peak of a process is measured on Linux only")
    if options.one is not None:
        print(json.dumps(train(options, options.one or None)))
        return 0
    place = surroundings()
    digests = []
    for every in (0, options.every):
        if not every and (lacking := _lacking_bytes(options)) > 0:
            print(f"plain: not run, since {lacking / 2**20:.0f} MB of memory are lacking for it")
            continue
        arguments = [*sys.argv[1:], "--one", str(every)]
        command = [sys.executable, "-m", "benchmarks.kernels", *arguments]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        measured = json.loads(done.stdout.splitlines()[-1])
        digests.append(measured.pop("gradient_norm"))
        names = ("layer", "steps", "batch", "hidden", "threads")
        row = {
            **place,
            **{name: getattr(options, name) for name in names},
            "checkpoint_every": every,
            **measured,
        }
        print(json.dumps(row), flush=True)
        if not options.no_record:
            append_row(RESULTS, row)
    print("norms of the gradient:", *digests)
    return 0


def train(options: argparse.Namespace, every: int | None) -> dict[str, Any]:
    """Forward, backward and a step of SGD: seconds of both passes, and the memory that they took at most."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    layer = LAYERS[options.layer](1, options.hidden, backend=options.backend, checkpoint_every=every)
    sgd = torch.optim.SGD(layer.parameters(), lr=1e-3)
    input = torch.randn(options.steps, options.batch, 1)
    layer(input[:100])[0].mean().backward()  # what is loaded at the first use is no part of the step
    sgd.zero_grad()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = _peak_mb()
    begun = time.perf_counter()
    loss = layer(input)[0].mean()
    forward = time.perf_counter() - begun
    loss.backward()
    seconds = time.perf_counter() - begun
    norm = torch.cat([each.grad.flatten() for each in layer.parameters()]).norm().item()
    sgd.step()
    assert layer.last_backend is not None
    return {
        "backend": layer.last_backend[0],
        "forward_s": round(forward, 2),
        "seconds": round(seconds, 2),
        "mb_before": round(before),
        "peak_mb": round(_peak_mb()),
        "gradient_norm": norm,
    }


def _peak_mb() -> float:
    # Not ru_maxrss, which a process inherits from the one that has started it.
    line = next(each for each in STATUS.read_text().splitlines() if each.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def _lacking_bytes(options: argparse.Namespace) -> int:
    lines = dict(each.split(":", 1) for each in Path("/proc/meminfo").read_text().splitlines())
    there = int(lines["MemAvailable"].split()[0]) * 1024
    return options.steps * options.batch * options.hidden * 4 * NUMBERS_KEPT - there
