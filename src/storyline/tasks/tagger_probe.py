"""A trained tagger as functions of tensors, for the instruments of memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from storyline.layers import MemoryProbe
from storyline.tasks.probe import stack_probe
from storyline.tasks.sentences import Sentences
from storyline.tasks.tagger_network import TokenTagger, log_probabilities


def probe_tagger(
    network: TokenTagger, initial: TokenTagger, sentences: Sentences, sample: int, seed: int
) -> MemoryProbe:
    """The probe of `sample` sentences drawn at random (all, where there are fewer).

    The loss at k is that of the last word of a window of k words, which ends at a word drawn from each sentence:
    what lies behind the word is never seen, so it is a measure of memory, not of how well the tagger does.
    """
    if not len(sentences):
        raise ValueError("X is empty; give at least one sentence to measure the memory on")
    generator = np.random.default_rng(seed)
    chosen = sentences.take(np.sort(generator.permutation(len(sentences))[:sample]))
    ends = generator.integers(1, chosen.lengths + 1)
    batch = chosen.batch(np.arange(len(chosen)))
    with torch.no_grad():
        embedded = network.embed(batch)

    def loss_at(k: int | None) -> float:
        with torch.no_grad():
            found = log_probabilities(network, _windows(chosen, ends, k))
            return -float(np.mean([scores[-1, tags[-1]] for _, scores, tags in found if tags is not None]))

    answered = loss_at if sentences.tags is not None else None
    return stack_probe(network.layer, initial.layer, embedded, batch.lengths, answered, int(ends.max()))


def _windows(sentences: Sentences, ends: np.ndarray, k: int | None) -> Sentences:
    """Of each sentence the k words (None: all) before place `ends`."""
    cuts = [slice(0 if k is None else max(0, end - k), end) for end in ends.tolist()]

    def cut(values: list[np.ndarray]) -> list[np.ndarray]:
        return [values[row][part] for row, part in zip(sentences.rows, cuts, strict=True)]

    return replace(
        sentences,
        words=cut(sentences.words),
        forms=cut(sentences.forms),
        tags=None if sentences.tags is None else cut(sentences.tags),
        rows=np.arange(len(sentences)),
    )
