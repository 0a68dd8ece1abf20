"""Answers that are pointed at: spans of the contexts that hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from storyline.data import Vocabulary, WordEncoder
from storyline.layers import MemoryProbe
from storyline.search import Beam
from storyline.tasks.alignment import Alignment
from storyline.tasks.answer_attention import span_attention
from storyline.tasks.answer_mode import AnswerMode, Lesson
from storyline.tasks.answer_probe import probe_spans
from storyline.tasks.answer_span_network import SpanNetwork, SpanProgram, find_spans, new_span_network
from storyline.tasks.answer_spans import SpanReader, cut_spans, span_scores
from storyline.tasks.answer_texts import Asked
from storyline.tasks.estimator import reproducible
from storyline.tasks.settings import AnswererSettings
from storyline.tasks.starting_vectors import StartingVectors


@dataclass(frozen=True)
class Span:
    """A piece of a context: `text` is context[start:end]; `probability` is the model's that it is just this piece."""

    text: str
    start: int
    end: int
    probability: float


@final
@dataclass(frozen=True)
class Pointing(AnswerMode[SpanNetwork]):
    """Mode "span": the likeliest pair of a first and a last word."""

    words: WordEncoder
    characters: Vocabulary

    def new_network(self, settings: AnswererSettings, start: StartingVectors | None = None) -> SpanNetwork:
        return new_span_network(settings, self.words, self.characters, start)

    def lesson(
        self, training: Asked, checked: Asked, settings: AnswererSettings, start: StartingVectors | None
    ) -> Lesson:
        """Rows none of whose answers stands in its context are left out; ValueError where none is left."""
        everything = self._reader.read(training)
        assert everything.spans is not None
        inside = np.array([len(spans) > 0 for spans in everything.spans])
        if not inside.any():
            raise ValueError(
                "no answer stands in its context, so none can be pointed at; give contexts that hold their answers, "
                "letter by letter, or set mode='generate'"
            )
        with reproducible(settings.seed):
            network = self.new_network(settings, start)
        validation, unknown = None, (0, 0)
        if len(checked):
            questions = self._reader.read(checked)
            unknown = questions.unknown(self.words.unknown_id)
            validation = questions, lambda spans: span_scores(checked, questions, spans)
        learned = everything.take(np.flatnonzero(inside))
        program = SpanProgram(network, learned, validation, settings)
        return Lesson(program, np.flatnonzero(~inside), unknown, int(learned.lengths.max()))

    def answers(
        self, network: SpanNetwork, asked: Asked, longest: int, beam: Beam | None
    ) -> tuple[list[str], tuple[int, int]]:
        if beam is not None:
            raise ValueError(
                f"beam is {beam.width}, and this model points at its answers, among which it looks through all; leave "
                "beam out"
            )
        spans, unknown = self.spans(network, asked, longest)
        return [span.text for span in spans], unknown

    def spans(self, network: SpanNetwork, asked: Asked, longest: int) -> tuple[list[Span], tuple[int, int]]:
        """The answers with their places, of at most `longest` words, and the unknown words as `answers` has them."""
        questions = self._reader.read(asked)
        spans, scores = find_spans(network, questions, longest)
        places = cut_spans(asked, questions, spans)
        found = [
            Span(context[start:end], start, end, float(np.exp(score)))
            for context, (start, end), score in zip(asked.contexts, places, scores, strict=True)
        ]
        return found, questions.unknown(self.words.unknown_id)

    def look(self, network: SpanNetwork, asked: Asked) -> Alignment:
        """How likely the answer begins, and ends, at each word."""
        return span_attention(network, asked, self._reader.read(asked))

    def probe(
        self, network: SpanNetwork, initial: SpanNetwork, asked: Asked, sample: int, seed: int
    ) -> tuple[MemoryProbe, tuple[int, int]]:
        questions = self._reader.read(asked)
        found = probe_spans(network, initial, asked, questions, sample, seed)
        return found, questions.unknown(self.words.unknown_id)

    def scored(self, answer: str) -> str:
        return answer

    def documents(self) -> dict[str, Any]:
        return {"words.json": self.words.to_document(), "characters.json": self.characters.to_document()}

    @property
    def _reader(self) -> SpanReader:
        return SpanReader(self.words, self.characters)
