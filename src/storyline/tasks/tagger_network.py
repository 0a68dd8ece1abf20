"""The network of a Tagger, its batches, and what training asks of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, overload

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from storyline.data import Vocabulary, collate, ragged_order
from storyline.layers import GRU, LSTM, RNN, CharacterEmbedding, LinearHead, TokenEmbedding
from storyline.tasks.inputs import lengths_of

# A longer word is spelled by its first and its last characters, half of these each.
LONGEST_WORD = 32


@dataclass(frozen=True)
class TaggerBatch:
    """Sentences of a batch.

    words, characters, spelled  (batch, time), (batch, time, characters), (batch, time): ids of the words and of their
                                characters, and how many characters each word has; 0 in the padding
    lengths                     (batch,) words of each sentence
    targets                     (batch, time), -100 in the padding; or None
    rows                        (batch,) the user's row of each sentence
    """

    words: Tensor
    characters: Tensor
    spelled: Tensor
    lengths: Tensor
    targets: Tensor | None
    rows: Tensor


@dataclass(frozen=True, eq=False)
class Sentences:
    """Sentences as ids, with or without tags; `rows` says which of them are meant.

    words     ids of the words of each sentence
    forms     place of each word in the table of distinct forms
    letters   (forms, characters) ids of the characters of each form, 0 beyond its end
    spelled   (forms,) how many characters each has
    tags      ids of the tags of each sentence, or None
    """

    words: list[np.ndarray]
    forms: list[np.ndarray]
    letters: np.ndarray
    spelled: np.ndarray
    rows: np.ndarray
    tags: list[np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> np.ndarray:
        """Words (n,)."""
        return lengths_of([self.words[row] for row in self.rows])

    def batch(self, places: np.ndarray) -> TaggerBatch:
        """The sentences at the given places among `rows`."""
        rows = self.rows[places]
        words = collate(self.words, rows, self.tags)
        # The first form is the padding: a word of no characters.
        forms = collate(self.forms, rows).inputs.numpy()
        spelled = self.spelled[forms]
        letters = self.letters[forms, : spelled.max()]
        return TaggerBatch(
            words.inputs,
            torch.from_numpy(letters),
            torch.from_numpy(spelled),
            words.lengths,
            words.targets,
            words.rows,
        )

    def take(self, places: np.ndarray) -> Sentences:
        """Only those at the given places."""
        return replace(self, rows=self.rows[places])


def read_sentences(
    sentences: list[list[str]], words: Vocabulary, characters: Vocabulary, *, lowercase: bool
) -> Sentences:
    """Token lists as ids."""
    forms = {
        form: place for place, form in enumerate(sorted({word for tokens in sentences for word in tokens}), 1)
    }
    letters = np.zeros((len(forms) + 1, LONGEST_WORD), dtype=np.int64)
    spelled = np.zeros(len(forms) + 1, dtype=np.int64)
    for form, place in forms.items():
        ids = characters.ids(shortened(form))
        letters[place, : len(ids)], spelled[place] = ids, len(ids)
    return Sentences(
        [words.ids(word.lower() if lowercase else word for word in tokens) for tokens in sentences],
        [np.array([forms[word] for word in tokens], dtype=np.int64) for tokens in sentences],
        letters,
        spelled,
        np.arange(len(sentences)),
    )


def shortened(word: str) -> str:
    """The characters by which a word is spelled."""
    half = LONGEST_WORD // 2
    return word if len(word) <= LONGEST_WORD else word[:half] + word[-half:]


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


class Batches(Sequence[TaggerBatch]):
    """The batches of one epoch, each made when it is asked for."""

    def __init__(self, sentences: Sentences, order: Sequence[np.ndarray]) -> None:
        self._sentences, self._order = sentences, order

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> TaggerBatch: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TaggerBatch]: ...
    def __getitem__(self, index: int | slice) -> TaggerBatch | Sequence[TaggerBatch]:
        if isinstance(index, slice):
            return Batches(self._sentences, self._order[index])
        return self._sentences.batch(self._order[index])


class TaggerProgram:
    """How a TokenTagger learns from tagged sentences, and is validated on others."""

    monitor = "accuracy"
    mode: Literal["min", "max"] = "max"

    def __init__(
        self,
        module: TokenTagger,
        training: Sentences,
        validation: Sentences | None,
        *,
        batch_size: int,
        seed: int,
        label_smoothing: float,
    ) -> None:
        self.module = module
        self._training, self._validation = training, validation
        self._batch_size, self._seed, self._label_smoothing = batch_size, seed, label_smoothing

    def batches(self, epoch: int) -> Batches:
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
