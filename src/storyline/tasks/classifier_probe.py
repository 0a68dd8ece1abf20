"""A trained classifier as functions of tensors, for the instruments of memory."""

from __future__ import annotations

import numpy as np
import torch

from storyline.tasks.classifier_network import SequenceClassifier, log_probabilities, mean_loss
from storyline.tasks.probe import MemoryProbe, equal_tails, last_state
from storyline.tasks.readers import Sequences

# Of the sample, the share of longest sequences on which the gradient is followed back, and at most how many.
_LONGEST = 0.25
_FOLLOWED = 32


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
    # The gradient wants sequences of equal length, and long ones show the most: all that are as long as the
    # shortest of the longest quarter, cut to that.
    steps = int(torch.sort(batch.lengths, descending=True).values[round(_LONGEST * (len(chosen) - 1))])
    longest = torch.nonzero(batch.lengths >= steps).flatten()[:_FOLLOWED]

    def loss_at(k: int | None) -> float:
        with torch.no_grad():
            return mean_loss(log_probabilities(network, chosen.tails(k)), chosen.classes)

    return MemoryProbe(
        function=last_state(network.layer),
        inputs=equal_tails(embedded[longest], batch.lengths[longest], steps),
        layer=network.layer,
        layer_inputs=embedded,
        lengths=batch.lengths,
        loss_at=loss_at if sequences.targets is not None else None,
        longest=int(chosen.lengths.max()),
        initial=last_state(initial.layer),
    )
