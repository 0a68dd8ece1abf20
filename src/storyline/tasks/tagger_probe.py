"""A trained tagger as functions of tensors, for the instruments of memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from storyline.layers import MemoryProbe
from storyline.tasks.probe import draw, stack_probe
from storyline.tasks.sentences import Sentences, Tokens
from storyline.tasks.tagger_network import TokenTagger


def probe_tagger(
    network: TokenTagger, initial: TokenTagger, X: Tokens, sentences: Sentences, sample: int, seed: int
) -> MemoryProbe:
    """The probe of at most `sample` sentences drawn at random; X is what `sentences` was read from.

    What is asked for a word is asked with nothing behind it: memory is measured, not how well the tagger does.
    """
    chosen = sentences.take(draw(sentences.lengths, sample, seed))
    batch = chosen.batch(np.arange(len(chosen)))
    with torch.no_grad():
        embedded = network.embed(batch)
    tags = chosen.tags
    return stack_probe(
        network,
        initial,
        _answer,
        embedded,
        batch.lengths,
        targets=None if tags is None else [torch.from_numpy(tags[row]) for row in chosen.rows],
        symbols=[torch.from_numpy(chosen.words[row]) for row in chosen.rows],
        words=[list(X[row]) for row in chosen.rows],
        unit="word",
        total=len(sentences),
    )


def _answer(network: TokenTagger, output: Tensor, _: Tensor, lengths: Tensor) -> Tensor:
    scores: Tensor = network.head(output)
    return scores.log_softmax(-1)
