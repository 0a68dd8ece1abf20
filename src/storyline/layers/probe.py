"""A trained model as functions of tensors: what a task hands to the instruments of memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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
