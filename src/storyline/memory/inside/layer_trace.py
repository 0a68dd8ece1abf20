"""Every state and gate of a recurrent layer over a user's data, whole or in pieces of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from storyline.layers import Recurrent, State, Trace
from storyline.memory.inside.keeping import keeping, written
from storyline.memory.inside.parts import Part, in_chunks, part_name, parts_of
from storyline.memory.inside.sample import Sample, inside, sample_of
from storyline.memory.steps import MeasureError, check_sizes


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """Every state and gate of every layer and direction; batch first, whatever the layer's `batch_first`.

    Keys are the cell's letter and torch.nn's suffix, `c_l0`, `f_l1`, `h_l0_reverse`; letters as in
    `storyline.cells`: h, c and i, f, g, o of the LSTM, h and r, z, n of the GRU, h of the RNN.

    states: (batch, time + 1, size); slot 0 is the initial state, slot t + 1 the one after step t, held beyond the
        row's length. A reverse direction reads the other way: slot t is the state after it has read step t, and
        the slot at the row's length, with all beyond it, the initial one.
    gates: (batch, time, hidden_size), after the non-linearity; slot t belongs to step t; 0 beyond the length.
    output: (batch, time, directions * size), what the layer returns; 0 beyond the length.
    lengths: (batch,) int64.
    layer: what ran.
    """

    states: dict[str, Tensor]
    gates: dict[str, Tensor]
    output: Tensor
    lengths: Tensor
    layer: Recurrent

    @property
    def parts(self) -> dict[str, str]:
        """Suffix by name: ``{"layer 1": "_l0", "layer 1, backward": "_l0_reverse"}``."""
        ends = [key.removeprefix("h") for key in self.states if key.startswith("h_")]
        return {part_name(end): end for end in ends}

    def around(self, part: str) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """(states before each step, after it, gates) of one of ``parts`` by letter, (batch, time, size) each."""
        if part not in self.parts:
            raise MeasureError(f"part is {part!r}; the trace has {', '.join(map(repr, self.parts))}")
        end = self.parts[part]
        states, gates = (
            {key.removesuffix(end): each for key, each in held.items() if key.endswith(end)}
            for held in (self.states, self.gates)
        )
        earlier = {name: each[:, :-1] for name, each in states.items()}
        later = {name: each[:, 1:] for name, each in states.items()}
        return (later, earlier, gates) if end.endswith("_reverse") else (earlier, later, gates)

    def kept(self, part: str) -> Tensor | None:
        """By what each step multiplied what each unit held, see `keeping`: (batch, time, hidden_size).

        0 beyond the length. None where the cell has no gate that keeps.
        """
        kept = keeping(self.layer, *self.around(part))
        return None if kept is None else torch.where(self._real, kept, 0)

    def written(self, part: str) -> Tensor | None:
        """What each step wrote to each unit, i g of an LSTM: (batch, time, hidden_size); None as for `kept`."""
        kept = self.kept(part)
        if kept is None:
            return None
        before, after, _ = self.around(part)
        return torch.where(self._real, written(before, after, kept), 0)

    @property
    def _real(self) -> Tensor:
        return inside(self.lengths, self.output.shape[1]).unsqueeze(-1)


@dataclass(frozen=True, eq=False)
class TracePiece:
    """Some rows and some steps of one layer in one direction, in the order of its reading.

    part: which layer and direction. rows: of the batch. start: the first step, counted in the order of reading: of
        a reverse direction, step s of row b is step lengths[b] - 1 - s of the data.
    before, after: the states around each step by letter, (rows, steps, size); held beyond the length.
    gates: by letter, (rows, steps, hidden_size), 0 beyond the length.
    input: (rows, steps, channels), what the layer read. inside: (rows, steps) bool, the steps that exist.
    """

    part: Part
    rows: slice
    start: int
    before: dict[str, Tensor]
    after: dict[str, Tensor]
    gates: dict[str, Tensor]
    input: Tensor
    inside: Tensor

    @property
    def kept(self) -> Tensor | None:
        """As `LayerTrace.kept`; beyond the length what it says means nothing."""
        return keeping(self.part.layer, self.before, self.after, self.gates)


def trace(
    layer: nn.Module,
    inputs: Tensor | PackedSequence,
    lengths: Tensor | Sequence[int] | None = None,
    state: State | None = None,
) -> LayerTrace:
    """Every state and gate of a recurrent layer over some data, in evaluation mode and without gradients.

    The numbers of torch's layers come from the equations in `storyline.cells` with its weights; that they give the
    layer's own output is checked on the first steps, in float64. Its mode and its weights stay as they are.

        kept = trace(model.lstm, x).gates["f_l0"]          # (batch, time, hidden_size)

    Args:
        layer: nn.LSTM, nn.GRU or nn.RNN, or one of storyline.layers; stacked, bidirectional, projected.
        inputs: as the layer reads them: (time, batch, channels), (batch, time, channels) with batch_first,
            (time, channels) for one sequence, or a PackedSequence.
        lengths: (batch,) steps of each sequence, None: all are full. What stands beyond has no effect.
        state: the one before the first step, as the layer takes it; None: its own, zeros in torch.nn.

    For sequences too long to hold every gate of, see `trace_pieces`.

    Raises:
        MeasureError: the layer is not recurrent or does not compute what its weights say, or the data does not fit.
    """
    sample = sample_of(layer, inputs, lengths, state)
    stack = sample.stack
    fed = sample.inputs if stack.batch_first else sample.inputs.transpose(0, 1)
    was_training, backend = stack.training, stack.backend
    stack.eval()
    try:
        stack.backend = "reference"
        with torch.no_grad():
            hx = sample.state if len(sample.state) > 1 else sample.state[0]
            # not the call, which would run the user's hooks
            output, _, found = stack.forward(fed, hx, lengths=sample.lengths, return_trace=True)
    finally:
        stack.train(was_training)
        stack.backend = backend
    if not stack.batch_first:
        output = output.transpose(0, 1)
        found = Trace(
            *(
                {key: each.transpose(0, 1) for key, each in part.items()}
                for part in (found.states, found.gates)
            )
        )
    return LayerTrace(found.states, found.gates, output, sample.lengths, stack)


def trace_pieces(
    layer: nn.Module,
    inputs: Tensor | PackedSequence,
    lengths: Tensor | Sequence[int] | None = None,
    state: State | None = None,
    *,
    steps_at_once: int = 256,
    rows_at_once: int = 32,
) -> Iterator[TracePiece]:
    """What `trace` returns, piece by piece: memory for one piece, and for the input and output of one layer.

    A million steps are reduced to what is wanted of them:

        total = sum((piece.gates["f"] * piece.inside[..., None]).sum((0, 1)) for piece in trace_pieces(lstm, x))

    Pieces come layer by layer, direction by direction, in the order of reading, for at most ``rows_at_once``
    sequences and ``steps_at_once`` steps. The other arguments and the errors are those of `trace`.
    """
    # Checked before the first piece is asked for: a generator would raise only then.
    check_sizes(steps_at_once=steps_at_once, rows_at_once=rows_at_once)
    return pieces_of(sample_of(layer, inputs, lengths, state), steps_at_once, rows_at_once)


def pieces_of(sample: Sample, steps_at_once: int = 256, rows_at_once: int = 32) -> Iterator[TracePiece]:
    """`trace_pieces` of data that is checked already."""
    parts = parts_of(sample.stack)
    directions = 2 if sample.stack.bidirectional else 1
    for rows in in_chunks(len(sample.inputs), rows_at_once):
        lengths = sample.lengths[rows]
        below = sample.inputs[rows, : int(lengths.max())]
        for first in range(0, len(parts), directions):
            outputs: list[Tensor] = []
            for part in parts[first : first + directions]:
                state = tuple(each[part.index, rows] for each in sample.state)
                fed = _turned(below, lengths) if part.reverse else below
                hs = []
                for piece in _walk(part, rows, fed, lengths, state, steps_at_once):
                    hs.append(torch.where(piece.inside.unsqueeze(-1), piece.after["h"], 0))
                    yield piece
                output = torch.cat(hs, 1)
                outputs.append(_turned(output, lengths) if part.reverse else output)
            below = torch.cat(outputs, -1)


def _walk(
    part: Part, rows: slice, fed: Tensor, lengths: Tensor, state: tuple[Tensor, ...], steps_at_once: int
) -> Iterator[TracePiece]:
    """One layer in one direction over some rows, which stand in the order of reading."""
    names = part.layer.cell.states
    for steps in in_chunks(fed.shape[1], steps_at_once):
        input = fed[:, steps]
        left = lengths - steps.start
        hx = tuple(each.unsqueeze(0) for each in state)
        with torch.no_grad():
            *_, found = part.layer(input, hx if len(hx) > 1 else hx[0], return_trace=True)
        real = inside(left, input.shape[1])
        # The slot that each slot shows: its own, or the last one that exists.
        slot = torch.arange(input.shape[1] + 1, device=input.device).minimum(left.clamp_min(0).unsqueeze(1))
        slots = {
            name: found.states[f"{name}_l0"].gather(1, slot.unsqueeze(-1).expand(-1, -1, each.shape[-1]))
            for name, each in zip(names, state, strict=True)
        }
        gates = {
            key.removesuffix("_l0"): torch.where(real.unsqueeze(-1), each, 0)
            for key, each in found.gates.items()
        }
        before = {name: each[:, :-1] for name, each in slots.items()}
        after = {name: each[:, 1:] for name, each in slots.items()}
        yield TracePiece(part, rows, steps.start, before, after, gates, input, real)
        state = tuple(slots[name][:, -1] for name in names)


def _turned(values: Tensor, lengths: Tensor) -> Tensor:
    """Each row (batch, time, channels) backwards within its length; an involution."""
    step = torch.arange(values.shape[1], device=values.device).expand(len(values), -1)
    place = torch.where(step < lengths.unsqueeze(1), lengths.unsqueeze(1) - 1 - step, step)
    return values.gather(1, place.unsqueeze(-1).expand_as(values))
