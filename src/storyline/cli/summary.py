"""What the terminal shows when a command is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from storyline.cli.examples import Examples
from storyline.cli.runs import Run


def print_metrics(console: Console, title: str, metrics: Mapping[str, Any]) -> None:
    """A row a number; what is nested (a row a label) is left to `--json`."""
    console.print(title, highlight=False, soft_wrap=True)
    table = Table(show_header=False)
    for name, value in metrics.items():
        if isinstance(value, bool):
            table.add_row(name.replace("_", " "), "yes" if value else "no")
        elif isinstance(value, float):
            table.add_row(name.replace("_", " "), f"{value:.4f}")
        elif isinstance(value, int | str):
            table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else value)
    console.print(table)


def print_note(console: Console, text: str) -> None:
    """Something the user should know, as it stands: a path may hold what looks like markup."""
    console.print(f"note: {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def print_unknown(console: Console, estimator: Any) -> None:
    """Of what the estimator last read, unknown words became <unk>; nothing silent."""
    unknown, total = estimator.unknown_
    unit = {"char": "characters", "subword": "subwords"}.get(getattr(estimator, "level", "word"), "words")
    if unknown:
        share = 100 * unknown / max(total, 1)
        console.print(
            f"{unknown:,} of {total:,} {unit} ({share:.1f} %) are unknown to the model and were read as <unk>",
            highlight=False,
            soft_wrap=True,
        )


def print_constant(console: Console, estimator: Any, names: Sequence[str]) -> None:
    """Channels of which a model of series learned nothing, because they did not vary in its training part."""
    scaler = getattr(getattr(estimator, "reader_", None), "scaler", None)
    if scaler is None or scaler.constant is None:
        return
    for name, constant, value in zip(names, scaler.constant, scaler.mean, strict=True):
        if constant:
            print_note(
                console,
                f"the channel {name!r} is {value:.10g} at every step of the training part, so nothing was "
                "learned from it",
            )


def print_duplicates(console: Console, vectors: Any, source: str) -> None:
    """Lines of a file of word vectors that were not used, because their word had come before."""
    if vectors.duplicates_:
        print_note(
            console,
            f"{vectors.duplicates_:,} lines of {source} hold a word that an earlier line holds; the first counts",
        )


def print_dropped(console: Console, estimator: Any, examples: Examples) -> None:
    """Rows of the training file that were left out because they teach nothing, or are too long."""
    dropped = getattr(estimator, "dropped_", None)
    if isinstance(dropped, dict):
        for name, why in (("empty", "have an empty side"), ("longer", "have a side longer than `longest`")):
            if dropped.get(name):
                pairs = f"{dropped[name]:,} of {len(examples.inputs):,} pairs"
                print_note(console, f"{pairs} {why}, and were left out of the training")
    elif dropped and examples.table is not None:
        first = "; ".join(examples.table.where(row) for row in dropped[:5])
        more = f", and {len(dropped) - 5:,} more" if len(dropped) > 5 else ""
        print_note(
            console,
            f"left out of the training, because the answer does not stand in its context: {first}{more}",
        )


def print_training(console: Console, estimator: Any, run: Run, out: Path) -> None:
    """The end of a training: what was reached, where it lies, what to try next."""
    from storyline.data.read import suffix_of

    print_metrics(console, f"trained {run.task}", estimator.training_summary_)
    console.print(f"saved to {out}", highlight=False)
    kind = ".txt" if "train_target" in run.files else suffix_of(run.files["train"])
    pairs = f"test{kind}" if "train_target" not in run.files else "test_sources.txt test_targets.txt"
    following = {
        "classify": (
            f"storyline evaluate {out} test.csv",
            f"storyline predict {out} new.csv --out predictions.csv",
        ),
        "tag": (
            f"storyline evaluate {out} test.conllu",
            f"storyline predict {out} new.conllu --out tagged.jsonl",
        ),
        "language": (
            f"storyline generate {out} --prompt 'Once' --length 400",
            f"storyline evaluate {out} other.txt",
        ),
        "translate": (
            f"storyline evaluate {out} {pairs}",
            f"storyline predict {out} new{kind} --out translations{kind}",
        ),
        "summarise": (
            f"storyline evaluate {out} {pairs}",
            f"storyline predict {out} new{kind} --out summaries{kind}",
        ),
        "answer": (
            f"storyline evaluate {out} test{kind}",
            f"storyline predict {out} new{kind} --out answers{kind}",
        ),
        "chat": (f"storyline chat {out}", f"storyline evaluate {out} test{kind}"),
    }[run.task]
    read = " ".join(run.files[role] for role in ("train", "train_target") if role in run.files)
    for command in (*following, f"storyline memory {out} {read} --out report.html"):
        console.print(f"  {command}", highlight=False, soft_wrap=True)
