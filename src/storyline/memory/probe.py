"""What a task hands to the memory room: its model as functions of tensors, and a sample of the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn


class Probe(Protocol):
    """Any object with these fields can be measured; MemoryProbe is one. They are described there."""

    @property
    def function(self) -> Callable[[Tensor], Tensor]: ...
    @property
    def inputs(self) -> Tensor: ...
    @property
    def layer(self) -> nn.Module | None: ...
    @property
    def layer_inputs(self) -> Tensor | None: ...
    @property
    def lengths(self) -> Tensor | None: ...
    @property
    def loss_at(self) -> Callable[[int | None], float] | None: ...
    @property
    def longest(self) -> int: ...
    @property
    def initial(self) -> Callable[[Tensor], Tensor] | Sequence[float] | None: ...


@dataclass(frozen=True, eq=False)
class MemoryProbe:
    """A trained model and a sample of data, as `measure` reads them.

    Attributes:
        function: embedded inputs (rows, time, channels) -> the last state h_T (rows, size).
        inputs: (batch, time, channels), floating point: sequences of the data, embedded, of equal length.
        layer: the recurrent layer (storyline.layers or torch.nn), None where there is none.
        layer_inputs: what the layer reads, in its own order of axes; None together with ``layer``.
        lengths: (batch,) steps of each sequence of ``layer_inputs``; None: all are full.
        loss_at: k -> loss with only the last k steps of context, None -> with all; None where the data has no
            targets.
        longest: the largest k that ``loss_at`` can be asked for, in steps.
        initial: ``function`` of the model as initialised, before training, or the norms over lag that were
            stored then; None where neither is known.
    """

    function: Callable[[Tensor], Tensor]
    inputs: Tensor
    layer: nn.Module | None = None
    layer_inputs: Tensor | None = None
    lengths: Tensor | None = None
    loss_at: Callable[[int | None], float] | None = None
    longest: int = 1
    initial: Callable[[Tensor], Tensor] | Sequence[float] | None = None
