"""What an Answerer is handed: contexts, questions and answers, checked; and where an answer stands in its context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from storyline.data import split_validation
from storyline.tasks.inputs import check_list, check_texts, refuse_surrogates

Mode = Literal["span", "generate"]
Answers = Sequence[str] | Sequence[Sequence[str]]
# "auto" points where nearly all answers stand in their contexts, and where so many of them are different that a word
# list would not do: at least this share of the rows.
_INSIDE = 0.95
_DIFFERENT = 0.1


@dataclass(frozen=True, eq=False)
class Asked:
    """Questions about contexts; `answers` are the right ones of each, or None where none are known."""

    contexts: list[str]
    questions: list[str]
    answers: list[list[str]] | None = None

    def __len__(self) -> int:
        return len(self.questions)

    def take(self, rows: np.ndarray) -> Asked:
        """Only these rows."""
        chosen = rows.tolist()
        return Asked(
            [self.contexts[row] for row in chosen],
            [self.questions[row] for row in chosen],
            None if self.answers is None else [self.answers[row] for row in chosen],
        )

    def described(self) -> dict[str, Any]:
        """For the identity of a training run."""
        return {"contexts": self.contexts, "questions": self.questions, "answers": self.answers}


def check_asked(contexts: Any, questions: Any, answers: Any = None, *, name: str = "") -> Asked:
    """Contexts and questions, none of them empty, and answers where they are given; ValueError names what is wrong.

    answers  a text a row, or a list of the right ones
    name     what stands before the names in an error
    """
    texts = check_texts(contexts, f"{name}contexts"), check_texts(questions, f"{name}questions")
    _same_number(*texts, f"{name}contexts", f"{name}questions")
    if answers is None:
        return Asked(*texts)
    right = [
        _right(answer, f"{name}answers[{row}]")
        for row, answer in enumerate(check_list(answers, f"{name}answers", "answers"))
    ]
    _same_number(texts[1], right, f"{name}questions", f"{name}answers")
    return Asked(*texts, right)


def check_triple(validation: Any) -> tuple[Any, Any, Any]:
    """`validation` as (contexts, questions, answers); ValueError where it is no triple."""
    if not isinstance(validation, tuple | list) or len(validation) != 3:
        raise ValueError(
            f"validation is of the type {type(validation).__name__}; give (contexts, questions, answers), or None for "
            "a part of the training rows"
        )
    contexts, questions, answers = validation
    return contexts, questions, answers


def held_out_contexts(asked: Asked, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from, and rows held out: a share of the contexts, with all questions about them.

    So no context that is held out is read in training. Raises ValueError where there is only one.
    """
    rows = np.arange(len(asked))
    if fraction == 0:
        return rows, rows[:0]
    distinct = {context: place for place, context in enumerate(dict.fromkeys(asked.contexts))}
    if len(distinct) == 1:
        raise ValueError(
            "all questions are about one context, which cannot be held out; give more, or set validation_fraction=0"
        )
    _, held_out = split_validation(len(distinct), fraction, seed)
    out = np.isin([distinct[context] for context in asked.contexts], held_out)
    return rows[~out], rows[out]


def places_of(context: str, answer: str) -> list[tuple[int, int]]:
    """Where an answer stands in a context, each place as its first character and the one behind its last."""
    found, start = [], context.find(answer)
    while start >= 0:
        found.append((start, start + len(answer)))
        start = context.find(answer, start + 1)
    return found


def choose_mode(asked: Asked) -> tuple[Mode, str]:
    """What "auto" becomes, and why in a sentence.

    "span" where at least 95 % of the rows have an answer that stands in its context, letter by letter, and there are
    at least a tenth as many different first answers as rows; else "generate".
    """
    assert asked.answers is not None
    rows = len(asked)
    inside = sum(
        any(answer in context for answer in right)
        for context, right in zip(asked.contexts, asked.answers, strict=True)
    )
    different = len({right[0] for right in asked.answers})
    mode: Mode = "span" if inside >= _INSIDE * rows and different >= _DIFFERENT * rows else "generate"
    return mode, (
        f"mode='auto' became {mode!r}: {inside} of {rows} answers stand in their contexts, {different} are different"
    )


def _right(answer: Any, name: str) -> list[str]:
    """The right answers of a row as a list, none of them blank or twice in it."""
    several = [answer] if isinstance(answer, str) else check_list(answer, name, "texts, or a single one")
    if not several:
        raise ValueError(f"{name} is an empty list; give at least one right answer, or leave the row out")
    for each in several:
        if not isinstance(each, str):
            raise ValueError(f"{name} is {type(each).__name__}; give a text, or a list of texts")
        if not each.strip():
            raise ValueError(f"{name} is an empty text; give at least one word, or leave the row out")
        refuse_surrogates(each, name)
    return list(dict.fromkeys(each.strip() for each in several))


def _same_number(left: Sequence[Any], right: Sequence[Any], first: str, second: str) -> None:
    if len(left) != len(right):
        raise ValueError(f"there are {len(left)} {first} and {len(right)} {second}; give one for each")
