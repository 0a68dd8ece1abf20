"""One step of one layer on weights that are packed once: what a recurrent decoder does at every token."""

from __future__ import annotations

import torch
from torch import Tensor

from storyline.cells import Cell, State
from storyline.kernels import native
from storyline.kernels.native_call import threads_for
from storyline.kernels.weights import Weights

_CELLS = native.cells()


class PackedStep:
    """The cell, on weights as they are now: they are copied. No noise, no gradients; the bits are those of the scan.

    weights: float32 or float64 on the CPU, of a cell that `why_not_cpu` has nothing against.
    """

    def __init__(self, cell: Cell, weights: Weights) -> None:
        assert native.module is not None
        dense = [
            None if each is None else each.detach().resolve_neg().contiguous()
            for each in (
                weights.weight_ih,
                weights.weight_hh,
                weights.bias_ih,
                weights.bias_hh,
                weights.weight_hr,
            )
        ]
        own = [each.detach().resolve_neg().contiguous() for each in weights.own]
        rows, self._input_size = weights.weight_ih.shape
        hidden = rows // cell.preactivations
        h = hidden if weights.weight_hr is None else len(weights.weight_hr)
        self._like = weights.weight_ih.detach().new_empty(0)
        self._sizes = (h, *[hidden] * (len(cell.states) - 1))
        self._rows = rows
        self._work = rows * (self._input_size + weights.weight_hh.shape[1])
        make = native.module.step_float if self._like.dtype == torch.float32 else native.module.step_double
        self._native = make(
            _CELLS[cell.name][0],
            (self._input_size, hidden, h, cell.heads),
            tuple(0 if each is None else each.data_ptr() for each in dense),
            [each.data_ptr() for each in own],
        )

    def __call__(self, x: Tensor, state: State, more: Tensor | None = None) -> State:
        """The states after x (rows, input_size), from those before; a tensor (rows, size) a name in `cell.states`.

        more  (rows, rows of weight_ih): what is added to weight_ih x, computed elsewhere
        Raises ValueError where something does not fit, or asks for a gradient.
        """
        self._check(x, state, more)
        rows = len(x)
        x = x if x.stride(1) == 1 else x.contiguous()
        before = [each.contiguous() for each in state]
        added = None if more is None else more if more.stride(1) == 1 else more.contiguous()
        after = tuple(x.new_empty(rows, size) for size in self._sizes)
        threads = max(1, min(threads_for(rows * self._work), rows))
        addresses = ([each.data_ptr() for each in part] for part in (before, after))
        of_more = (0, 0) if added is None else (added.data_ptr(), added.stride(0))
        self._native.step(rows, (x.data_ptr(), x.stride(0)), of_more, *addresses, threads)
        return after

    def _check(self, x: Tensor, state: State, more: Tensor | None) -> None:
        given = (x, *state) if more is None else (x, *state, more)
        sizes = (
            (self._input_size, *self._sizes) if more is None else (self._input_size, *self._sizes, self._rows)
        )
        wanted = [(len(x), size) for size in sizes]
        found = [tuple(each.shape) for each in given]
        if found != wanted:
            raise ValueError(f"input and states have the shapes {found}; they must be {wanted}")
        for each in given:
            if each.dtype != self._like.dtype or each.device != self._like.device or each.is_neg():
                raise ValueError(
                    f"input and states must be {self._like.dtype} on {self._like.device}; one is {each.dtype} on "
                    f"{each.device}"
                )
            if each.requires_grad and torch.is_grad_enabled():
                raise ValueError(
                    "a gradient is asked for, and a packed step computes none; use torch.no_grad()"
                )
