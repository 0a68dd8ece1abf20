"""Blocks of rows x units in global memory, and their product; H units a row of a state, `row` int64."""

import triton
import triton.language as tl


@triton.jit
def load_tile(base, row, unit, width: tl.constexpr, rows, units):
    """(rows, units) float32 from `base`, whose rows are `width` wide; 0 where `rows` or `units` is False."""
    where = row[:, None] * width + unit[None, :]
    return tl.load(base + where, mask=rows[:, None] & units[None, :], other=0.0).to(tl.float32)


@triton.jit
def store_tile(base, row, unit, width: tl.constexpr, rows, units, value):
    where = row[:, None] * width + unit[None, :]
    tl.store(base + where, value.to(base.dtype.element_ty), mask=rows[:, None] & units[None, :])


@triton.jit
def load_past(
    states, fresh, before, row, unit, kept, reset, units, H: tl.constexpr, HAS_RESETS: tl.constexpr
):
    """A state before the step, (rows, units) float32: the row's own where `kept`, the fresh one where `reset`."""
    value = load_tile(states, before, unit, H, kept, units)
    if HAS_RESETS:
        value += load_tile(fresh, row, unit, H, reset, units)
    return value


@triton.jit
def load_bias(bias, unit, units, HAS_BIAS: tl.constexpr):
    """(1, units) float32 of bias_hh; 0 where there is none."""
    value = tl.zeros(unit.shape, tl.float32)
    if HAS_BIAS:
        value = tl.load(bias + unit, mask=units, other=0.0).to(tl.float32)
    return value[None, :]


@triton.jit
def load_weight(weight, unit, units, column, columns, H: tl.constexpr):
    """(columns, units) of weight_hh, turned for `h @ weight_hh.T`, in its own dtype."""
    where = unit[:, None] * H + column[None, :]
    return tl.trans(tl.load(weight + where, mask=units[:, None] & columns[None, :], other=0.0))


@triton.jit
def product(a, b, sum_, PRECISION: tl.constexpr):
    """`sum_` + a b in float32; PRECISION "ieee", "tf32", or "widened", which makes both operands float32 first."""
    if PRECISION == "widened":
        sum_ = tl.dot(a.to(tl.float32), b.to(tl.float32), sum_, input_precision="ieee")
    else:
        sum_ = tl.dot(a, b, sum_, input_precision=PRECISION)
    return sum_
