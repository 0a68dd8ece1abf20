"""Answers that are written, word by word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from storyline.data import WordEncoder
from storyline.layers import MemoryProbe
from storyline.search import Beam
from storyline.tasks.alignment import Alignment
from storyline.tasks.answer_attention import story_attention
from storyline.tasks.answer_mode import AnswerMode, Lesson
from storyline.tasks.answer_probe import probe_stories
from storyline.tasks.answer_stories import read_stories
from storyline.tasks.answer_story_network import StoryNetwork, StoryProgram, new_story_network, write_answers
from storyline.tasks.answer_texts import Asked
from storyline.tasks.estimator import reproducible
from storyline.tasks.settings import AnswererSettings
from storyline.tasks.starting_vectors import StartingVectors


@final
@dataclass(frozen=True)
class Writing(AnswerMode[StoryNetwork]):
    """Mode "generate": sentences are read, looked at in hops, and answered in words."""

    words: WordEncoder

    def new_network(self, settings: AnswererSettings, start: StartingVectors | None = None) -> StoryNetwork:
        assert start is None
        return new_story_network(settings, self.words)

    def lesson(
        self, training: Asked, checked: Asked, settings: AnswererSettings, start: StartingVectors | None
    ) -> Lesson:
        stories = read_stories(training, self.words)
        held_out = read_stories(checked, self.words) if len(checked) else None
        unknown = held_out.unknown(self.words.unknown_id) if held_out else (0, 0)
        with reproducible(settings.seed):
            network = self.new_network(settings, start)
        assert self.words.end_id is not None
        program = StoryProgram(network, stories, held_out, settings, begin=self.words.end_id)
        return Lesson(program, np.zeros(0, dtype=np.int64), unknown, int(stories.lengths.max()))

    def answers(
        self, network: StoryNetwork, asked: Asked, longest: int, beam: Beam | None
    ) -> tuple[list[str], tuple[int, int]]:
        stories = read_stories(asked, self.words)
        written = write_answers(network, stories, self.words, longest, beam or Beam(1, alpha=0))
        return written, stories.unknown(self.words.unknown_id)

    def look(self, network: StoryNetwork, asked: Asked) -> Alignment:
        """How much each hop looked at each sentence."""
        return story_attention(network, asked, read_stories(asked, self.words))

    def probe(
        self, network: StoryNetwork, initial: StoryNetwork, asked: Asked, sample: int, seed: int
    ) -> tuple[MemoryProbe, tuple[int, int]]:
        stories = read_stories(asked, self.words)
        found = probe_stories(network, initial, self.words, asked, stories, sample, seed)
        return found, stories.unknown(self.words.unknown_id)

    def scored(self, answer: str) -> str:
        """Its words with blanks between: milk,football is as good as milk, football."""
        return " ".join(self.words.tokens(answer))

    def documents(self) -> dict[str, Any]:
        return {"words.json": self.words.to_document()}
