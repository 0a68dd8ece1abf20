"""Examples: a ragged batch of stories as arrays, with the places where answers are due."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Examples:
    """`n` examples, right-padded to the longest. A model reads from left to right and answers at the marked steps.

    tokens          (n, time) int64, 0 past a row's end; None for real inputs
    values          (n, time, channels) float32, 0 past a row's end; None for words
    lengths         (n,) int64, steps of each row
    distances       (n,) int64, the distance that was asked for
    question_rows   (questions,) int64, in rising order; the row of each question
    question_steps  (questions,) int64, the step after which its answer is due
    answers         (questions,) int64, the class in `classes`; -1 where the answer is a number
    numbers         (questions,) float32, the answer that is a number; NaN elsewhere
    facts           (questions,) int64, which fact of its row is asked: its questions are right together or not at all
    told_steps      (questions,) int64, the step at which that fact was complete; -1 where it is spread over the row
    chances         (questions,) float64, the share of right answers of the best guess that is blind to order
    vocabulary      the words by their number
    classes         the closed list of answers
    """

    tokens: np.ndarray | None
    values: np.ndarray | None
    lengths: np.ndarray
    distances: np.ndarray
    question_rows: np.ndarray
    question_steps: np.ndarray
    answers: np.ndarray
    numbers: np.ndarray
    facts: np.ndarray
    told_steps: np.ndarray
    chances: np.ndarray
    vocabulary: tuple[str, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.lengths)

    def words(self, row: int) -> list[str]:
        """The words of a row; the seldom ones are <unk>."""
        if self.tokens is None:
            raise ValueError("this story has real inputs and no words; read `values`")
        return [self.vocabulary[token] for token in self.tokens[row, : self.lengths[row]]]

    def questions(self, row: int) -> list[tuple[int, str | float]]:
        """The questions of a row: (step, answer)."""
        asked = np.flatnonzero(self.question_rows == row)
        return [
            (
                int(self.question_steps[q]),
                self.classes[self.answers[q]] if self.answers[q] >= 0 else float(self.numbers[q]),
            )
            for q in asked
        ]
