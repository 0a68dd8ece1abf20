"""A matrix that is packed once and multiplied often, without gradients: what a decoder multiplies by at every token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from storyline.kernels import native
from storyline.kernels.arguments import DTYPES
from storyline.kernels.native_call import threads_for


def why_no_projection(weight: Tensor) -> str | None:
    """Why a weight cannot be packed; None where it can."""
    if native.missing is not None:
        return native.missing
    if weight.device.type != "cpu":
        return f"the weight is on {weight.device}, and the native kernels run on the CPU"
    if weight.dtype not in DTYPES:
        return f"the weight is {weight.dtype}, and the native kernels compute in float32 and float64"
    return None


class Projection:
    """x W' + b, of weights W (columns, depth) and b (columns,) as they are now: they are copied.

    A row of the result has the same bits whatever rows are beside it. Raises ValueError where the weight cannot be
    packed, see `why_no_projection`, or the bias does not fit it.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        if why := why_no_projection(weight):
            raise ValueError(why)
        if weight.dim() != 2 or (
            bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != weight.dtype)
        ):
            raise ValueError(
                f"weight has shape {tuple(weight.shape)} and bias {None if bias is None else tuple(bias.shape)}; they "
                "must be (columns, depth) and (columns,), of one dtype"
            )
        dense = [
            None if each is None else each.detach().resolve_neg().contiguous() for each in (weight, bias)
        ]
        self.columns, self.depth = weight.shape
        self._like = weight.detach().new_empty(0)
        assert native.module is not None
        single = weight.dtype == torch.float32
        make = native.module.projection_float if single else native.module.projection_double
        self._native = make(
            self.columns, self.depth, *(0 if each is None else each.data_ptr() for each in dense)
        )

    def __call__(self, x: Tensor) -> Tensor:
        """The whole product: x (..., depth) -> (..., columns)."""
        rows = self._rows(x)
        result = x.new_empty(len(rows), self.columns)
        self._native.product(len(rows), 0, _rows(rows), _rows(result), self._threads(rows))
        return result.view(*x.shape[:-1], self.columns)

    def of_sequences(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Of padded sequences, x (batch, time, depth) of `lengths` (batch,) steps: (batch, time, columns), 0 beyond.

        What stands in the padding is not read.
        """
        if x.dim() != 3 or lengths.shape != x.shape[:1]:
            raise ValueError(
                f"x has shape {tuple(x.shape)} and lengths {tuple(lengths.shape)}; they must be (batch, time, "
                f"{self.depth}) and (batch,)"
            )
        rows = self._rows(x)
        inside = (torch.arange(x.shape[1]) < lengths.cpu().unsqueeze(1)).flatten()
        places = inside.nonzero().squeeze(1)
        result = x.new_empty(len(rows), self.columns)
        result.index_fill_(0, (~inside).nonzero().squeeze(1), 0)
        threads = self._threads(places)
        self._native.product(len(places), places.data_ptr(), _rows(rows), _rows(result), threads)
        return result.view(*x.shape[:-1], self.columns)

    def likeliest(
        self, x: Tensor, count: int, end: int, forbidden: Sequence[int] = ()
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of log softmax(x W' + b), which is never whole in memory, the greatest columns of each row.

        x  (rows, depth)

        Returns
            the `count` greatest, but for those of `end` and of `forbidden`, greatest first: (rows, count), fewer where
                there are not so many columns; -inf where too many are forbidden
            their columns: (rows, count) int64
            the one of `end`: (rows,)
        Raises ValueError where a column does not exist.
        """
        rows, barred = self._rows(x), sorted({end, *forbidden})
        if x.dim() != 2 or not 0 <= barred[0] <= barred[-1] < self.columns or count < 1:
            raise ValueError(
                f"x has shape {tuple(x.shape)}, end and forbidden columns reach from {barred[0]} to {barred[-1]}, "
                f"count is {count}; x must be (rows, {self.depth}), columns from 0 to {self.columns - 1}, and count 1 "
                "or more"
            )
        count = min(count, self.columns)
        best, ending = x.new_empty(len(x), count), x.new_empty(len(x))
        columns = torch.empty(len(x), count, dtype=torch.int64)
        found = (best.data_ptr(), columns.data_ptr(), ending.data_ptr())
        self._native.likeliest(len(rows), _rows(rows), count, end, barred, found, self._threads(rows))
        return best, columns, ending

    def _rows(self, x: Tensor) -> Tensor:
        if x.shape[-1:] != (self.depth,) or x.dtype != self._like.dtype or x.device != self._like.device:
            raise ValueError(
                f"x is {tuple(x.shape)} of {x.dtype} on {x.device}; it must be (..., {self.depth}) of "
                f"{self._like.dtype} on {self._like.device}"
            )
        if x.requires_grad and torch.is_grad_enabled():
            raise ValueError(
                "x asks for a gradient, and a packed projection computes none; use torch.no_grad()"
            )
        rows = x.detach().resolve_neg().reshape(-1, self.depth)
        return rows if rows.stride(1) == 1 or self.depth == 1 else rows.contiguous()

    def _threads(self, rows: Tensor) -> int:
        return max(1, min(threads_for(len(rows) * self.columns * self.depth), len(rows)))


def _rows(tensor: Tensor) -> tuple[int, int]:
    return tensor.data_ptr(), tensor.stride(0)
