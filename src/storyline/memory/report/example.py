"""One sequence of the user's own, read by a recurrent layer: what was written into its state, kept and erased."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from storyline.memory.inside.events import MemoryEvent, memory_events
from storyline.memory.inside.layer_trace import LayerTrace, trace
from storyline.memory.inside.parts import as_ours

# So many sequences are looked at, and of each so many steps at most: a map of more says nothing at the width of a page.
_ROWS, _STEPS = 16, 400
# Sequences this long still have their words under the map.
_READABLE = 40
# States and gates of an LSTM a unit and step, and how many numbers of all of them are held at once.
_HELD, _NUMBERS = 7, 1 << 26


@dataclass(frozen=True, eq=False)
class Example:
    """A trace, the row of it that is shown, and what happened there.

    trace: of a few sequences. row: which of them. words: of that row, one a step. events: in the order of writing.
    unit: what a step is called.
    """

    trace: LayerTrace
    row: int
    words: tuple[str, ...]
    events: tuple[MemoryEvent, ...]
    unit: str

    @property
    def part(self) -> str | None:
        """The layer in which the strongest event took place; None where there was none."""
        return max(self.events, key=lambda event: event.strength).part if self.events else None


def choose_example(
    layer: nn.Module, inputs: Sequence[Tensor], words: Sequence[Sequence[str]], unit: str
) -> Example:
    """Trace a few sequences, and choose the one in which the layer had most to keep.

    Args:
        layer: recurrent, with gates that keep.
        inputs: what it reads, (time, channels) a sequence; of a long one its first 400 steps are read.
        words: what a person would call each step of each.
        unit: what a step is called, in the singular.

    Raises:
        MeasureError: the layer has no gate that keeps.
    """
    stack = as_ours(layer)
    width = stack.hidden_size * stack.num_layers * (2 if stack.bidirectional else 1) * _HELD
    steps = min(_STEPS, max(map(len, inputs)), max(1, _NUMBERS // width))
    rows = max(1, min(_ROWS, _NUMBERS // (width * steps)))
    # the longest of those whose words can be read, else the shortest
    places = sorted(
        range(len(inputs)), key=lambda i: (len(inputs[i]) > _READABLE, abs(len(inputs[i]) - _READABLE))
    )[:rows]
    padded = pad_sequence([inputs[i][:steps] for i in places], batch_first=stack.batch_first)
    lengths = torch.tensor([min(len(inputs[i]), steps) for i in places])
    found = trace(layer, padded, lengths)
    texts = [tuple(words[i][:steps]) for i in places]
    events = [memory_events(found, text, row=row, unit=unit) for row, text in enumerate(texts)]
    best = max(range(len(places)), key=lambda row: sum(event.strength for event in events[row]))
    return Example(found, best, texts[best], events[best], unit)
