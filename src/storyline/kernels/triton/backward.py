"""The loop over time, backwards; d_ a gradient, H units, G preactivations a unit, a program BLOCK_B rows as forward.

A tile of units at step t gets the gradient of its h from all preactivations of step t + 1, which this program
wrote before the barrier. What the elementwise paths carry from step to step (c; the GRU's z h) alternates
between two slots, t % 2, so that no thread overwrites what another has yet to read.
"""

import triton
import triton.language as tl

from storyline.kernels.triton.cells import coupled_backward, gru_backward, lstm_backward, peephole_backward
from storyline.kernels.triton.tiles import load_bias, load_past, load_tile, product, store_tile


@triton.jit
def through_product(
    weight, d_share, after, unit, follows, units,
    H: tl.constexpr, G: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """d_share of the step after, times weight_hh: the gradient of a tile of h, (rows, units) float32."""
    d_h = tl.zeros((BLOCK_B, BLOCK_N), tl.float32)
    for k in range(0, G * H, BLOCK_K):
        column = k + tl.arange(0, BLOCK_K)
        columns = column < G * H
        where = after[:, None] * (G * H) + column[None, :]
        d = tl.load(d_share + where, mask=follows[:, None] & columns[None, :], other=0.0)
        where = column[:, None] * H + unit[None, :]
        w = tl.load(weight + where, mask=columns[:, None] & units[None, :], other=0.0)
        d_h = product(d, w, d_h, PRECISION)
    return d_h


@triton.jit
def part_fresh(d, d_fresh, old, new, unit, live, cut, units, H: tl.constexpr):
    """What of `d` stays with the row, after what a reset cuts off has been added to the fresh state's share."""
    mine = tl.where(cut[:, None], d, 0.0)
    store_tile(d_fresh, new, unit, H, live, units, load_tile(d_fresh, old, unit, H, live, units) + mine)
    return tl.where(cut[:, None], 0.0, d)


@triton.jit
def backward_kernel(
    weight, peephole, h, c, h_fresh, c_fresh, gates, lengths, resets, d_output, d_h_last, d_c_last,
    d_x, d_share, d_carry, d_h_fresh, d_c_fresh, batch,
    CELL: tl.constexpr, HAS_C: tl.constexpr, H: tl.constexpr, G: tl.constexpr, HAS_RESETS: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """All contiguous, as the forward kernel left them; what is not written stays as it is.

    d_output (time, batch, H); d_h_last, d_c_last (batch, H) float32.
    Written: d_x (time, batch, G * H), and for the GRU d_share, its like for the recurrent share, which is
    d_x for all others. d_carry (2, batch, H) float32: gradient of c, or of the GRU's h past the product,
    that of the initial state in slot 0. d_h_fresh, d_c_fresh (2, batch, H) float32, 0 before: in slot 0 the
    sum over all resets but those before step 0, which is the caller's to part.
    """
    row = (tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)).to(tl.int64)
    live = row < batch
    length = tl.load(lengths + row, mask=live, other=0).to(tl.int32)
    steps = tl.max(length, 0)
    for i in tl.range(0, steps, num_stages=1):
        t = steps - 1 - i
        now = tl.cast(t, tl.int64) * batch + row
        inside = t < length
        follows = t + 1 < length
        ends = t + 1 == length
        ends = ends & live
        old = ((t + 1) % 2).to(tl.int64) * batch + row
        new = (t % 2).to(tl.int64) * batch + row
        reset = inside
        kept = inside
        cut = inside
        if HAS_RESETS:
            reset = tl.load(resets + now, mask=inside, other=0) != 0
            kept = inside & (reset == 0)
            cut = tl.load(resets + now + batch, mask=follows, other=0) != 0
        for j in tl.range(0, H, BLOCK_N, num_stages=1):
            unit = j + tl.arange(0, BLOCK_N)
            units = unit < H
            d_h = through_product(
                weight, d_share, now + batch, unit, follows, units, H, G, PRECISION, BLOCK_B, BLOCK_N, BLOCK_K
            )
            if CELL == "gru":
                d_h += load_tile(d_carry, old, unit, H, follows, units)
            if HAS_RESETS:
                d_h = part_fresh(d_h, d_h_fresh, old, new, unit, live, cut, units, H)
            d_h += load_tile(d_output, now, unit, H, inside, units)
            d_h += load_tile(d_h_last, row, unit, H, ends, units)
            if HAS_C:
                d_c = load_tile(d_carry, old, unit, H, follows, units)
                if HAS_RESETS:
                    d_c = part_fresh(d_c, d_c_fresh, old, new, unit, live, cut, units, H)
                d_c += load_tile(d_c_last, row, unit, H, ends, units)
            if G > 1:
                g0 = load_tile(gates, now, unit, 4 * H, inside, units)
                g1 = load_tile(gates, now, H + unit, 4 * H, inside, units)
                g2 = load_tile(gates, now, 2 * H + unit, 4 * H, inside, units)
                g3 = load_tile(gates, now, 3 * H + unit, 4 * H, inside, units)
            if HAS_C:
                c_past = load_past(c, c_fresh, now, row, unit, kept, reset, units, H, HAS_RESETS)
                if CELL == "lstm":
                    d0, d1, d2, d3, d_carried = lstm_backward(d_h, d_c, g0, g1, g2, g3, c_past)
                elif CELL == "lstm_peephole":
                    p_i = load_bias(peephole, unit, units, True)
                    p_f = load_bias(peephole, H + unit, units, True)
                    p_o = load_bias(peephole, 2 * H + unit, units, True)
                    d0, d1, d2, d3, d_carried = peephole_backward(
                        d_h, d_c, g0, g1, g2, g3, p_i, p_f, p_o, c_past
                    )
                else:
                    d0, d1, d2, d_carried = coupled_backward(d_h, d_c, g0, g1, g2, c_past)
                if G > 3:
                    store_tile(d_x, now, 3 * H + unit, G * H, inside, units, d3)
            elif CELL == "gru":
                h_past = load_past(h, h_fresh, now, row, unit, kept, reset, units, H, HAS_RESETS)
                d0, d1, d2, d_n, d_carried = gru_backward(d_h, g0, g1, g2, g3, h_past)
                store_tile(d_share, now, unit, G * H, inside, units, d0)
                store_tile(d_share, now, H + unit, G * H, inside, units, d1)
                store_tile(d_share, now, 2 * H + unit, G * H, inside, units, d_n)
            elif CELL == "rnn_tanh":
                h_new = load_tile(h, now + batch, unit, H, inside, units)
                d0 = d_h * (1.0 - h_new * h_new)
            else:
                d0 = tl.where(load_tile(h, now + batch, unit, H, inside, units) <= 0, 0.0, d_h)
            store_tile(d_x, now, unit, G * H, inside, units, d0)
            if G > 1:
                store_tile(d_x, now, H + unit, G * H, inside, units, d1)
                store_tile(d_x, now, 2 * H + unit, G * H, inside, units, d2)
                store_tile(d_carry, new, unit, H, inside, units, d_carried)
        # The preactivations' gradients of this step are read by other threads at the next.
        tl.debug_barrier()
