"""A model as a function of sequences: the last answer for each, whatever the model is and returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence, pad_sequence

from storyline.memory.steps import MeasureError
from storyline.memory.subjects.outputs import Layout, answer_of
from storyline.memory.subjects.sequences import Rows, lengths_of

# How many steps of all rows together are in memory at once, without and with what the way back needs.
_STEPS_AT_ONCE = 1 << 18
_STEPS_WITH_GRADIENT = 1 << 16
# Rows that are made for a measure, the same ones at every lag, are held up to so many numbers.
_NUMBERS_HELD = 1 << 22
# Of long rows that would go through one or two at a time, up to so many go together where the numbers that the layers
# of a module make of a step, three times as many on the way back, leave them within so many bytes: a recurrent layer
# takes hardly longer for several rows than for one.
_ROWS_TOGETHER, _BYTES = 8, 1 << 30


@dataclass(frozen=True, eq=False)
class Subject:
    """A model that is measured, and how it is called.

    Attributes:
        model: a module, or a callable array -> array.
        array: hand it NumPy arrays.
        time_dim: 1 where it reads (batch, time, ...), 0 where it reads (time, batch, ...).
        ragged: how it takes rows of differing length: "lengths" (an argument of that name), "packed"
            (a PackedSequence) or "grouped" (rows of equal length together).
        layout: of its output; None until it is found.
        causal: True where it answers at every step, and no answer depends on a later step.
        rows_at_once: rows in one call at most; None: as many as fit.
        always_lengths: it wants lengths of full rows too, as an encoder does.
        dtype: of its output; None until that was seen.
        given: what the inputs came as, which a callable that is no module gets; None: as they are.
    """

    model: Callable[..., Any]
    array: bool
    time_dim: int
    ragged: str
    layout: Layout | None = None
    causal: bool = False
    rows_at_once: int | None = None
    always_lengths: bool = False
    dtype: torch.dtype | None = None
    given: torch.dtype | None = None

    def last(self, rows: Rows) -> Tensor:
        """The answer at the last step of each row, (rows, size) float64 on the CPU, without gradient."""
        return self.at(rows, torch.tensor(lengths_of(rows))[:, None] - 1)[:, 0].double()

    def last_of_groups(self, groups: Iterable[list[Tensor]]) -> Tensor:
        """(groups, rows, size): `last` for groups of as many rows each, made as they are asked for.

        Several go together, so that short rows fill a call, but not more numbers than may be held at once.
        """
        found: list[Tensor] = []
        held: list[list[Tensor]] = []

        def answered() -> list[Tensor]:
            rows = [row for group in held for row in group]
            return list(self.last(rows).reshape(len(held), len(held[0]), -1)) if held else []

        for group in groups:
            held.append(group)
            if sum(row.numel() for each in held for row in each) >= _NUMBERS_HELD:
                found.extend(answered())
                held.clear()
        return torch.stack([*found, *answered()])

    def at(self, rows: Rows, steps: Tensor) -> Tensor:
        """The answers at the given steps (rows, steps) of each row, (rows, steps, size) on the CPU, without gradient.

        A model with one answer a sequence has that one, at its last step only.
        """
        found: Tensor | None = None
        with torch.no_grad():
            for chunk in self.chunks(rows):
                batch, lengths = _padded(rows, chunk)
                output = self.answer(batch, lengths)
                if output.ndim == 3:
                    wanted = steps[chunk].to(output.device)
                    output = output[torch.arange(len(chunk), device=output.device)[:, None], wanted]
                else:
                    output = output[:, None]
                check_finite(output)
                output = output.cpu()
                if found is None:
                    found = output.new_empty(len(rows), *output.shape[1:])
                found[chunk] = output
        assert found is not None
        return found

    def with_leaves(self, rows: Rows) -> Iterator[tuple[list[int], Tensor, Tensor, list[int]]]:
        """Chunk by chunk: row indices, what the gradient is taken by, the last answers, lengths.

        The leaf is (rows, time, channels): the inputs, or of tokens their vectors, as the nn.Embedding that is
        given the tokens returns them.
        """
        for chunk in self.chunks(rows, with_gradient=True):
            batch, lengths = _padded(rows, chunk)
            steps = lengths or [batch.shape[1]] * len(chunk)
            if batch.is_floating_point():
                leaf = self.fitting(batch).clone().requires_grad_(True)
                output = self.answer(leaf, lengths)
            else:
                output, leaf = self._embedded(batch, lengths)
            if not output.requires_grad:
                raise MeasureError(
                    "the output carries no gradient: the model detaches it, works under torch.no_grad() or returns "
                    "classes; return what is differentiable"
                )
            last = output[torch.arange(len(chunk)), torch.tensor(steps) - 1] if output.ndim == 3 else output
            yield chunk, leaf, last, steps

    def answer(self, batch: Tensor, lengths: list[int] | None) -> Tensor:
        """The output for (rows, time, ...): (rows, time, size), or (rows, size) with one answer a sequence.

        More rows of one length than `rows_at_once` go in several calls.
        """
        if self.rows_at_once is not None and len(batch) > self.rows_at_once and lengths is None:
            return torch.cat([self.answer(part, None) for part in torch.split(batch, self.rows_at_once)])
        return self.arranged(self.returned(batch, lengths), batch)

    def arranged(self, returned: Tensor, batch: Tensor) -> Tensor:
        """What the model returned for a batch, in the order of axes that `answer` gives."""
        assert self.layout is not None
        output = self.layout.arrange(returned)
        steps = batch.shape[1] if output.ndim == 3 else None
        if len(output) != len(batch) or (steps is not None and output.shape[1] != steps):
            wanted = f"{len(batch)} sequences" + (f" of {steps} steps" if steps is not None else "")
            raise MeasureError(
                f"the model returned {tuple(returned.shape)} for {wanted}; one answer each is wanted"
            )
        return output

    def returned(self, batch: Tensor, lengths: list[int] | None = None) -> Tensor:
        """What the model answers to (rows, time, ...), in its own order of axes."""
        given: Any = self.fitting(batch)
        dtype = str(given.dtype).removeprefix("torch.")
        if self.time_dim == 0:
            given = given.transpose(0, 1).contiguous()
        more: dict[str, Any] = {}
        if lengths is not None and self.ragged == "packed":
            given = pack_padded_sequence(
                given, torch.tensor(lengths), self.time_dim == 1, enforce_sorted=False
            )
        elif self.always_lengths or (lengths is not None and self.ragged == "lengths"):
            more["lengths"] = torch.tensor(lengths or [batch.shape[1]] * len(batch))
        if self.array:
            given = given.cpu().numpy()
        try:
            # cuDNN refuses the backward pass of a recurrent layer in evaluation mode; torch's own kernels serve it.
            with torch.backends.cudnn.flags(enabled=not torch.is_grad_enabled()):
                result = self.model(given, **more)
        except MeasureError:
            raise
        except Exception as error:
            order = "(batch, time, ...)" if self.time_dim == 1 else "(time, batch, ...)"
            kind = f"a {'NumPy array' if self.array else 'tensor'} of {dtype}"
            other = "" if isinstance(self.model, nn.Module) else ", as inputs came"
            raise MeasureError(
                f"the model raised {type(error).__name__} for {tuple(batch.shape)} sequences, handed over as "
                f"{order}, {kind}{other}: {str(error)[:300]}"
            ) from error
        while isinstance(result, tuple) and len(result) and isinstance(result[0], PackedSequence):
            result = pad_packed_sequence(result[0], self.time_dim == 1)[0]
        return answer_of(result)

    def chunks(self, rows: Rows, *, with_gradient: bool = False) -> Iterator[list[int]]:
        """Indices of rows that go into one call: within memory, and of one length where the model needs that."""
        lengths = lengths_of(rows)
        steps_at_once = self._steps_at_once(max(lengths, default=1), with_gradient)
        order = list(range(len(lengths)))
        grouped = self.ragged == "grouped"
        if grouped:
            order.sort(key=lambda i: lengths[i])
        chunk: list[int] = []
        longest = 0
        for i in order:
            longest = max(longest, lengths[i])
            full = (len(chunk) + 1) * longest > steps_at_once or len(chunk) == self.rows_at_once
            if chunk and (full or (grouped and lengths[i] != lengths[chunk[0]])):
                yield chunk
                chunk, longest = [], lengths[i]
            chunk.append(i)
        if chunk:
            yield chunk

    def _steps_at_once(self, longest: int, with_gradient: bool) -> int:
        steps = _STEPS_WITH_GRADIENT if with_gradient else _STEPS_AT_ONCE
        if not isinstance(self.model, nn.Module):
            return steps
        made = sum(
            weight.shape[0]
            for module in self.model.modules()
            for weight in module.parameters(recurse=False)
            if weight.ndim > 1 and not isinstance(module, nn.Embedding)
        )
        bytes_a_step = 4 * made * (3 if with_gradient else 1)
        return max(steps, min(_ROWS_TOGETHER * longest, _BYTES // max(bytes_a_step, 1)))

    def fitting(self, batch: Tensor) -> Tensor:
        """The batch on the model's device and, of floats, in its dtype; for no module as the inputs came."""
        if not isinstance(self.model, nn.Module):
            return batch if self.given is None else batch.to(self.given)
        weight = next((w for w in self.model.parameters() if w.is_floating_point()), None)
        if weight is None:
            return batch
        return batch.to(weight.device, weight.dtype if batch.is_floating_point() else batch.dtype)

    def _embedded(self, tokens: Tensor, lengths: list[int] | None) -> tuple[Tensor, Tensor]:
        """(output, the tokens' vectors), the vectors cut off from the table so that the gradient ends there."""
        leaves: list[Tensor] = []
        ids = self.fitting(tokens)
        order = ids if self.time_dim == 1 else ids.transpose(0, 1)

        def cut(_: nn.Module, given: tuple[Any, ...], output: Tensor) -> Tensor | None:
            if leaves or not given or given[0].shape != order.shape or not torch.equal(given[0], order):
                return None
            vectors = output if self.time_dim == 1 else output.transpose(0, 1)
            leaves.append(vectors.detach().clone().requires_grad_(True))
            return leaves[0] if self.time_dim == 1 else leaves[0].transpose(0, 1)

        assert isinstance(self.model, nn.Module)
        hooks = [m.register_forward_hook(cut) for m in self.model.modules() if isinstance(m, nn.Embedding)]
        try:
            output = self.answer(tokens, lengths)
        finally:
            for hook in hooks:
                hook.remove()
        if not leaves:
            raise MeasureError(
                "tokens have no gradient, and none of the model's nn.Embedding was given them as they are; give "
                "embedded inputs (batch, time, channels) and the model from there on"
            )
        return output, leaves[0]


def _padded(rows: Rows, chunk: list[int]) -> tuple[Tensor, list[int] | None]:
    """A batch of these rows, which is the model's to write to, and their lengths; None: all are as long."""
    if isinstance(rows, Tensor):
        return rows[chunk], None
    chosen = [rows[i] for i in chunk]
    lengths = [len(row) for row in chosen]
    if len(set(lengths)) == 1:
        return torch.stack(chosen), None
    return pad_sequence(chosen, batch_first=True), lengths


def check_finite(output: Tensor) -> None:
    """Refuse answers that hold NaN or infinity."""
    # a finite sum holds neither, and is had at a thirtieth of the cost
    if not output.sum().isfinite() and not bool(torch.isfinite(output).all()):
        row = int((~torch.isfinite(output)).flatten(1).any(1).nonzero()[0, 0])
        raise MeasureError(
            f"the model's output holds NaN or infinity (row {row} of a batch of {len(output)}); it has diverged or "
            "overflows on these inputs: train it again with clipping, or scale the inputs"
        )
