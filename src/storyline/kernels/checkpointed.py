"""Recompute instead of store: a recurrence that keeps the state every so many steps, and nothing between.

The way there reads chunk after chunk without a graph and keeps the state before each. The way back reads each chunk
once more, with a graph, from the last to the first. Chunks stand at fixed steps of the batch: a reverse direction
takes them from the last to the first, and each row joins in at the chunk that holds its own last step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from storyline.cells import Cell, Noise, State
from storyline.kernels import pool
from storyline.kernels.backend import recurrence
from storyline.kernels.ragged import Ragged
from storyline.kernels.weights import Recurrence, Weights


def checkpointed(
    every: int,
    backend: str,
    cell: Cell,
    weights: Weights,
    input: Tensor,
    state: State,
    fresh: State,
    ragged: Ragged | None = None,
    resets: Tensor | None = None,
    *,
    reverse: bool = False,
    noise: Noise | None = None,
) -> Recurrence:
    """`recurrence` in chunks of `every` steps (1 or more), recomputed on the way back; without a `scan`.

    Outputs, states and their gradients are those of the plain run, as far as the backend computes a chunk as it
    computes the whole; the gradients of weights are summed chunk by chunk, and differ by rounding.
    Where no gradient is wanted, or all steps fit into one chunk, it is the plain run.
    Raises ValueError under the transforms of torch.func and in forward mode, which do not know the way back.
    """
    tensors = (input, *state, *fresh, *weights.every())
    wanted = torch.is_grad_enabled() and any(each.requires_grad for each in tensors)
    if not wanted or len(input) <= every:
        return recurrence(
            backend, cell, weights, input, state, fresh, ragged, resets, reverse=reverse, noise=noise
        )
    if torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0:
        raise ValueError(
            f"checkpoint_every is {every}, but torch.func and forward-mode derivatives cannot recompute on the "
            "way back; build the layer without checkpoint_every"
        )
    device = input.device.type
    chunks = _Chunks(
        every=every,
        backend=backend,
        cell=cell,
        weights_given=weights.given(),
        ends=None if ragged is None else ragged.lengths.cpu(),
        reverse=reverse,
        noise=noise,
        autocast=(device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)),
    )
    lengths = None if ragged is None else ragged.lengths
    output, *last = _Checkpointed.apply(chunks, lengths, resets, *tensors)  # type: ignore[no-untyped-call]
    return Recurrence(output, tuple(last))


@dataclass(frozen=True)
class _Chunks:
    """What both ways know of a call beside its tensors.

    weights_given: see `Weights.given`. ends (batch,) int64 on the CPU: the lengths, None: all full.
    noise: of all steps. autocast: device, dtype, whether it is on; the way back is read as the way there.
    """

    every: int
    backend: str
    cell: Cell
    weights_given: tuple[bool, ...]
    ends: Tensor | None
    reverse: bool
    noise: Noise | None
    autocast: tuple[str, torch.dtype, bool]

    def bounds(self, time: int) -> list[tuple[int, int]]:
        """(start, stop) of each chunk, in the order of reading."""
        forwards = [(start, min(start + self.every, time)) for start in range(0, time, self.every)]
        return forwards[::-1] if self.reverse else forwards

    def split(self, tensors: Sequence[Tensor]) -> tuple[Tensor, State, State, Weights]:
        """input, state, fresh and weights, from all of them in a row."""
        states = len(self.cell.states)
        input, state, fresh = tensors[0], tensors[1 : 1 + states], tensors[1 + states : 1 + 2 * states]
        return input, tuple(state), tuple(fresh), Weights.of(self.weights_given, tensors[1 + 2 * states :])

    def run(
        self, tensors: Sequence[Tensor], lengths: Tensor | None, resets: Tensor | None
    ) -> tuple[Tensor, State, list[Tensor]]:
        """All chunks: the output, the last state, and the states before each chunk but the first: (chunk, ...)."""
        input, states = tensors[0], len(self.cell.states)
        state, rest = tuple(tensors[1 : 1 + states]), tensors[1 + states :]
        bounds = self.bounds(len(input))
        output: Tensor | None = None
        carried: list[Tensor] = []
        for index, (start, stop) in enumerate(bounds):
            read, state = self.read(start, stop, (input[start:stop], *state, *rest), lengths, resets)
            if output is None:
                output = pool.empty(read, len(input), *read.shape[1:])
                # In one piece each: small tensors that stay between large ones that go would scatter the memory.
                carried = [each.new_empty(len(bounds) - 1, *each.shape) for each in state]
            output[start:stop] = read
            if index < len(bounds) - 1:
                for room, each in zip(carried, state, strict=True):
                    room[index] = each.detach()
        assert output is not None
        return output, state, carried

    def read(
        self, start: int, stop: int, tensors: Sequence[Tensor], lengths: Tensor | None, resets: Tensor | None
    ) -> tuple[Tensor, State]:
        """The chunk's output and the state after it; a row without a step in it keeps its state.

        tensors: as in `split`, with the input (stop - start, batch, input_size) and the state before the chunk.
        """
        input, state, fresh, weights = self.split(tensors)
        if self.reverse and resets is not None and stop < len(resets):
            # A cut between two chunks belongs to neither; see `ragged.reverse_resets`.
            cut = resets[stop] if lengths is None else resets[stop] & (lengths > stop)
            state = tuple(
                torch.where(cut.unsqueeze(-1), new, old) for new, old in zip(fresh, state, strict=True)
            )
        rows = self._rows(start, input.device)
        if rows is not None and len(rows) == 0:
            return input.new_zeros(*input.shape[:2], state[0].shape[1]), state

        def pick(each: Tensor, dim: int) -> Tensor:
            return each if rows is None else each.index_select(dim, rows)

        done = recurrence(
            self.backend,
            self.cell,
            weights,
            pick(input, 1),
            tuple(pick(each, 0) for each in state),
            tuple(pick(each, 0) for each in fresh),
            self._ragged(start, stop, rows, lengths),
            None if resets is None else pick(resets[start:stop], 1),
            reverse=self.reverse,
            noise=self._noise(start, stop, rows, lengths),
        )
        if rows is None:
            return done.output, done.state
        output = done.output.new_zeros(*input.shape[:2], done.output.shape[2])
        after = zip(state, done.state, strict=True)
        return output.index_copy(1, rows, done.output), tuple(_put(old, rows, new) for old, new in after)

    def _rows(self, start: int, device: torch.device) -> Tensor | None:
        """The rows that have a step at `start`; None: all."""
        if self.ends is None or bool((self.ends > start).all()):
            return None
        return (self.ends > start).nonzero().squeeze(1).to(device)

    def _ragged(self, start: int, stop: int, rows: Tensor | None, lengths: Tensor | None) -> Ragged | None:
        """Where these rows end within the chunk; None: all are full."""
        if lengths is None or self.ends is None or bool(((self.ends <= start) | (self.ends >= stop)).all()):
            return None
        ends = lengths if rows is None else lengths[rows]
        return Ragged((ends - start).clamp_max(stop - start), stop - start)

    def _noise(self, start: int, stop: int, rows: Tensor | None, lengths: Tensor | None) -> Noise | None:
        """The noise of the chunk's steps, in the order in which these rows read them."""
        if self.noise is None:
            return None

        def cut(each: Tensor | None) -> Tensor | None:
            if each is None or each.dim() == 0:
                return each
            if not self.reverse:
                return each[start:stop] if rows is None else each[start:stop, rows]
            time, batch, _ = each.shape
            if lengths is None:
                return each[time - stop : time - start]
            # Row b reads step t as its (lengths[b] - 1 - t)-th, so the chunk's first is its (lengths[b] - stop)-th.
            row = torch.arange(batch, device=each.device) if rows is None else rows
            read = torch.arange(stop - start, device=each.device).unsqueeze(1)
            slot = (lengths[row] - stop).clamp_min(0) + read
            return each[slot.clamp_max(time - 1), row]

        mask = self.noise.recurrent_mask
        mask = mask if mask is None or rows is None else mask[rows]
        return Noise(mask, tuple(cut(each) for each in self.noise.zoneout))


def _put(old: Tensor, rows: Tensor, new: Tensor) -> Tensor:
    """`old` (batch, size) with `new` in these rows; under autocast the two may differ in precision."""
    both = torch.promote_types(old.dtype, new.dtype)
    return old.to(both).index_copy(0, rows, new.to(both))


class _Checkpointed(torch.autograd.Function):
    """Both ways in eager mode; tensors: input, the state, the fresh state, the weights."""

    @staticmethod
    def forward(
        ctx: Any, chunks: _Chunks, lengths: Tensor | None, resets: Tensor | None, *tensors: Tensor
    ) -> Any:
        # Detached, lest autocast remember a weight's cast without its graph and serve it to others.
        output, state, carried = chunks.run([each.detach() for each in tensors], lengths, resets)
        ctx.save_for_backward(*tensors, lengths, resets, *carried)
        ctx.chunks, ctx.count = chunks, len(tensors)
        ctx.set_materialize_grads(False)
        return output, *state

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> Any:
        chunks, saved = ctx.chunks, ctx.saved_tensors
        tensors, (lengths, resets, *carried) = saved[: ctx.count], saved[ctx.count :]
        device, dtype, enabled = chunks.autocast
        with torch.autocast(device, dtype, enabled):
            if torch.is_grad_enabled():
                gradients = _differentiable(chunks, tensors, lengths, resets, given)
            else:
                gradients = _way_back(
                    chunks, tensors, lengths, resets, carried, given, ctx.needs_input_grad[3:]
                )
        return None, None, None, *gradients


def _way_back(
    chunks: _Chunks, tensors: Sequence[Tensor], lengths: Tensor | None, resets: Tensor | None,
    carried: Sequence[Tensor], given: Sequence[Tensor | None], wanted: Sequence[bool],
) -> list[Tensor | None]:  # fmt: skip
    """The gradients of all tensors, chunk by chunk from the last to the first."""
    states, input = len(chunks.cell.states), tensors[0]
    of_output, *of_state = given
    of_input = pool.empty(input, *input.shape) if wanted[0] else None
    totals: list[Tensor | None] = [None] * (len(tensors) - 1 - states)
    bounds = chunks.bounds(len(input))
    for index in reversed(range(len(bounds))):
        start, stop = bounds[index]
        before = [each[index - 1] for each in carried] if index else tensors[1 : 1 + states]
        here = [input[start:stop], *before, *tensors[1 + states :]]
        # What the state before the chunk gets is what the chunk before must pass on.
        wanted_here = [wanted[0], *[True] * states, *wanted[1 + states :]]
        given_here = [None if of_output is None else of_output[start:stop], *of_state]
        found = _chunk_back(chunks, start, stop, here, lengths, resets, given_here, wanted_here)
        if of_input is not None:
            of_input[start:stop] = 0 if found[0] is None else found[0]
        of_state = found[1 : 1 + states]
        for i, each in enumerate(found[1 + states :]):
            if each is not None:
                # A clone at first: two gradients that are equal may be one tensor.
                totals[i] = each.clone() if (total := totals[i]) is None else total.add_(each)
    return [of_input, *of_state, *totals]


def _chunk_back(
    chunks: _Chunks, start: int, stop: int, tensors: Sequence[Tensor], lengths: Tensor | None,
    resets: Tensor | None, given: Sequence[Tensor | None], wanted: Sequence[bool],
) -> list[Tensor | None]:  # fmt: skip
    """The gradients of one chunk's tensors; its graph is gone when this returns."""
    leaves = [
        each.detach().requires_grad_() if need else each.detach()
        for each, need in zip(tensors, wanted, strict=True)
    ]
    with torch.enable_grad():
        output, state = chunks.read(start, stop, leaves, lengths, resets)
    return _gradients([output, *state], leaves, given)


def _differentiable(
    chunks: _Chunks, tensors: Sequence[Tensor], lengths: Tensor | None, resets: Tensor | None,
    given: Sequence[Tensor | None],
) -> list[Tensor | None]:  # fmt: skip
    """The gradients, themselves differentiable: with the graph of all steps, which a second derivative needs."""
    # Aliases: one tensor may depend on another, or be the same, and what is wanted is the derivative by each alone.
    tensors = [each.view_as(each) if each.requires_grad else each for each in tensors]
    output, state, _ = chunks.run(tensors, lengths, resets)
    return _gradients([output, *state], tensors, given, create_graph=True)


def _gradients(
    results: Sequence[Tensor], tensors: Sequence[Tensor], given: Sequence[Tensor | None],
    *, create_graph: bool = False,
) -> list[Tensor | None]:  # fmt: skip
    """The gradient of each tensor that requires one and that a given gradient reaches, else None."""
    pairs = [
        (result, gradient)
        for result, gradient in zip(results, given, strict=True)
        if gradient is not None and result.requires_grad
    ]
    wanted = [each for each in tensors if each.requires_grad]
    if not pairs or not wanted:
        return [None] * len(tensors)
    found = iter(
        torch.autograd.grad(
            [result for result, _ in pairs], wanted, [gradient for _, gradient in pairs],
            create_graph=create_graph, allow_unused=True,
        )
    )  # fmt: skip
    return [next(found) if each.requires_grad else None for each in tensors]
