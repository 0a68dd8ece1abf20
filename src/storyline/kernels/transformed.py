"""The native kernels under torch.func: vmap, grad, and whatever is made of them, derivatives of derivatives too.

vmap of a call folds the mapped dimension into the batch, where the weights are shared by all samples; else, and in
the backward pass, which owes each sample its own gradient of the weights, it takes one sample after another. What
the forward pass could keep for the backward one is thrown away and made again, since it would have to be split
among the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from storyline.cells import Noise
from storyline.kernels.native_call import Arguments
from storyline.kernels.operators import described
from storyline.kernels.second_derivative import on_reference


@dataclass(frozen=True)
class _Told:
    """What a call is told that is no tensor; `Arguments` without its tensors, of which lists go with it.

    The values of a call are its tensors, then lengths, resets, recurrent mask and zoneout.
    """

    cell: str
    counts: tuple[int, int, int, int]
    reverse: bool
    wants_input: bool = True

    @property
    def tensors(self) -> int:
        return 1 + sum(self.counts)

    def arguments(self, values: Sequence[Tensor | None]) -> tuple[Arguments, list[Tensor]]:
        """Both halves of a call again."""
        tensors = [each for each in values[: self.tensors] if each is not None]
        lengths, resets, mask, *zoneout = values[self.tensors :]
        noise = None if mask is None and not zoneout else Noise(mask, tuple(zoneout))
        return Arguments(self.cell, self.counts, lengths, resets, noise, self.reverse), tensors


def transformed_scan(arguments: Arguments, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Output and last states."""
    noise = arguments.noise or Noise()
    told = _Told(arguments.cell, arguments.counts, arguments.reverse)
    values = (*tensors, arguments.lengths, arguments.resets, noise.recurrent_mask, *noise.zoneout)
    return list(_Forward.apply(told, *values))  # type: ignore[no-untyped-call]


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(told: _Told, *values: Tensor | None) -> Any:
        return tuple(torch.ops.storyline.scan(*described(*told.arguments(values)), False))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.told, *values = inputs
        ctx.save_for_backward(*values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        values = ctx.saved_tensors
        wants_input = ctx.needs_input_grad[1]
        told = _Told(ctx.told.cell, ctx.told.counts, ctx.told.reverse, wants_input)
        found = _Backward.apply(told, *gradients, *values)  # type: ignore[no-untyped-call]
        inputs = () if wants_input else (None,)
        return None, *inputs, *found, *[None] * (len(values) - told.tensors)

    @staticmethod
    def vmap(info: Any, in_dims: Any, told: _Told, *values: Tensor | None) -> Any:
        dims = in_dims[1:]
        weights = slice(1 + sum(told.counts[:2]), told.tensors)
        shared = all(each is None for each in dims[weights])
        # A zoneout of one number for all would have to become one a row.
        numbers = any(
            dim is not None and value is not None and value.dim() == 1
            for dim, value in list(zip(dims, values, strict=True))[told.tensors + 3 :]
        )
        if not shared or numbers:
            return _one_by_one(info.batch_size, dims, values, lambda *each: _Forward.apply(told, *each))  # type: ignore[no-untyped-call]
        batches = _batch_dimensions(told, values, dims)
        folded = [
            each if at is None or each is None else _fold(each, dim, at, info.batch_size)
            for each, dim, at in zip(values, dims, batches, strict=True)
        ]
        output, *last = _Forward.apply(told, *folded)  # type: ignore[no-untyped-call]
        results = [output.unflatten(1, (info.batch_size, -1))]
        results += [each.unflatten(0, (info.batch_size, -1)) for each in last]
        return tuple(results), (1, *[0] * len(last))


class _Backward(torch.autograd.Function):
    """The gradients of output and last states, then the values of the call -> the gradients of its tensors."""

    @staticmethod
    def forward(told: _Told, *given: Tensor | None) -> Any:
        gradients, values = given[: 1 + told.counts[0]], given[1 + told.counts[0] :]
        call = described(*told.arguments(values))
        return tuple(torch.ops.storyline.scan_backward(*call, [], list(gradients), told.wants_input))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.told, *given = inputs
        ctx.save_for_backward(*given)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        told, given, results = ctx.told, ctx.saved_tensors, 1 + ctx.told.counts[0]
        others = given[results + told.tensors :]

        def first_derivative(*differentiable: Tensor) -> tuple[Tensor, ...]:
            def run(*tensors: Tensor) -> tuple[Tensor, ...]:
                done = on_reference(*told.arguments((*tensors, *others)))
                return done.output, *done.state

            _, pull, *_ = torch.func.vjp(run, *differentiable[results:])
            found: tuple[Tensor, ...] = pull(differentiable[:results])
            return found if told.wants_input else found[1:]

        _, pull, *_ = torch.func.vjp(first_derivative, *given[: results + told.tensors])
        return None, *pull(gradients), *[None] * len(others)

    @staticmethod
    def vmap(info: Any, in_dims: Any, told: _Told, *given: Tensor | None) -> Any:
        return _one_by_one(info.batch_size, in_dims[1:], given, lambda *each: _Backward.apply(told, *each))  # type: ignore[no-untyped-call]


def _one_by_one(
    count: int,
    dims: Sequence[int | None],
    values: Sequence[Tensor | None],
    run: Callable[..., tuple[Tensor, ...]],
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    def sample(index: int) -> list[Tensor | None]:
        pairs = zip(values, dims, strict=True)
        return [each if each is None or dim is None else each.select(dim, index) for each, dim in pairs]

    found = [run(*sample(index)) for index in range(count)]
    stacked = tuple(torch.stack(each) for each in zip(*found, strict=True))
    return stacked, (0,) * len(stacked)


def _batch_dimensions(
    told: _Told, values: Sequence[Tensor | None], dims: Sequence[int | None]
) -> list[int | None]:
    """Where each value has its batch, in the order of the call; None where it has none."""
    of_states = told.counts[0] + told.counts[1]
    at: list[int | None] = [1, *[0] * of_states, *[None] * sum(told.counts[2:]), 0, 1, 0]
    for value, dim in zip(values[len(at) :], dims[len(at) :], strict=True):
        at.append(None if value is None or value.dim() - (dim is not None) == 0 else 1)
    return at


def _fold(value: Tensor, dim: int | None, at: int, count: int) -> Tensor:
    """Put the mapped dimension before the batch, which stands at `at`, and make one dimension of both."""
    if dim is None:
        split = value.unsqueeze(at)
        mapped = split.expand(*value.shape[:at], count, *value.shape[at:])
    else:
        mapped = value.movedim(dim, at)
    return mapped.flatten(at, at + 1)
