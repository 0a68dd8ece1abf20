"""A trained model as functions of tensors: what a task hands to the instruments of memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class MemoryProbe:
    """A trained model and a sample of data, as `storyline.memory.measure` reads them.

    function      embedded inputs (batch, time, channels) -> last state h_T of the top layer (batch, hidden_size);
                  of a bidirectional stack, that of the forward direction
    inputs        (batch, time, channels), floating point: sequences of the sample, embedded, of equal length
    layer         the recurrent layer (storyline.layers or torch.nn), None where there is none
    layer_inputs  what the layer reads, in its own order of axes, ragged; None together with `layer`
    lengths       (batch,) steps of each sequence of `layer_inputs`; None: all are full
    loss_at       k -> mean loss where each prediction has only the last k steps, None -> with all of them; None where
                  the data has no targets
    longest       the largest k that `loss_at` can be asked for, in steps
    initial       `function` of the model as initialised, before training, or the norms over lag that were stored
                  then; None where neither is known
    """

    function: Callable[[Tensor], Tensor]
    inputs: Tensor
    layer: nn.Module | None = None
    layer_inputs: Tensor | None = None
    lengths: Tensor | None = None
    loss_at: Callable[[int | None], float] | None = None
    longest: int = 1
    initial: Callable[[Tensor], Tensor] | Sequence[float] | None = None
