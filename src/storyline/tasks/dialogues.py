"""Dialogues of a Chatbot: turns checked, read as one row of ids a dialogue, and made into batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from storyline.data import Batch, TextEncoder, collate, token_order
from storyline.tasks.inputs import check_list, refuse_surrogates

Turns = Sequence[Sequence[str]]


def check_dialogues(X: Turns, name: str = "dialogues") -> list[list[str]]:
    """X as lists of turns, none of them empty; ValueError with the place of what is wrong."""
    found = []
    for index, dialogue in enumerate(check_list(X, name, "dialogues, each a list of turns")):
        if isinstance(dialogue, str):
            raise ValueError(
                f"{name}[{index}] is one string; give a list of turns, one text for each time that somebody speaks"
            )
        turns = check_list(dialogue, f"{name}[{index}]", "turns")
        if not turns:
            raise ValueError(f"{name}[{index}] is a dialogue without a turn; leave it out")
        found.append([check_turn(turn, f"{name}[{index}][{place}]") for place, turn in enumerate(turns)])
    if not found:
        raise ValueError(f"{name} is empty; give at least one dialogue")
    return found


def check_turn(turn: str, name: str) -> str:
    """`turn`, which says something; ValueError for what is no text, or only blanks."""
    if not isinstance(turn, str):
        raise ValueError(f"{name} is {type(turn).__name__}; every turn is a text")
    if not turn.strip():
        raise ValueError(f"{name} is an empty turn; a turn needs at least one character that is no blank")
    refuse_surrogates(turn, name)
    return str(turn)


def written(turn: str) -> str:
    """A turn as the encoder reads it: a blank leads, so that a word is the same tokens at the beginning as within."""
    return f" {turn.strip()}"


def encode_dialogues(encoder: TextEncoder, dialogues: Iterable[list[str]]) -> list[np.ndarray]:
    """Ids (n,) of each dialogue: <end>, then each turn and an <end> after it, then one <end> more.

    So one token says both that a turn is over and that the next one begins, and an empty turn ends the dialogue; a
    turn that is read is never empty, so there is no doubt.
    """
    dialogues = list(dialogues)
    turns = iter(encoder.encode_all(written(turn) for dialogue in dialogues for turn in dialogue))
    end = np.array([encoder.end_id], dtype=np.int64)
    found = []
    for dialogue in dialogues:
        parts = [end]
        for _ in dialogue:
            parts += [next(turns), end]
        found.append(np.concatenate([*parts, end]))
    return found


@dataclass(frozen=True, eq=False)
class Dialogues:
    """Dialogues as ids, a row each; one of more than `longest` tokens in parts, a row a part.

    inputs, targets  ids of each row, the targets one token later
    cut              how many dialogues are in parts
    """

    inputs: list[np.ndarray]
    targets: list[np.ndarray]
    cut: int

    @classmethod
    def of(cls, ids: Sequence[np.ndarray], longest: int) -> Dialogues:
        """Of what `encode_dialogues` gives."""
        inputs, targets, cut = [], [], 0
        for row in ids:
            places = range(0, len(row) - 1, longest)
            cut += len(places) > 1
            inputs += [row[place : min(place + longest, len(row) - 1)] for place in places]
            targets += [row[place + 1 : place + 1 + longest] for place in places]
        return cls(inputs, targets, cut)

    def order(self, tokens: int, *, seed: int, epoch: int) -> list[np.ndarray]:
        """The rows of each batch of about `tokens` tokens: a function of the seed and the epoch."""
        lengths = np.array([len(row) for row in self.inputs])
        # A row is read once, and `token_order` counts a source beside a target.
        return token_order(lengths, lengths, 2 * tokens, seed=seed, epoch=epoch)

    def batch(self, rows: np.ndarray) -> Batch:
        """The given rows, padded."""
        return collate(self.inputs, rows, self.targets)
