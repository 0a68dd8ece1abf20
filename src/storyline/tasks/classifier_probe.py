"""A trained classifier as functions of tensors, for the instruments of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from storyline.data import WordEncoder
from storyline.layers import MemoryProbe
from storyline.tasks.classifier_network import SequenceClassifier
from storyline.tasks.probe import UNITS, draw, stack_probe
from storyline.tasks.readers import Reader, Sequences, TextReader

_SHOWN = 3  # numbers of a step of a series that name it


def probe_classifier(
    network: SequenceClassifier,
    initial: SequenceClassifier,
    reader: Reader,
    X: Any,
    sequences: Sequences,
    sample: int,
    seed: int,
) -> MemoryProbe:
    """The probe of at most `sample` sequences drawn at random; X is what `sequences` was read from."""
    chosen = sequences.take(draw(sequences.lengths, sample, seed))
    batch = chosen.batch(np.arange(len(chosen)))
    with torch.no_grad():
        embedded = network.embed(batch.inputs)
    return stack_probe(
        network,
        initial,
        _answer,
        embedded,
        batch.lengths,
        targets=None if chosen.targets is None else torch.from_numpy(chosen.classes),
        symbols=[row[:n] for row, n in zip(batch.inputs, batch.lengths.tolist(), strict=True)],
        words=_words(reader, X, chosen),
        unit=UNITS[reader.encoder.level] if isinstance(reader, TextReader) else "step",
        total=len(sequences),
    )


def _answer(network: SequenceClassifier, output: Tensor, _: Tensor, lengths: Tensor) -> Tensor:
    return network.scores(output, lengths).log_softmax(-1)


def _words(reader: Reader, X: Any, chosen: Sequences) -> list[list[str]]:
    """What a person would call each step: the words as they were written, numbers as they were measured."""
    if not isinstance(reader, TextReader):
        return [[_numbers(step) for step in np.asarray(chosen.values[row])] for row in chosen.rows]
    encoder = reader.encoder
    if isinstance(encoder, WordEncoder):
        texts = list(X)
        return [encoder.tokens(texts[row]) for row in chosen.rows]
    names = encoder.names()
    return [[names[id_] for id_ in chosen.values[row]] for row in chosen.rows]


def _numbers(step: np.ndarray) -> str:
    return " ".join(f"{value:.3g}" for value in step[:_SHOWN]) + (" …" if len(step) > _SHOWN else "")
