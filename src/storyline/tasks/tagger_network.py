"""The network of a Tagger, and what training asks of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from storyline.data import Vocabulary, ragged_order
from storyline.layers import GRU, LSTM, RNN, CharacterEmbedding, LinearHead, TokenEmbedding
from storyline.tasks.batches import Batches
from storyline.tasks.estimator import recurrent
from storyline.tasks.sentences import Sentences, TaggerBatch
from storyline.tasks.settings import TaggerSettings
from storyline.tasks.starting_vectors import StartingVectors, embedding_arguments


class TokenTagger(nn.Module):
    """Scores over tags for every word: word and character embedding side by side, recurrent stack, linear head.

    dropout  of what the stack reads and of what the head reads
    """

    def __init__(
        self,
        embedding: TokenEmbedding,
        spelling: CharacterEmbedding,
        layer: LSTM | GRU | RNN,
        tags: int,
        *,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embedding, self.spelling, self.layer = embedding, spelling, layer
        self.dropout = nn.Dropout(dropout)
        self.head = LinearHead(layer.hidden_size * (2 if layer.bidirectional else 1), tags, dropout=dropout)

    def embed(self, batch: TaggerBatch) -> Tensor:
        """What the recurrent stack reads: (batch, time, channels)."""
        vectors = self.embedding(batch.words), self.spelling(batch.characters, batch.spelled)
        embedded: Tensor = self.dropout(torch.cat(vectors, dim=-1))
        return embedded

    def forward(self, batch: TaggerBatch) -> Tensor:
        """Scores before the softmax (batch, time, tags)."""
        output, _ = self.layer(self.embed(batch), lengths=batch.lengths)
        scores: Tensor = self.head(output)
        return scores


def new_tagger(
    settings: TaggerSettings,
    words: Vocabulary,
    characters: Vocabulary,
    tags: int,
    start: StartingVectors | None = None,
) -> TokenTagger:
    """The network that resolved settings ask for, with its initial weights; draws from torch's generator.

    start  where the vectors of the words start, None: at random
    """
    assert settings.embedding_size != "auto"
    assert words.unknown_id is not None
    embedding = TokenEmbedding(
        len(words),
        settings.embedding_size,
        unknown_id=words.unknown_id,
        counts=torch.from_numpy(words.counts),
        word_dropout=settings.word_dropout,
        **embedding_arguments(start, len(words), freeze=settings.freeze_vectors),
    )
    spelling = CharacterEmbedding(
        len(characters), settings.spelling_size, character_size=settings.character_size
    )
    layer = recurrent(
        settings,
        settings.embedding_size + settings.spelling_size,
        bidirectional=settings.bidirectional,
        dropout=settings.dropout,
    )
    return TokenTagger(embedding, spelling, layer, tags, dropout=settings.dropout)


class TaggerProgram:
    """How a TokenTagger learns from tagged sentences, and is validated on others."""

    monitor = "accuracy"
    mode: Literal["min", "max"] = "max"

    def __init__(
        self,
        module: TokenTagger,
        training: Sentences,
        validation: Sentences | None,
        settings: TaggerSettings,
    ) -> None:
        self.module = module
        self._training, self._validation = training, validation
        self._batch_size, self._seed = settings.batch_size, settings.seed
        self._label_smoothing = settings.label_smoothing

    def batches(self, epoch: int) -> Batches[TaggerBatch]:
        """The epoch's batches, bucketed by length: a function of the seed and the epoch."""
        order = ragged_order(self._training.lengths, self._batch_size, seed=self._seed, epoch=epoch)
        return Batches(self._training, order)

    def loss(self, item: TaggerBatch, carry: dict[str, Tensor] | None) -> tuple[Tensor, None, int]:
        """Mean cross entropy a word, with smoothed labels, in nats."""
        assert item.targets is not None
        loss = functional.cross_entropy(
            self.module(item).flatten(0, 1), item.targets.flatten(), label_smoothing=self._label_smoothing
        )
        return loss, None, len(item.rows)

    def validate(self) -> dict[str, float]:
        """Loss in nats, and accuracy, a word of the validation part; {} where there is none."""
        if self._validation is None:
            return {}
        loss, right, count = 0.0, 0, 0
        for _, found, targets in log_probabilities(self.module, self._validation):
            assert targets is not None
            loss -= float(found[np.arange(len(targets)), targets].sum())
            right += int((found.argmax(axis=1) == targets).sum())
            count += len(targets)
        return {"accuracy": right / count, "loss": loss / count}


def log_probabilities(
    network: TokenTagger, sentences: Sentences, batch_size: int = 64
) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
    """Place of each sentence, its log probabilities (words, tags) float64, and its tags; in order of length."""
    device = next(network.parameters()).device
    if not len(sentences):
        return
    for places in ragged_order(sentences.lengths, batch_size, seed=0, epoch=0, shuffle=False):
        batch = sentences.batch(places)
        on_device = replace(
            batch,
            words=batch.words.to(device),
            characters=batch.characters.to(device),
            spelled=batch.spelled.to(device),
        )
        scores = network(on_device).double().log_softmax(-1).cpu().numpy()
        for place, length, found in zip(places.tolist(), batch.lengths.tolist(), scores, strict=True):
            tags = None if sentences.tags is None else sentences.tags[sentences.rows[place]]
            yield place, found[:length], tags
