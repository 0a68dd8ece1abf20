"""The derivative of a native call by the reference scan, where it must itself be differentiable: no kernel is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from storyline.cells import CELLS
from storyline.kernels.native_call import Arguments
from storyline.kernels.ragged import Ragged
from storyline.kernels.reference import reference
from storyline.kernels.reverse import in_reverse
from storyline.kernels.weights import Recurrence, Weights


def differentiable_backward(
    arguments: Arguments,
    tensors: Sequence[Tensor],
    output_gradient: Tensor | None,
    last_gradients: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """The gradients of all tensors, themselves differentiable: through the reference scan, since no kernel is."""
    # Autocast may be on by now; the way there has refused it.
    with torch.enable_grad(), torch.autocast("cpu", enabled=False):
        # Aliases: one tensor may depend on another, or be the same, and what is wanted is the derivative by each alone.
        tensors = [each.view_as(each) if each.requires_grad else each for each in tensors]
        done = on_reference(arguments, tensors)
        pairs = zip([done.output, *done.state], [output_gradient, *last_gradients], strict=True)
        given = [(result, gradient) for result, gradient in pairs if gradient is not None]
        wanted = [each for each in tensors if each.requires_grad]
        found = torch.autograd.grad(
            [result for result, _ in given],
            wanted,
            [gradient for _, gradient in given],
            create_graph=True,
            allow_unused=True,
        )
    of_wanted = iter(found)
    return [next(of_wanted) if each.requires_grad else None for each in tensors]


def on_reference(arguments: Arguments, tensors: Sequence[Tensor]) -> Recurrence:
    """The same call on the reference scan."""
    input, (state, fresh, (weight_ih, weight_hh, *rest), own) = arguments.split(tensors)
    bias_ih, bias_hh = rest[:2] if len(rest) > 1 else (None, None)
    weight_hr = rest[-1] if len(rest) in (1, 3) else None
    weights = Weights(weight_ih, weight_hh, bias_ih, bias_hh, weight_hr, tuple(own))
    ragged = None if arguments.lengths is None else Ragged(arguments.lengths, input.shape[0])
    if ragged is not None:
        input = ragged.clear(input)
    started = tuple(fresh) or tuple(torch.zeros_like(each) for each in state)
    run = partial(in_reverse, reference) if arguments.reverse else reference
    cell = CELLS[arguments.cell]
    return run(cell, weights, input, tuple(state), started, ragged, arguments.resets, arguments.noise)
