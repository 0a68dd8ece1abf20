"""The network of a Classifier, and what training asks of it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from storyline.data import Batch, ragged_order
from storyline.layers import GRU, LSTM, RNN, LinearHead, Pooling, TokenEmbedding, pool
from storyline.tasks.batches import Batches
from storyline.tasks.estimator import recurrent
from storyline.tasks.readers import Reader, Sequences, TextReader
from storyline.tasks.settings import ClassifierSettings
from storyline.tasks.starting_vectors import StartingVectors, embedding_arguments


class SequenceClassifier(nn.Module):
    """Scores over classes for whole sequences.

    Tokens (batch, time) int64 are embedded, series (batch, time, channels) float32 read as they are; then the
    recurrent stack, pooling over time, and a linear head.

    dropout  of the embedded words, and of the pooled state
    noise    standard deviation of Gaussian noise added to series in training, in units of the scaled channel
    """

    def __init__(
        self,
        embedding: TokenEmbedding | None,
        layer: LSTM | GRU | RNN,
        classes: int,
        *,
        pooling: Pooling,
        dropout: float,
        noise: float,
    ) -> None:
        super().__init__()
        self.embedding, self.layer = embedding, layer
        self.pooling, self.noise = pooling, noise
        self.dropout = nn.Dropout(dropout if embedding is not None else 0.0)
        size = layer.hidden_size * (2 if layer.bidirectional else 1)
        self.head = LinearHead(size, classes, dropout=dropout)

    def embed(self, inputs: Tensor) -> Tensor:
        """What the recurrent stack reads: (batch, time, channels)."""
        if self.embedding is not None:
            embedded: Tensor = self.dropout(self.embedding(inputs))
            return embedded
        if self.training and self.noise > 0:
            return inputs + self.noise * torch.randn_like(inputs)
        return inputs

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Scores before the softmax (batch, classes)."""
        return self.scores(self.states(inputs, lengths), lengths)

    def states(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Output of the stack (batch, time, size), 0 beyond each length."""
        output: Tensor = self.layer(self.embed(inputs), lengths=lengths)[0]
        return output

    def scores(self, states: Tensor, lengths: Tensor) -> Tensor:
        """The head's scores (batch, classes) for the pooled states."""
        pooled = pool(states, lengths, self.pooling, bidirectional=self.layer.bidirectional)
        scores: Tensor = self.head(pooled)
        return scores


def new_classifier(
    settings: ClassifierSettings, reader: Reader, classes: int, start: StartingVectors | None
) -> SequenceClassifier:
    """The network that resolved settings ask for, with its initial weights; draws from torch's generator.

    start  where the vectors of the words start, None: at random
    """
    assert settings.embedding_size != "auto"
    assert settings.pooling != "auto"
    assert settings.dropout != "auto"
    assert settings.noise != "auto"
    assert settings.bidirectional != "auto"
    embedding = None
    if isinstance(reader, TextReader):
        embedding = TokenEmbedding(
            reader.encoder.size,
            settings.embedding_size,
            unknown_id=reader.encoder.unknown_id,
            counts=torch.from_numpy(reader.encoder.counts),
            word_dropout=settings.word_dropout,
            pad_id=reader.encoder.pad_id,
            **embedding_arguments(start, reader.encoder.size, freeze=settings.freeze_vectors),
        )
    size = settings.embedding_size if isinstance(reader, TextReader) else reader.channels
    layer = recurrent(settings, size, bidirectional=settings.bidirectional, dropout=settings.dropout)
    return SequenceClassifier(
        embedding, layer, classes, pooling=settings.pooling, dropout=settings.dropout, noise=settings.noise
    )


class ClassifierProgram:
    """How a SequenceClassifier learns from labelled sequences, and is validated on others.

    supervise_every: the head also answers from the running state at every so many steps; the mean of these
    losses, times `supervise_weight`, is added to the loss (Lee et al. 2015, "Deeply-supervised nets", in time).
    """

    monitor = "loss"
    mode: Literal["min", "max"] = "min"

    def __init__(
        self,
        module: SequenceClassifier,
        training: Sequences,
        validation: Sequences | None,
        settings: ClassifierSettings,
    ) -> None:
        assert settings.batch_size != "auto"
        self.module = module
        self._training, self._validation = training, validation
        self._batch_size, self._seed = settings.batch_size, settings.seed
        self._label_smoothing = settings.label_smoothing
        self._every, self._weight = settings.supervise_every, settings.supervise_weight

    def batches(self, epoch: int) -> Batches[Batch]:
        """The epoch's batches, bucketed by length: a function of the seed and the epoch."""
        order = ragged_order(self._training.lengths, self._batch_size, seed=self._seed, epoch=epoch)
        return Batches(self._training, order)

    def loss(self, item: Batch, carry: dict[str, Tensor] | None) -> tuple[Tensor, None, int]:
        """Mean cross entropy of a batch, with smoothed labels, in nats."""
        assert item.targets is not None
        states = self.module.states(item.inputs, item.lengths)
        loss = self._cross_entropy(self.module.scores(states, item.lengths), item.targets)
        if self._every is not None:
            loss = loss + self._weight * self._supervision(states, item.lengths, item.targets)
        return loss, None, len(item.rows)

    def validate(self) -> dict[str, float]:
        """Loss in nats, and accuracy, on the validation part; {} where there is none."""
        if self._validation is None:
            return {}
        found = log_probabilities(self.module, self._validation)
        right = found.argmax(axis=1) == self._validation.classes
        return {"loss": mean_loss(found, self._validation.classes), "accuracy": float(right.mean())}

    def _cross_entropy(self, scores: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(scores, targets, label_smoothing=self._label_smoothing)

    def _supervision(self, states: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
        assert self._every is not None
        running = states[:, self._every - 1 :: self._every]
        steps = torch.arange(self._every, states.shape[1] + 1, self._every)
        # The last step of a row has its loss already.
        rows, places = torch.nonzero(steps[None, :] < lengths.cpu()[:, None], as_tuple=True)
        if not len(rows):
            return states.new_zeros(())
        return self._cross_entropy(self.module.head(running[rows, places]), targets[rows])


def log_probabilities(network: SequenceClassifier, sequences: Sequences, batch_size: int = 256) -> np.ndarray:
    """Log probabilities (n, classes) float64, in the order given; `network` must be in evaluation mode."""
    device = next(network.parameters()).device
    found = np.empty((len(sequences), network.head.linear.out_features))
    if not len(sequences):
        return found
    for places in ragged_order(sequences.lengths, batch_size, seed=0, epoch=0, shuffle=False):
        batch = sequences.batch(places)
        scores = network(batch.inputs.to(device), batch.lengths).double()
        found[places] = functional.log_softmax(scores, dim=1).cpu().numpy()
    return found


def mean_loss(log_probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Mean cross entropy in nats."""
    return -float(log_probabilities[np.arange(len(targets)), targets].mean())
