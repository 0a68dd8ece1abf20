"""Options: which of them a run reads from which file; one that would not be looked at is refused."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storyline.cli.runs import Run


# The columns and files that each task's parser knows; in a --config file they stand beside the settings.
COLUMNS = {
    "classify": ("text", "label", "series", "channels", "order", "header", "separator"),
    "language": ("text", "separator"),
    "tag": ("tokens", "tags", "separator"),
    "translate": ("source", "target", "separator"),
    "summarise": ("source", "target", "separator"),
    "answer": ("context", "question", "answer", "separator"),
    "chat": ("turns",),
}
FILES = {
    "classify": ("validation", "unlabelled", "vectors"),
    "language": ("validation", "vectors"),
    "tag": ("validation", "vectors"),
    "translate": ("validation", "validation_target", "vectors", "target_vectors"),
    "summarise": ("validation", "validation_target", "vectors", "target_vectors"),
    "answer": ("validation", "unlabelled", "vectors"),
    "chat": ("validation",),
}
# Tasks of a source and a target, both texts; and those of which a model is asked for texts.
PAIRS = ("translate", "summarise")
WRITING = (*PAIRS, "answer")
PAIR_COLUMNS = ("source", "target")


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
    if run.task in PAIRS:
        _refuse_sides(run)
    for name in ("separator", "header"):
        if name in run.columns and not any(map(is_delimited, run.files.values())):
            raise ValueError(
                f"--{name} is for .csv and .tsv, and {run.files['train']} is neither; leave it out"
            )


def _refuse_sides(run: Run) -> None:
    """Raise ValueError where it is not clear which file holds the targets."""
    for role, option in (("train", ""), ("validation", "--validation ")):
        source, target = run.files.get(role), run.files.get(f"{role}_target")
        for file in (source, target):
            if file is not None and Path(file).is_dir():
                raise ValueError(f"{file} is a folder; give one of the files in it")
        if source is None:
            if target is not None:
                raise ValueError(
                    f"--validation-target {target} holds targets alone; name their sources with --validation"
                )
        elif target is None:
            if not is_table(source):
                behind = "behind it" if role == "train" else "with --validation-target"
                raise ValueError(
                    f"{option}{source} is no table, so it holds one side only: name the file of its targets {behind}, "
                    "line by line, or give a table with columns for both"
                )
        else:
            for file in (source, target):
                if is_table(file):
                    raise ValueError(
                        f"two files are read as plain text, line by line, and {file} is a table; give one table with "
                        "--source and --target, or two plain files"
                    )
    if not any(map(is_table, run.files.values())):
        for name in PAIR_COLUMNS:
            if name in run.columns:
                raise ValueError(
                    f"--{name} names a column of a table, and {run.files['train']} has lines; leave it out"
                )


def refuse_unread(model: Path, run: Run, file: str, given: Collection[str]) -> None:
    """Raise ValueError for an option that a trained model has no use for in `file`."""
    kind, reads = {
        "language": ("plain text", ("text",)),
        "tag": ("tokens and tags", ()),
        "translate": ("pairs of texts", PAIR_COLUMNS),
        "summarise": ("pairs of texts", PAIR_COLUMNS),
        "answer": ("questions about texts", ("context", "question", "answer")),
        "chat": ("dialogues", ("turns",)),
        "classify": ("series of numbers", ("label",)) if reads_series(run) else ("texts", ("text", "label")),
    }[run.task]
    for name in given:
        if name == "separator":
            if not is_delimited(file):
                raise ValueError(f"--separator is for .csv and .tsv, and {file} is neither; leave it out")
        elif name not in reads:
            raise ValueError(f"{model} is a model of {kind} and reads no --{name}; leave it out")
        elif name in PAIR_COLUMNS and not is_table(file):
            raise ValueError(f"--{name} names a column, and {file} is no table; leave it out")


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
