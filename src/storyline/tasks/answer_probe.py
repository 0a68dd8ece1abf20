"""A trained Answerer as functions of tensors, for the instruments of memory: the context, beside its question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from storyline.data import WordEncoder
from storyline.layers import MemoryProbe
from storyline.tasks.answer_span_network import SpanNetwork
from storyline.tasks.answer_spans import SpanQuestions
from storyline.tasks.answer_stories import Stories, sentences_of
from storyline.tasks.answer_story_network import StoryNetwork
from storyline.tasks.answer_texts import Asked
from storyline.tasks.probe import draw

# Which question a step belongs to stands in a channel of its own, in units so small that no measure takes it for
# content, and a power of two, so that it is read back exactly.
_ROW = 2.0**-20
# The least probability of a place.
_DOUBT = 1e-6
# network, what the recurrent layer reads (batch, time, channels), lengths (batch,), questions (batch, size) -> answers
Answer = Callable[[Any, Tensor, Tensor, Tensor], Tensor]


class BesideQuestion(nn.Module):
    """Answers as a function of the context; the question stays as it was.

    inputs (batch, time, channels + 1): what the recurrent layer reads, and which question it belongs to; with `lengths`
    (batch,) where they are ragged. The question is that which the last step names, so that it stays when the past is
    exchanged for another context's.
    """

    def __init__(self, network: nn.Module, answer: Answer, questions: Tensor) -> None:
        super().__init__()
        self.network, self._answer = network, answer
        self.questions = questions

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The answers, log probabilities."""
        if lengths is None:
            lengths = torch.full((len(inputs),), inputs.shape[1])
        named = inputs.detach()[torch.arange(len(inputs)), lengths - 1, -1]
        questions = self.questions[(named / _ROW).round().long()]
        return self._answer(self.network, inputs[..., :-1], lengths, questions)


def probe_spans(
    network: SpanNetwork, initial: SpanNetwork, asked: Asked, questions: SpanQuestions, sample: int, seed: int
) -> MemoryProbe:
    """The probe of a model that points, on at most `sample` contexts: how many words before the end the answer begins.

    Counted from the end, the place of an answer stays the same when the words before it are exchanged or left out.
    """
    chosen = questions.take(draw(questions.lengths, sample, seed))
    batch = chosen.batch(np.arange(len(chosen)))
    contexts = [chosen.contexts[place] for place in chosen.where[chosen.rows]]
    targets = None
    if chosen.spans is not None:
        first = [_first_of(chosen.spans[row]) for row in chosen.rows.tolist()]
        targets = torch.where(torch.tensor(first) < 0, -1, batch.lengths - 1 - torch.tensor(first))
    longest = int(batch.lengths.max())

    def begins(module: Any, read: Tensor, lengths: Tensor, question: Tensor) -> Tensor:
        start, _ = module.point(read, lengths, question)
        places = lengths.unsqueeze(1) - 1 - torch.arange(longest)
        found = start.gather(1, places.clamp(0, start.shape[1] - 1)).masked_fill(places < 0, -torch.inf)
        # Finite everywhere, so that measures can compare contexts of different lengths.
        log_probabilities: Tensor = found.exp().clamp_min(_DOUBT).log().log_softmax(-1)
        return log_probabilities

    with torch.no_grad():
        read, vectors = network.embed(batch)
    return MemoryProbe(
        model=BesideQuestion(network, begins, vectors).eval(),
        inputs=_numbered(read, batch.lengths),
        targets=targets,
        initial=BesideQuestion(initial, begins, vectors).eval(),
        symbols=[torch.from_numpy(tokens.words) for tokens in contexts],
        words=[
            [asked.contexts[row][start:end] for start, end in tokens.offsets.tolist()]
            for row, tokens in zip(chosen.rows.tolist(), contexts, strict=True)
        ],
        unit="word",
        total=len(questions),
    )


def probe_stories(
    network: StoryNetwork,
    initial: StoryNetwork,
    words: WordEncoder,
    asked: Asked,
    stories: Stories,
    sample: int,
    seed: int,
) -> MemoryProbe:
    """The probe of a model that writes, on at most `sample` stories, a step a sentence: the answer's first word."""
    chosen = stories.take(draw(stories.lengths, sample, seed))
    batch = chosen.batch(np.arange(len(chosen)))
    targets = None if batch.answers is None else batch.answers[:, 0]
    assert words.end_id is not None
    begin = words.end_id

    def first_word(module: Any, told: Tensor, lengths: Tensor, question: Tensor) -> Tensor:
        encoded, _ = module.read(told, lengths, question)
        tokens = torch.full((len(told),), begin)
        scores, _, _ = module.step(tokens, module.decoder.begin(encoded))
        found: Tensor = scores.log_softmax(-1)
        return found

    with torch.no_grad():
        told, vectors = network.embed(batch)
    return MemoryProbe(
        model=BesideQuestion(network, first_word, vectors).eval(),
        inputs=_numbered(told, batch.lengths),
        targets=targets,
        initial=BesideQuestion(initial, first_word, vectors).eval(),
        symbols=[torch.from_numpy(chosen.contexts[row]) for row in chosen.rows],
        words=[sentences_of(asked.contexts[row]) for row in chosen.rows.tolist()],
        unit="sentence",
        total=len(stories),
    )


def _first_of(spans: np.ndarray) -> int:
    """The first token of the first right span; -1 where there is none."""
    return int(spans[0, 0]) if len(spans) else -1


def _numbered(read: Tensor, lengths: Tensor) -> list[Tensor]:
    """Each context by itself, (time, channels + 1), with its place in the last channel."""
    return [
        torch.cat([steps[:length], steps.new_full((length, 1), place * _ROW)], dim=1)
        for place, (steps, length) in enumerate(zip(read, lengths.tolist(), strict=True))
    ]
