"""The network that points at the span of a context which answers a question, and what training asks of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from storyline.data import Vocabulary, WordEncoder, ragged_order
from storyline.layers import (
    GRU,
    LSTM,
    RNN,
    AlignedQuestion,
    CharacterEmbedding,
    SpanHead,
    TokenEmbedding,
    WeightedPooling,
    best_spans,
    span_loss,
)
from storyline.tasks.answer_spans import MATCHES, SpanBatch, SpanQuestions
from storyline.tasks.batches import Batches, on_device
from storyline.tasks.estimator import recurrent
from storyline.tasks.settings import AnswererSettings
from storyline.tasks.starting_vectors import StartingVectors, embedding_arguments

# From first and last tokens (n, 2) of the answers found to metrics by name.
Scoring = Callable[[np.ndarray], dict[str, float]]


class SpanNetwork(nn.Module):
    """Log probabilities of where the answer begins and ends: a reader in the line of DrQA, Chen et al. 2017, section 3.

    A word is its vector and its spelling. A token of the context is read beside the question's words that are like it
    and beside whether it stands in the question; the question is read by a recurrent layer of its own, and pooled.

    dropout  of what the recurrent layers read, and of what the head reads
    """

    def __init__(
        self,
        embedding: TokenEmbedding,
        spelling: CharacterEmbedding,
        text: LSTM | GRU | RNN,
        question: LSTM | GRU | RNN,
        *,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embedding, self.spelling = embedding, spelling
        word = embedding.weight.shape[1] + spelling.embedding_size
        self.align = AlignedQuestion(word)
        self.text, self.question = text, question
        self.pooling = WeightedPooling(_output_size(question))
        self.dropout = nn.Dropout(dropout)
        self.head = SpanHead(_output_size(text), _output_size(question), dropout=dropout)

    def forward(self, batch: SpanBatch) -> tuple[Tensor, Tensor]:
        """Log probabilities of the first and of the last token, both (batch, time)."""
        read, question = self.embed(batch)
        return self.point(read, batch.lengths, question)

    def embed(self, batch: SpanBatch) -> tuple[Tensor, Tensor]:
        """What the recurrent layer reads of the contexts (batch, time, channels), and the questions (batch, size)."""
        forms = self.spelling(batch.letters.unsqueeze(0), batch.spelled.unsqueeze(0)).squeeze(0)
        context = self._words(batch.context, batch.context_forms, forms)
        question = self._words(batch.question, batch.question_forms, forms)
        aligned = self.align(context, question, batch.asked)
        read = torch.cat([context, self.dropout(aligned), batch.matches.to(context.dtype)], dim=-1)
        asked, _ = self.question(question, lengths=batch.asked)
        return read, self.pooling(asked, batch.asked)

    def point(self, read: Tensor, lengths: Tensor, question: Tensor) -> tuple[Tensor, Tensor]:
        """Log probabilities of the first and of the last token, both (batch, time), of what `embed` gave."""
        states, _ = self.text(read, lengths=lengths)
        found: tuple[Tensor, Tensor] = self.head(states, question, lengths)
        return found

    def _words(self, ids: Tensor, places: Tensor, forms: Tensor) -> Tensor:
        spelled = functional.embedding(places, forms)
        words: Tensor = self.dropout(torch.cat([self.embedding(ids), spelled], dim=-1))
        return words


def new_span_network(
    settings: AnswererSettings, words: WordEncoder, characters: Vocabulary, start: StartingVectors | None
) -> SpanNetwork:
    """The network that resolved settings ask for, with its initial weights; draws from torch's generator.

    start  where the word vectors start, None: at random
    """
    assert settings.dropout != "auto"
    assert settings.embedding_size != "auto"
    embedding = TokenEmbedding(
        words.size,
        settings.embedding_size,
        unknown_id=words.unknown_id,
        counts=torch.from_numpy(words.counts),
        word_dropout=settings.word_dropout,
        **embedding_arguments(start, words.size, freeze=settings.freeze_vectors),
    )
    spelling = CharacterEmbedding(
        len(characters), settings.spelling_size, character_size=settings.character_size
    )
    word = settings.embedding_size + settings.spelling_size
    text = recurrent(settings, 2 * word + MATCHES, bidirectional=True, dropout=settings.dropout)
    question = recurrent(settings.model_copy(update={"num_layers": 1}), word, bidirectional=True, dropout=0.0)
    return SpanNetwork(embedding, spelling, text, question, dropout=settings.dropout)


class SpanProgram:
    """How a SpanNetwork learns from questions whose answers stand in their contexts, and is validated on others.

    training    each with at least one span
    validation  questions, and what scores the spans that are found for them; None: there is nothing to validate on
    """

    monitor = "f1"
    mode: Literal["min", "max"] = "max"

    def __init__(
        self,
        module: SpanNetwork,
        training: SpanQuestions,
        validation: tuple[SpanQuestions, Scoring] | None,
        settings: AnswererSettings,
    ) -> None:
        assert settings.longest != "auto"
        self.module, self._training, self._validation = module, training, validation
        self._batch_size, self._seed, self._longest = settings.batch_size, settings.seed, settings.longest

    def batches(self, epoch: int) -> Batches[SpanBatch]:
        """The epoch's batches, bucketed by the length of their contexts: a function of the seed and the epoch."""
        order = ragged_order(self._training.lengths, self._batch_size, seed=self._seed, epoch=epoch)
        return Batches(self._training, order)

    def loss(self, item: SpanBatch, carry: dict[str, Tensor] | None) -> tuple[Tensor, None, int]:
        """Minus the log probability of the right spans, in nats a question: layers.span_loss."""
        assert item.spans is not None
        start, end = self.module(item)
        return span_loss(start, end, item.spans), None, len(item.rows)

    def validate(self) -> dict[str, float]:
        """Exact match and F1 on the validation part; {} where there is none."""
        if self._validation is None:
            return {}
        questions, scoring = self._validation
        spans, _ = find_spans(self.module, questions, self._longest)
        return scoring(spans)


def find_spans(
    network: SpanNetwork, questions: SpanQuestions, longest: int, batch_size: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """First and last token (n, 2) of the likeliest span of at most `longest` tokens, and its log probability (n,)."""
    spans = np.zeros((len(questions), 2), dtype=np.int64)
    scores = np.zeros(len(questions), dtype=np.float64)
    if not len(questions):
        return spans, scores
    device = next(network.parameters()).device
    for places in ragged_order(questions.lengths, batch_size, seed=0, epoch=0, shuffle=False):
        batch = on_device(questions.batch(places), device)
        start, end = network(batch)
        first, last, score = best_spans(start, end, longest)
        spans[places, 0], spans[places, 1] = first.cpu().numpy(), last.cpu().numpy()
        scores[places] = score.double().cpu().numpy()
    return spans, scores


def _output_size(layer: LSTM | GRU | RNN) -> int:
    return layer.hidden_size * (2 if layer.bidirectional else 1)
