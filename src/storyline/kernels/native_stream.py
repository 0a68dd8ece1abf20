"""A native stream: packed weights of a stack, which forks share, and the states of so many rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from storyline.cells import Cell, State
from storyline.kernels import native
from storyline.kernels.weights import Weights

_CELLS = native.cells()


def native_stream(
    cell: Cell,
    layers: Sequence[Weights],
    initial: Sequence[State],
    batch: int,
    zoneout: Sequence[float],
    *,
    bfloat16: bool,
) -> Any:
    """The object of csrc/stream.h, at its initial state; it copies all that it is given.

    layers: float32 or float64 on the CPU, a `Weights` each. initial: of each layer, a tensor (size,) a name in
    `cell.states`. zoneout: a rate a state, nothing for none. bfloat16: keep the matrices so; they must have
    been rounded to it already, and be float32.
    """
    described, alive = [], []
    for weights, state in zip(layers, initial, strict=True):
        matrices = [
            None if each is None else each.detach().contiguous()
            for each in (
                weights.weight_ih, weights.weight_hh, weights.bias_ih, weights.bias_hh, weights.weight_hr,
            )
        ]  # fmt: skip
        own, first = ([each.detach().contiguous() for each in given] for given in (weights.own, state))
        alive.append((matrices, own, first))  # the addresses count until the call returns
        described.append(
            (
                weights.weight_ih.shape[1],
                tuple(0 if each is None else each.data_ptr() for each in matrices),
                [each.data_ptr() for each in own],
                [each.data_ptr() for each in first],
            )
        )
    weight_ih, h = layers[0].weight_ih, initial[0][0]
    make = native.module.stream_float if weight_ih.dtype == torch.float32 else native.module.stream_double  # type: ignore[union-attr]
    sizes = (batch, weight_ih.shape[0] // cell.preactivations, h.shape[0], cell.heads)
    return make(_CELLS[cell.name][0], sizes, described, [float(rate) for rate in zoneout], bfloat16)


@torch.no_grad()
def round_to_bfloat16(weights: Weights) -> None:
    """Round every matrix, in place, to what bfloat16 can hold; biases and the cell's own are left as they are."""
    for matrix in (weights.weight_ih, weights.weight_hh, weights.weight_hr):
        if matrix is not None:
            matrix.copy_(matrix.to(torch.bfloat16))
