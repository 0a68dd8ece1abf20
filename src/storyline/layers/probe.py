"""A trained model as functions of tensors: what a task hands to the instruments of memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class MemoryProbe:
    """A trained model and a sample of data, as `storyline.memory.measure` reads them.

    model           in evaluation mode: embedded sequences (batch, time, channels), with ``lengths=`` where they are
                    ragged -> log probabilities, (batch, time, classes) where it answers each step, else
                    (batch, classes)
    inputs          one tensor (time, channels) a sequence of the sample, floating point: what the recurrent layer reads
    targets         of the sequences: one class each, or one a step (time,) each, where below 0 is none; None: the data
                    has no answers
    layer           the recurrent layer (storyline.layers or torch.nn) that reads `inputs`; None where there is none
    initial         `model` as initialised, before training; None where that is not known
    initial_layer   `layer` before training
    symbols         sequences of the data as they are, for its need: tokens (time,) int64, or numbers (time, channels);
                    None: `inputs`
    symbol_targets  the answers to `symbols`, as `targets`; None: the same as those
    words           what a person would call each step of each sequence; None: nobody has named them
    unit            what a step is called, in the singular
    total           of so many sequences the sample was drawn; 0: it is all there is

    How the model was trained, for `storyline.memory.diagnose`; what is None is not known, and is then not looked into:

    clip            the norm that the gradient by all parameters was clipped to; math.inf: it was not clipped, or its
                    optimiser learns as much from a clipped one
    gradient_norms  that norm in training, before clipping: of several steps, or what is typical
    chunk           steps of `inputs` that gradients went back; math.inf: to the beginning of every sequence
    reset_every     steps of `inputs` after which the state was reset; math.inf: never inside a sequence
    trained_steps   the longest sequences of the training, in steps of `inputs`; math.inf: the state was carried from
                    chunk to chunk of a stream, so that there was no longest
    settings        what a remedy (a key of `Finding.change`) is called among the settings of the model's task
    """

    model: nn.Module
    inputs: Sequence[Tensor]
    targets: Any = None
    layer: nn.Module | None = None
    initial: nn.Module | None = None
    initial_layer: nn.Module | None = None
    symbols: Sequence[Any] | None = None
    symbol_targets: Any = None
    words: Sequence[Sequence[str]] | None = field(default=None, repr=False)
    unit: str = "step"
    total: int = 0
    clip: float | None = None
    gradient_norms: Sequence[float] = ()
    chunk: float | None = None
    reset_every: float | None = None
    trained_steps: float | None = None
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
