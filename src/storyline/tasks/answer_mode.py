"""A way to answer: what an Answerer asks of it, whether it points at answers or writes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from torch import nn

from storyline.layers import MemoryProbe
from storyline.search import Beam
from storyline.tasks.alignment import Alignment
from storyline.tasks.answer_texts import Asked
from storyline.tasks.settings import AnswererSettings
from storyline.tasks.starting_vectors import StartingVectors
from storyline.training import Program

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is to be learned.

    program   the network, not trained yet, and what trains it
    left_out  places among the training rows of those that teach nothing
    unknown   how many of how many words of the validation part are unknown
    longest   steps of the longest context, as the recurrent layer reads them: words, or sentences
    """

    program: Program
    left_out: np.ndarray
    unknown: tuple[int, int]
    longest: int


class AnswerMode(ABC, Generic[Network]):
    """From questions to what a network reads, and from what it says to answers; it knows the words, not the weights."""

    @abstractmethod
    def new_network(self, settings: AnswererSettings, start: StartingVectors | None = None) -> Network:
        """The network that resolved settings ask for, with its initial weights; draws from torch's generator."""

    @abstractmethod
    def lesson(
        self, training: Asked, checked: Asked, settings: AnswererSettings, start: StartingVectors | None
    ) -> Lesson:
        """What the training rows teach, validated on the rows of `checked`, of which there may be none."""

    @abstractmethod
    def answers(
        self, network: Network, asked: Asked, longest: int, beam: Beam | None
    ) -> tuple[list[str], tuple[int, int]]:
        """The answers, of at most `longest` words, and how many of how many words that were read are unknown.

        beam  None: the model's own way; ValueError for one where nothing is searched
        """

    @abstractmethod
    def look(self, network: Network, asked: Asked) -> Alignment:
        """Where the network looked to answer the first question."""

    @abstractmethod
    def probe(
        self, network: Network, initial: Network, asked: Asked, sample: int, seed: int
    ) -> tuple[MemoryProbe, tuple[int, int]]:
        """The networks, trained and untrained, as functions of tensors; and the unknown words, as in `answers`."""

    @abstractmethod
    def scored(self, answer: str) -> str:
        """An answer as it is compared with the right ones."""

    @abstractmethod
    def documents(self) -> dict[str, Any]:
        """What stands beside the weights: JSON-able, by file name."""
