"""Models that write texts, on the command line: how they are to search, what they wrote, and how good it is."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from storyline.cli.options import PAIRS
from storyline.cli.summary import print_note

if TYPE_CHECKING:
    from rich.console import Console

    from storyline.cli.examples import Examples
    from storyline.cli.runs import Run


def decoding(run: Run, estimator: Any, **given: float | None) -> dict[str, float]:
    """The options of the search that were given; ValueError for one that the model's search does not know."""
    wanted = {name: value for name, value in given.items() if value is not None}
    pointing = run.task == "answer" and estimator.resolved_.mode == "span"
    known = given if run.task in PAIRS else ("beam",) if run.task == "answer" and not pointing else ()
    for name in wanted:
        if name not in known:
            searching = (
                "translates, summarises or writes answers" if name == "beam" else "translates or summarises"
            )
            this = "points at answers" if pointing else f"is from `storyline train {run.task}`"
            raise ValueError(
                f"--{name.replace('_', '-')} steers the search of a model that {searching}, and this one {this}; "
                "leave it out"
            )
    if wanted.get("beam", 1) < 1:
        raise ValueError(f"--beam is {wanted['beam']}; it must be at least 1")
    return wanted


@contextmanager
def lengths_said_later() -> Iterator[None]:
    """Inside, no warning of texts longer than any in training: `print_read` says how many, a picture shows them."""
    from storyline.tasks import UnseenLengthWarning

    with warnings.catch_warnings(action="ignore", category=UnseenLengthWarning):
        yield


def print_read(console: Console, estimator: Any) -> None:
    """Of what was last read: how many texts were empty, how many longer than any in training, or cut."""
    for count, what in (
        (estimator.empty_, "empty, and so is what is written for them"),
        (estimator.longer_, "longer than any in training, and read whole all the same"),
        (getattr(estimator, "cut_", 0), "longer than source_limit; only their beginnings were read"),
    ):
        if count:
            texts = "1 text is" if count == 1 else f"{count:,} texts are"
            print_note(console, f"{texts} {what}")


def one_a_line(texts: Sequence[str], console: Console) -> bytes:
    """Texts as the lines of a plain file; line breaks inside of them become blanks, which is said."""
    lines = [re.sub(r"[\r\n]+", " ", text) for text in texts]
    broken = sum(line != text for line, text in zip(lines, texts, strict=True))
    if broken:
        print_note(
            console, f"{broken:,} outputs have line breaks, which are blanks in the file; a .csv keeps them"
        )
    return "".join(f"{line}\n" for line in lines).encode()


def written_scores(
    estimator: Any, task: str, examples: Examples, how: dict[str, float], console: Console
) -> dict[str, float | str]:
    """BLEU and chrF of translations, ROUGE of summaries, of the pairs with two sides; of other tasks nothing.

    What cannot be measured, because its package is missing, is said.
    """
    if task not in PAIRS:
        return {}
    from storyline.data import filled_pairs
    from storyline.tasks.text_scores import summary_scores, translation_scores

    rows = filled_pairs(examples.inputs, examples.targets)
    with lengths_said_later():
        outputs = estimator.predict([examples.inputs[row] for row in rows], **how)
    references = [examples.targets[row] for row in rows]
    print_read(console, estimator)
    try:
        if task == "translate":
            return translation_scores(outputs, references)
        return dict(summary_scores(outputs, references))
    except ImportError as missing:
        print_note(console, f"not measured: {missing}")
        return {}
