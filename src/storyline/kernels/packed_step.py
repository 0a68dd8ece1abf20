"""One layer on weights that are packed once: a step, as a decoder does at every token, or all that an encoder reads."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from storyline.cells import Cell, State
from storyline.kernels import native
from storyline.kernels.native_call import threads_for
from storyline.kernels.weights import Weights

_CELLS = native.cells()


class PackedStep:
    """The cell, on weights as they are now: they are copied. No noise, no gradients.

    The bits of a row are the same whatever rows are beside it. They are those of the scan where neither `more` nor
    `parents` is given: what these bring is added in another order (of parents, where h has more than 256 numbers).

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

    def __call__(
        self,
        x: Tensor | None,
        state: State,
        more: Tensor | None = None,
        *,
        more_rows: Tensor | None = None,
        parents: Tensor | None = None,
    ) -> State:
        """The states after x (rows, input_size), from those before; a tensor (rows, size) a name in `cell.states`.

        x          None where input_size is 0
        more       (any, rows of weight_ih): what is added to weight_ih x, computed elsewhere
        more_rows  (rows,) int64: which row of `more` each takes; None: its own
        parents    (rows,) int64: from which row of the states before each goes on; None: its own. What rows
                   of one parent share is computed once.
        Raises ValueError where something does not fit, or asks for a gradient.
        """
        rows = self._check(x, state, more, more_rows, parents)
        if x is not None and x.stride(1) != 1:
            x = x.contiguous()
        before = [each.contiguous() for each in state]
        if more is not None and more.stride(1) != 1:
            more = more.contiguous()
        places = [None if each is None else each.contiguous() for each in (more_rows, parents)]
        after = tuple(self._like.new_empty(rows, size) for size in self._sizes)
        threads = max(1, min(threads_for(rows * self._work), rows))
        more_at, parents_at = (0 if each is None else each.data_ptr() for each in places)
        # Whether there are such rows is looked at there: it costs nothing.
        many = 0 if more is None else len(more)
        reads = (*_address(x), *_address(more), many, more_at, len(before[0]), parents_at)
        addresses = ([each.data_ptr() for each in part] for part in (before, after))
        self._native.step(rows, reads, *addresses, threads)
        return after

    def sentences(
        self,
        more: Tensor,
        more_rows: Tensor,
        state: State,
        lengths: Tensor,
        output: Tensor,
        *,
        reverse: bool = False,
    ) -> State:
        """All steps of whole sequences, of a layer that reads only what is added; the states after the last step.

        more       (any, rows of weight_ih): what inputs give to the preactivations, computed elsewhere
        more_rows  (batch, time) int64: the row of `more` that each token takes
        state      before the first step, a tensor (batch, size) a name in `cell.states`
        lengths    (batch,) int64 on the CPU, from 1 to time
        output     (batch, time, size of h): where the output is written, 0 beyond the lengths
        reverse    read each row from its own last step to its first
        Raises ValueError where something does not fit, or asks for a gradient.
        """
        self._check_sentences(more, more_rows, state, lengths, output)
        batch, time = more_rows.shape
        before = [each.contiguous() for each in state]
        more_rows, lengths = more_rows.contiguous(), lengths.contiguous()
        after = tuple(self._like.new_empty(batch, size) for size in self._sizes)
        threads = max(1, min(threads_for(batch * time * self._work), batch))
        # Whether there are such rows, and such steps, is looked at there: it costs nothing.
        table = (more.data_ptr(), more.stride(0), len(more), more_rows.data_ptr())
        written = (output.data_ptr(), output.stride(0), output.stride(1))
        addresses = ([each.data_ptr() for each in part] for part in (before, after))
        self._native.sentences(batch, time, lengths.data_ptr(), table, written, *addresses, reverse, threads)
        return after

    def _check_sentences(
        self, more: Tensor, more_rows: Tensor, state: State, lengths: Tensor, output: Tensor
    ) -> None:
        places = [more_rows, lengths]
        if more_rows.dim() != 2 or any(
            each.dtype != torch.int64 or each.device != self._like.device for each in places
        ):
            raise ValueError(
                f"more_rows and lengths are {[(tuple(each.shape), each.dtype, str(each.device)) for each in places]}; "
                f"they must be (batch, time) and (batch,) of int64 on {self._like.device}"
            )
        batch, time = more_rows.shape
        found = [tuple(each.shape) for each in (more, lengths, *state, output)]
        wanted = [
            (len(more), self._rows), (batch,), *[(batch, size) for size in self._sizes], (batch, time, self._sizes[0])
        ]  # fmt: skip
        if found != wanted or self._input_size:
            raise ValueError(
                f"more, lengths, states and output have the shapes {found}; they must be {wanted}, of a step that "
                f"reads no input, and this one reads {self._input_size} numbers"
            )
        self._check_numbers("more, states and output", (more, *state, output))
        if more.stride(1) != 1 or output.stride(2) != 1:
            raise ValueError("rows of more and of output must be dense; call contiguous()")

    def _check(
        self,
        x: Tensor | None,
        state: State,
        more: Tensor | None,
        more_rows: Tensor | None,
        parents: Tensor | None,
    ) -> int:
        """How many rows there are."""
        places = [each for each in (more_rows, parents) if each is not None]
        rows = len(state[0] if parents is None else parents)
        given = [*([] if x is None else [x]), *state, *([] if more is None else [more])]
        wanted = [] if x is None else [(rows, self._input_size)]
        wanted += [(len(state[0]), size) for size in self._sizes]
        if more is not None:
            wanted.append((rows if more_rows is None else len(more), self._rows))
        found = [tuple(each.shape) for each in given]
        if found != wanted or (x is None and self._input_size):
            raise ValueError(f"input and states have the shapes {found}; they must be {wanted}")
        if any(
            each.shape != (rows,) or each.dtype != torch.int64 or each.device != self._like.device
            for each in places
        ):
            raise ValueError(
                f"more_rows and parents are {[(tuple(each.shape), each.dtype, str(each.device)) for each in places]}; "
                f"they must be ({rows},) of int64 on {self._like.device}"
            )
        self._check_numbers("input and states", given)
        return rows

    def _check_numbers(self, called: str, given: Iterable[Tensor]) -> None:
        """ValueError for tensors that are not of the weights' kind and place, or ask for a gradient."""
        for each in given:
            if each.dtype != self._like.dtype or each.device != self._like.device or each.is_neg():
                raise ValueError(
                    f"{called} must be {self._like.dtype} on {self._like.device}; one is {each.dtype} on {each.device}"
                )
            if each.requires_grad and torch.is_grad_enabled():
                raise ValueError(
                    "a gradient is asked for, and a packed step computes none; use torch.no_grad()"
                )


def _address(rows: Tensor | None) -> tuple[int, int]:
    return (0, 0) if rows is None else (rows.data_ptr(), rows.stride(0))
