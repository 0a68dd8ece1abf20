"""What the probes of all tasks have in common: the network from its embedded inputs on, and the sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from storyline.layers import MemoryProbe
from storyline.tasks.settings import ModelSettings
from storyline.training.settings import TrainingSettings

# output of the stack (batch, time, size), what it read (batch, time, channels), lengths (batch,) -> log probabilities
Answer = Callable[[Any, Tensor, Tensor, Tensor], Tensor]
# A sample holds at most so many steps (but a few sequences always): every one of them is read a hundred times.
_STEPS, _FEWEST = 40_000, 16
# What a step is called, by the level of the encoder.
UNITS = {"word": "word", "char": "character", "subword": "subword"}


# What remedies of storyline.memory.diagnose are called among the settings of every task, and of its recurrent cores.
_EVERY = {"clip": "clip_norm"}
_RECURRENT = {"remember": "remember", "cell": "core"}
# From ten times Adam's epsilon on the steps are nearly those of any larger gradient.
_NEAR_EPSILON = 10 * float(TrainingSettings.model_fields["epsilon"].default)


class FromEmbedding(nn.Module):
    """A network behind its embedding: (batch, time, channels), lengths (batch,) or None -> log probabilities."""

    def __init__(self, network: Any, answer: Answer) -> None:
        super().__init__()
        self.network, self._answer = network, answer

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The answers, (batch, time, classes) or (batch, classes)."""
        output, _ = self.network.layer(inputs, lengths=lengths)
        if lengths is None:
            lengths = torch.full((len(inputs),), inputs.shape[1])
        return self._answer(self.network, output, inputs, lengths)


def draw(lengths: np.ndarray, sample: int, seed: int) -> np.ndarray:
    """Places of at most `sample` sequences of the given lengths, drawn at random, in order.

    Fewer where they would hold more steps than can be read in a few seconds, but 16 always.
    """
    if not len(lengths):
        raise ValueError("X is empty; give at least one sequence to measure the memory on")
    places = np.random.default_rng(seed).permutation(len(lengths))[:sample]
    within = np.cumsum(lengths[places]) <= _STEPS
    within[:_FEWEST] = True
    return np.sort(places[within])


def stack_probe(
    network: Any, initial: Any, answer: Answer, embedded: Tensor, lengths: Tensor, **more: Any
) -> MemoryProbe:
    """The probe of a network with a recurrent stack, on embedded sequences (batch, time, channels).

    more: other fields of the probe.
    """
    return MemoryProbe(
        model=FromEmbedding(network, answer).eval(),
        inputs=[row[:steps] for row, steps in zip(embedded, lengths.tolist(), strict=True)],
        layer=network.layer,
        initial=FromEmbedding(initial, answer).eval(),
        initial_layer=initial.layer,
        **more,
    )


def as_trained(
    probe: MemoryProbe,
    resolved: ModelSettings,
    summary: Mapping[str, Any],
    *,
    trained_steps: float | None,
    chunk: float | None = math.inf,
    reset_every: float | None = math.inf,
    settings: Mapping[str, str] | None = None,
) -> MemoryProbe:
    """The probe with what is known of its model's training: from the settings, and from the summary of how it went.

    Adam's steps do not hang on the size of the gradient (Kingma & Ba 2015, section 2.1) until it comes near epsilon: a
    clip is told where the root of a gradient's mean square is below ten times that, and is none otherwise. It goes with
    the norm that the training itself saw, since another loss, dropout, the size of batches and the length of sequences
    all change it: of a model saved before that was kept, neither is told.

    trained_steps, chunk, reset_every, settings: as in MemoryProbe; the settings beside those of every task
    """
    norm = summary.get("gradient_norm")
    clip = math.inf if resolved.clip_norm is None else resolved.clip_norm
    parameters = sum(each.numel() for each in probe.model.parameters())
    if clip >= _NEAR_EPSILON * math.sqrt(parameters):
        clip = math.inf
    recurrent = {} if str(resolved.core) == "transformer" else _RECURRENT
    return replace(
        probe,
        clip=clip if norm is not None or clip == math.inf else None,
        gradient_norms=() if norm is None else (norm,),
        chunk=chunk,
        reset_every=reset_every,
        trained_steps=trained_steps,
        settings={**_EVERY, **recurrent, **(settings or {})},
    )
