"""A kind of story: its words, its closed list of answers, and how a script of it is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from storyline.stories.script import Script, Teller


@dataclass(frozen=True)
class Kind:
    """What all stories of a name share.

    about       one sentence: what is told, what is asked
    write       one example's script
    answers     the closed list of classes; empty: the answer is a number
    words       every word that a script may hold
    masked      words that are <unk> in the filling, where they would tell a fact that is not meant (names, digits)
    distractors the number told where none is asked for, and the least and the most that can be told
    facts       the same, of facts
    channels    0: words; else the real inputs of a step
    filled      whether there is filling between the facts and the question
    tolerance   of a number: how far off an answer may be
    varieties   how many parts the wealth of its facts falls in, the first of which can be told alone; 1: it is one
    """

    name: str
    about: str
    write: Callable[[Teller], Script]
    answers: tuple[str, ...]
    words: tuple[str, ...]
    masked: tuple[str, ...] = ()
    distractors: tuple[int, int, int] = (3, 1, 8)
    facts: tuple[int, int, int] = (1, 1, 1)
    channels: int = 0
    filled: bool = True
    tolerance: float = 0.0
    varieties: int = 1


def lexicon(*texts: str) -> tuple[str, ...]:
    """The words of texts, each once, in their order; what stands in {braces} is left out."""
    words = (word for text in texts for word in text.split() if not word.startswith("{"))
    return tuple(dict.fromkeys(words))
