"""Options: which of them a run reads from which file; one that would not be looked at is refused."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storyline.cli.runs import Run


def reads_series(run: Run) -> bool:
    """Whether a classifier reads numbers, not texts."""
    return "series" in run.columns or "channels" in run.columns


def is_delimited(source: str) -> bool:
    """Whether a file is CSV or TSV."""
    from storyline.data.read import DELIMITED, suffix_of

    return suffix_of(source) in DELIMITED


def is_table(source: str) -> bool:
    """Whether a file has columns that its user named."""
    from storyline.data.read import TABLES, suffix_of

    return suffix_of(source) in TABLES


def is_plain(source: str) -> bool:
    """Whether a file is plain text, which has the one column `text`."""
    from storyline.data.read import suffix_of

    return suffix_of(source) == ".txt"


def refuse_conflicts(run: Run) -> None:
    """Raise ValueError for an option of `storyline train` that the others leave without an effect."""
    if run.task == "classify":
        if reads_series(run):
            series = "series" if "series" in run.columns else "channels"
            for name in ("text", "level", "unlabelled", "vectors"):
                if name in run.columns or name in run.settings or name in run.files:
                    raise ValueError(
                        f"--{name} is for texts, and --{series} reads series of numbers; leave one of the two out"
                    )
        elif "order" in run.columns:
            raise ValueError(
                "--order sorts the steps of series; name the column that tells the series apart with --series, "
                "or leave --order out"
            )
    for name in ("separator", "header"):
        if name in run.columns and not any(map(is_delimited, run.files.values())):
            raise ValueError(
                f"--{name} is for .csv and .tsv, and {run.files['train']} is neither; leave it out"
            )


def refuse_unread(model: Path, run: Run, file: str, given: Collection[str]) -> None:
    """Raise ValueError for an option that a trained model has no use for in `file`."""
    kind, reads = {
        "language": ("plain text", ("text",)),
        "tag": ("tokens and tags", ()),
        "classify": ("series of numbers", ("label",)) if reads_series(run) else ("texts", ("text", "label")),
    }[run.task]
    for name in given:
        if name == "separator":
            if not is_delimited(file):
                raise ValueError(f"--separator is for .csv and .tsv, and {file} is neither; leave it out")
        elif name not in reads:
            raise ValueError(f"{model} is a model of {kind} and reads no --{name}; leave it out")


def inherited(run: Run, file: str) -> dict[str, Any]:
    """The columns of the training that also hold for another file, which may have another format."""
    from storyline.data.read import suffix_of

    columns = dict(run.columns)
    trained = run.files["train"]
    if suffix_of(file) != suffix_of(trained):
        columns.pop("separator", None)
    if run.task == "language" and is_table(file) != is_table(trained):
        columns.pop("text", None)
    return columns
