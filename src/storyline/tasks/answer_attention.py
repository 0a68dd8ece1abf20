"""Where a trained Answerer looked, as a picture: its hops over sentences, or where its answer begins and ends."""

from __future__ import annotations

import numpy as np
import torch

from storyline.tasks.alignment import Alignment
from storyline.tasks.answer_span_network import SpanNetwork
from storyline.tasks.answer_spans import SpanQuestions
from storyline.tasks.answer_stories import Stories, sentences_of
from storyline.tasks.answer_story_network import StoryNetwork
from storyline.tasks.answer_texts import Asked

_FIRST = np.array([0])


def story_attention(network: StoryNetwork, asked: Asked, stories: Stories) -> Alignment:
    """How much each hop looked at each sentence of the first context."""
    batch = stories.batch(_FIRST)
    told, question = network.embed(batch)
    _, looked = network.read(told, batch.lengths, question)
    hops = [f"hop {hop + 1}" for hop in range(looked.shape[1])]
    return Alignment(sentences_of(asked.contexts[0]), hops, looked[0].numpy())


def span_attention(network: SpanNetwork, asked: Asked, questions: SpanQuestions) -> Alignment:
    """How likely the answer begins, and ends, at each word of the first context."""
    start, end = network(questions.batch(_FIRST))
    offsets = questions.contexts[questions.where[0]].offsets.tolist()
    words = [asked.contexts[0][first:last] for first, last in offsets]
    return Alignment(words, ["begins", "ends"], torch.cat([start, end]).exp().numpy())
