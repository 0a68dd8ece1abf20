"""The native kernels as operators of torch.library, for graphs: torch.compile and torch.export.

A traced graph needs of a call what it can hold: a flat list of arguments, a rule for the shapes, a backward pass
that is an operator too, and no argument that is written to. Eager torch calls the kernels by a Function instead
(`cpu.py`), since an operator with a rule of autograd in Python costs 100 to 150 us a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from storyline.cells import Noise
from storyline.kernels import native
from storyline.kernels.native_call import Arguments, Call

# tensors and counts are those of `Arguments`; mask and zoneout those of `cells.Noise`.
_CALL = (
    "Tensor[] tensors, Tensor? lengths, Tensor? resets, Tensor? mask, Tensor?[] zoneout, "
    "str cell, int[] counts, bool reverse"
)
# How many arguments those are.
_SHARED = 8

# torch.library has no types.
library: Any = torch.library.Library("storyline", "DEF")  # type: ignore[no-untyped-call]
# Returns output, last states, and with `keep` what a backward pass can take up.
library.define(f"scan({_CALL}, bool keep) -> Tensor[]")
# results: output and what was kept; empty: the forward pass is run again. gradients: of output and last states.
# Returns the gradients of the tensors, that of the input only where it is wanted.
library.define(f"scan_backward({_CALL}, Tensor[] results, Tensor[] gradients, bool wants_input) -> Tensor[]")


def scan_operator(arguments: Arguments, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Output and last states, by the operator."""
    wants_gradient = torch.is_grad_enabled() and any(each.requires_grad for each in tensors)
    # What is kept is laid out for this machine, and an exported graph may run on another, mostly without gradients.
    keep = wants_gradient and not _is_exporting()
    found = torch.ops.storyline.scan(*described(arguments, tensors), keep)
    return list(found[: 1 + arguments.counts[0]])


def described(arguments: Arguments, tensors: Sequence[Tensor]) -> tuple[Any, ...]:
    """What both operators are told first."""
    noise = arguments.noise or Noise()
    return (
        list(tensors), arguments.lengths, arguments.resets, noise.recurrent_mask, list(noise.zoneout),
        arguments.cell, list(arguments.counts), arguments.reverse,
    )  # fmt: skip


def _is_exporting() -> bool:
    # torch 2.6 does not say; there the graph keeps, which is as right.
    return bool(getattr(torch.compiler, "is_exporting", lambda: False)())


def _call(
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    mask: Tensor | None,
    zoneout: Sequence[Tensor | None],
    cell: str,
    counts: Sequence[int],
    reverse: bool,
) -> Call:
    if native.missing is not None:
        raise RuntimeError(f"storyline::scan cannot run: {native.missing}")
    noise = None if mask is None and not zoneout else Noise(mask, tuple(zoneout))
    state, fresh, weights, own = counts
    return Call(Arguments(cell, (state, fresh, weights, own), lengths, resets, noise, reverse), tensors)


def _checked(*described: Any) -> Call:
    """As `_call`, of tensors that have values: a graph's own check of them may come later, or never."""
    call = _call(*described)
    if call.lengths is not None and not bool(((call.lengths >= 1) & (call.lengths <= call.time)).all()):
        raise RuntimeError("lengths must lie between 1 and the steps of input")
    return call


def _scan(*given: Any) -> list[Tensor]:
    *described, keep = given
    output, last, kept = _checked(*described).forward(keep=keep)
    return [output, *last, *kept]


def _scan_of_shapes(*given: Any) -> list[Tensor]:
    *described, keep = given
    output, last, kept = _call(*described).results(keep=keep)
    return [output, *last, *kept]


def _backward(*given: Any) -> list[Tensor]:
    *described, results, gradients, wants_input = given
    call = _checked(*described)
    if results:
        # The kernel uses up what was kept, and an operator may not write to its arguments.
        output, kept = results[0], [each.clone() for each in results[1:]]
    else:
        output, _, kept = call.forward(keep=True)
    of_input, *others = call.backward(output, kept, gradients[0], gradients[1:], wants_input=wants_input)
    found = others if of_input is None else [of_input, *others]
    return [each.contiguous() for each in found]  # type: ignore[union-attr]


def _backward_of_shapes(*given: Any) -> list[Tensor]:
    *described, _, _, wants_input = given
    of_input, *others = _call(*described).gradients(wants_input=wants_input)
    inputs = [] if of_input is None else [of_input]
    return [each.contiguous() for each in (*inputs, *(each for list_ in others for each in list_))]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    tensors, lengths, resets, mask, zoneout, cell, counts, reverse, keep = inputs
    kept = output[1 + counts[0] :]
    ctx.mark_non_differentiable(*kept)
    results = [output[0], *kept] if keep else []
    ctx.save_for_backward(lengths, resets, mask, *zoneout, *tensors, *results)
    ctx.sizes, ctx.told = (len(zoneout), len(tensors), 1 + counts[0]), (cell, counts, reverse)


def _derivative(ctx: Any, found: Sequence[Tensor]) -> tuple[Any, ...]:
    noises, count, outputs = ctx.sizes
    lengths, resets, mask, *rest = ctx.saved_tensors
    zoneout, tensors, results = rest[:noises], rest[noises : noises + count], rest[noises + count :]
    wants_input = ctx.needs_input_grad[0][0]
    gradients = torch.ops.storyline.scan_backward(
        tensors, lengths, resets, mask, zoneout, *ctx.told, results, list(found[:outputs]), wants_input
    )
    of_tensors = list(gradients) if wants_input else [None, *gradients]
    of_zoneout = [None] * noises
    return of_tensors, None, None, None, of_zoneout, *[None] * (_SHARED + 1 - 5)


library.impl("scan", _scan, "CPU")
library.impl("scan_backward", _backward, "CPU")
torch.library.register_fake("storyline::scan", _scan_of_shapes, lib=library)
torch.library.register_fake("storyline::scan_backward", _backward_of_shapes, lib=library)
torch.library.register_autograd("storyline::scan", _derivative, setup_context=_remember, lib=library)
