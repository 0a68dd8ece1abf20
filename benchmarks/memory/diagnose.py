"""Twelve planted faults and twelve sound models, diagnosed; and for each fault, whether its remedy makes it learn.

A line a model on the terminal, and a row of results/diagnose.csv. A fault counts as found where the first finding has
its name; a remedy counts where the same plan, with nothing but the finding's machine-readable change applied, trains
a model past the case's score. A sound model is one that passes it as it is; it is diagnosed with its targets, and once
more with nothing but the need of its data, where the diagnosis cannot know that the model has learned its task.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.memory.patients import CLEAN, PLANTED, Case
from benchmarks.memory.remedies import Plan, Reader, score, train
from benchmarks.record import append_row, surroundings
from storyline.memory import Diagnosis, diagnose

RESULTS = Path(__file__).parent / "results" / "diagnose.csv"
SEQUENCES = 256


def add_to(commands: Any) -> None:
    parser = commands.add_parser("diagnose", description=__doc__, help="planted faults and their remedies")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", choices=("planted", "sound"), default=None)
    parser.add_argument("--no-record", action="store_true", help="write no row")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    place = surroundings()
    passed: dict[str, list[bool]] = {}
    for kind, cases in (("planted", PLANTED), ("sound", CLEAN)):
        if options.only not in (None, kind):
            continue
        for number, case in enumerate(cases, 1):
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                row = {"kind": kind, "case": number, **judged(case, seed)}
                for key in ("valid", "found", "mended"):
                    if row[key] != "":
                        passed.setdefault(f"{kind}: {key}", []).append(bool(row[key]))
                _say(row)
                if not options.no_record:
                    append_row(RESULTS, {**row, **place})
    for name, each in passed.items():
        print(f"{name} {sum(each)} of {len(each)}")
    return 0


def judged(case: Case, seed: int) -> dict[str, Any]:
    """The row of one model."""
    begun = time.perf_counter()
    model = train(case.plan, seed)
    before = score(model, case.plan.task, seed, times=case.times)
    trained = time.perf_counter()
    diagnosis = examined(model, case.plan, seed)
    diagnosed = time.perf_counter()
    change = diagnosis.findings[0].change if diagnosis.findings else {}
    after: float | str = ""
    if case.fault and change:
        mended = case.plan.mended(change)
        after = score(train(mended, seed), mended.task, seed, times=case.times)
    return {
        "fault": case.fault,
        "cell": case.plan.cell,
        "layers": case.plan.num_layers,
        "task": case.plan.task.name,
        "seed": seed,
        "learned_from": case.learned,
        "before": round(max(before, -9.0), 4),
        "valid": (before < case.learned) if case.fault else before >= case.learned,
        "findings": "; ".join(diagnosis.names),
        "found": diagnosis.names[:1] == (case.fault,) if case.fault else not diagnosis.findings,
        "without_targets": "" if case.fault else "; ".join(blind(model, case.plan, diagnosis, seed).names),
        "need": diagnosis.need.value if diagnosis.need else "",
        "uses": diagnosis.uses.value if diagnosis.uses else "",
        "change": _words(change),
        "after": round(after, 4) if isinstance(after, float) else "",
        "mended": after >= case.learned if isinstance(after, float) else (False if case.fault else ""),
        "training_seconds": round(trained - begun, 2),
        "diagnosis_seconds": round(diagnosed - trained, 2),
        "headline": diagnosis.headline,
    }


def examined(model: Reader, plan: Plan, seed: int) -> Diagnosis:
    """The diagnosis of a model by data that it was not trained on, told all that its plan says."""
    inputs, targets = plan.task.draw(
        SEQUENCES, plan.task.steps, torch.Generator().manual_seed(seed + 3_000_000)
    )
    return diagnose(model, inputs, targets, **_told(plan), seed=seed)


def blind(model: Reader, plan: Plan, known: Diagnosis, seed: int) -> Diagnosis:
    """The same without targets."""
    inputs, _ = plan.task.draw(SEQUENCES, plan.task.steps, torch.Generator().manual_seed(seed + 3_000_000))
    return diagnose(model, inputs, need=known.need.value if known.need else None, **_told(plan), seed=seed)


def _told(plan: Plan) -> dict[str, Any]:
    return {
        "clip": plan.clip,
        "chunk": plan.chunk,
        "reset_every": plan.reset_every,
        "trained_steps": plan.trained_steps,
    }


def _words(change: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in change.items())


def _say(row: Mapping[str, Any]) -> None:
    said = row["findings"] or "no fault"
    after = (
        f", after {row['change']}: {row['after']}"
        if row["fault"]
        else f" (blind: {row['without_targets'] or 'none'})"
    )
    print(
        f"{row['kind']} {row['case']:2d} seed {row['seed']} {row['fault']:20s} {row['cell']:8s} {row['task']:14s} "
        f"{row['before']:7.3f} -> {said}{after}{'' if row['valid'] else '  NOT VALID'}",
        flush=True,
    )
