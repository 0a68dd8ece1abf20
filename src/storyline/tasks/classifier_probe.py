"""A trained classifier as functions of tensors, for the instruments of memory."""

from __future__ import annotations

import numpy as np
import torch

from storyline.layers import MemoryProbe
from storyline.tasks.classifier_network import SequenceClassifier, log_probabilities, mean_loss
from storyline.tasks.probe import stack_probe
from storyline.tasks.readers import Sequences


def probe_classifier(
    network: SequenceClassifier, initial: SequenceClassifier, sequences: Sequences, sample: int, seed: int
) -> MemoryProbe:
    """The probe of `sample` sequences drawn at random (all, where there are fewer)."""
    if not len(sequences):
        raise ValueError("X is empty; give at least one sequence to measure the memory on")
    generator = np.random.default_rng(seed)
    drawn = generator.permutation(len(sequences))[:sample]
    chosen = sequences.take(np.sort(drawn))
    batch = chosen.batch(np.arange(len(chosen)))
    with torch.no_grad():
        embedded = network.embed(batch.inputs)

    def loss_at(k: int | None) -> float:
        with torch.no_grad():
            return mean_loss(log_probabilities(network, chosen.tails(k)), chosen.classes)

    answered = loss_at if sequences.targets is not None else None
    return stack_probe(
        network.layer, initial.layer, embedded, batch.lengths, answered, int(chosen.lengths.max())
    )
