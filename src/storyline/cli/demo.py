"""`storyline demo`: three models, one question that needs memory, and a report of what each one kept."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storyline.cli.failures import reported

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from storyline.cli.first_digit import Digits
    from storyline.memory import Measure
    from storyline.tasks import Classifier

DISTRACTORS = (0, 5, 10, 20, 30, 60)
TRAINED_TO = 30
LONGEST = 8 * (1 + TRAINED_TO)

# The same budget for all three: the same sequences in the same order, the same number of steps.
BUDGET: dict[str, Any] = {
    "hidden_size": 64,
    "bidirectional": False,
    "pooling": "last",
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "epochs": 4,
    "batch_size": 32,
    "learning_rate": 1e-2,
    "weight_decay": 0.0,
    "warmup": 0.02,
    "validation_fraction": 0.0,
    "threads": 1,  # steps this small gain little from a second thread, and lose much to it where cores are shared
}
SEQUENCES = 12_000

KEPT = f"LSTM remember={LONGEST}"
MODELS: dict[str, dict[str, Any]] = {
    "vanilla RNN": {"core": "rnn", "remember": None},
    "LSTM as in torch": {"core": "lstm", "remember": None},
    KEPT: {"core": "lstm", "remember": LONGEST},
}


@dataclass(frozen=True)
class Trial:
    """One model: what it answers at each number of distractors (shares), its reach and its loss."""

    model: Classifier
    accuracy: tuple[float, ...]
    seconds: float
    before: Measure
    after: Measure

    @property
    def losses(self) -> tuple[list[int], list[float]]:
        lines = self.model.history_
        return [line["step"] for line in lines], [line["loss"] for line in lines]


def held_out_questions(pool: Digits, distractors: int) -> tuple[np.ndarray, np.ndarray]:
    """Every held-out digit once as the first, distractors drawn by a fixed seed."""
    import numpy as np

    from storyline.cli.first_digit import question

    return question(pool, np.arange(len(pool.labels)), distractors, np.random.default_rng(distractors))


def run_trial(
    settings: dict[str, Any],
    training: tuple[list[np.ndarray], np.ndarray],
    held_out: Digits,
    *,
    seed: int = 0,
    events: tuple[Any, ...] = (),
) -> Trial:
    """Train one model and measure it on the held-out digits."""
    import time

    from storyline.memory import horizon
    from storyline.tasks import Classifier

    began = time.perf_counter()
    model = Classifier(**BUDGET | settings, seed=seed).fit(*training, events=events)
    seconds = time.perf_counter() - began
    probe = model.memory_probe(*(part[:16] for part in held_out_questions(held_out, TRAINED_TO)))
    assert probe.initial is not None
    reach = [
        horizon(each, list(probe.inputs), measures=("gradient",)).gradient
        for each in (probe.initial, probe.model)
    ]
    before, after = reach
    assert before is not None
    assert after is not None
    return Trial(
        model=model,
        accuracy=tuple(float(model.score(*held_out_questions(held_out, n))) for n in DISTRACTORS),
        seconds=seconds,
        before=before,
        after=after,
    )


def first_digit_alone(training: Digits, held_out: Digits) -> float:
    """Accuracy of logistic regression that sees the first digit only: a perfect memory with a linear eye."""
    from sklearn.linear_model import LogisticRegression

    eye = LogisticRegression(max_iter=2000)
    eye.fit(training.images.reshape(len(training.labels), -1), training.labels)
    return float(eye.score(held_out.images.reshape(len(held_out.labels), -1), held_out.labels))


@reported
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the model, the data and the report.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """Train three models to remember a handwritten digit, compare them, and write a report (90 seconds at most)."""
    import time

    from rich.console import Console

    from storyline.cli.demo_report import print_results, write_report
    from storyline.cli.first_digit import digits, training_set
    from storyline.cli.progress import TrainingProgress

    console = Console()
    began = time.perf_counter()
    training, held_out = digits()
    console.print(
        f"A handwritten digit is shown row by row (8 steps), then 0 to {TRAINED_TO} others: which was the first?\n"
        f"Three models train on the same {SEQUENCES:,} sequences of up to {LONGEST} steps; "
        f"{len(held_out.labels)} held-out digits test them.\n",
        highlight=False,
    )
    trials: dict[str, Trial] = {}
    with _interrupts_said("nothing was written"):
        sequences = training_set(training, TRAINED_TO, SEQUENCES, seed)
        for name, settings in MODELS.items():
            with TrainingProgress(f"{name:<17}", console) as progress:
                trials[name] = run_trial(settings, sequences, held_out, seed=seed, events=(progress,))
        ceiling = first_digit_alone(training, held_out)
        print_results(console, trials, ceiling)
    with _interrupts_said(f"not all of the results are in {out}; run the demo again"):
        save(out, trials[KEPT].model, held_out)
        write_report(out, trials, ceiling)
    _next(console, out, time.perf_counter() - began)


@contextmanager
def _interrupts_said(left: str) -> Iterator[None]:
    """Let Ctrl-C say what it leaves; the demo has no folder to resume from."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(left) from None


def save(out: Path, model: Classifier, held_out: Digits) -> None:
    """The model that remembers, and questions that `storyline evaluate` and `memory` can read."""
    import polars

    from storyline.artifact import write_whole
    from storyline.cli.runs import FINISHED, Run

    shown, answers = held_out_questions(held_out, 10)
    frame = polars.DataFrame({"pixels": shown.round(4).tolist(), "digit": answers.tolist()})
    data = out / "held_out.jsonl"
    write_whole(data, frame.write_ndjson())
    run = Run(task="classify", files={"train": str(data)}, columns={"channels": "pixels", "label": "digit"})
    model.save_pretrained(out / "model", documents={FINISHED: run.to_json()})


def commands_to_try(out: Path) -> tuple[str, ...]:
    """Three commands, with the program spelled as this shell finds it."""
    called = Path(sys.argv[0])
    found = shutil.which("storyline")
    program = "storyline" if found and called.exists() and Path(found).samefile(called) else str(called)
    return (
        f"{program} evaluate {out}/model {out}/held_out.jsonl",
        f"{program} memory {out}/model {out}/held_out.jsonl --out {out}/memory.html",
        f"{program} train classify --help",
    )


def _next(console: Console, out: Path, seconds: float) -> None:
    saved = f"The model is in {out / 'model'}, the pictures in {out / 'report.html'}."
    console.print(f"\n{seconds:.0f} s. {saved} Next:\n", highlight=False)
    for command in commands_to_try(out):
        console.print(f"  {command}", highlight=False, soft_wrap=True)
