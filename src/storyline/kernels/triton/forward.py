"""The loop over time; x the input's share, s the recurrent share, p a preactivation, H units, G preactivations a unit.

A program owns BLOCK_B rows and walks through their steps alone, so that programs never wait for each other.
A step reads all of h and all of weight_hh, a tile of units at a time. h goes from step to step through its
place in the result, in global memory, which only this program writes and reads: a barrier among its own
threads is all the order that this needs. A row that has ended neither reads nor writes.
"""

import triton
import triton.language as tl

from storyline.kernels.triton.cells import (
    coupled_forward,
    gru_forward,
    lstm_forward,
    peephole_forward,
    relu,
    tanh,
)
from storyline.kernels.triton.tiles import load_bias, load_past, load_tile, load_weight, product, store_tile


@triton.jit
def recurrent_share(
    weight, h, h_fresh, before, row, unit, kept, reset, units,
    H: tl.constexpr, G: tl.constexpr, HAS_RESETS: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """weight_hh @ h for the units of a tile: four blocks (rows, units), of which the first G are used."""
    s0 = tl.zeros((BLOCK_B, BLOCK_N), tl.float32)
    s1 = tl.zeros((BLOCK_B, BLOCK_N), tl.float32)
    s2 = tl.zeros((BLOCK_B, BLOCK_N), tl.float32)
    s3 = tl.zeros((BLOCK_B, BLOCK_N), tl.float32)
    for k in range(0, H, BLOCK_K):
        column = k + tl.arange(0, BLOCK_K)
        columns = column < H
        past = load_past(h, h_fresh, before, row, column, kept, reset, columns, H, HAS_RESETS)
        past = past.to(weight.dtype.element_ty)
        w = load_weight(weight, unit, units, column, columns, H)
        s0 = product(past, w, s0, PRECISION)
        if G > 1:
            w = load_weight(weight, H + unit, units, column, columns, H)
            s1 = product(past, w, s1, PRECISION)
            w = load_weight(weight, 2 * H + unit, units, column, columns, H)
            s2 = product(past, w, s2, PRECISION)
        if G > 3:
            w = load_weight(weight, 3 * H + unit, units, column, columns, H)
            s3 = product(past, w, s3, PRECISION)
    return s0, s1, s2, s3


@triton.jit
def forward_kernel(
    x, weight, bias, peephole, h, c, h_fresh, c_fresh, gates, lengths, resets, batch, slots,
    CELL: tl.constexpr, HAS_C: tl.constexpr, H: tl.constexpr, G: tl.constexpr,
    HAS_BIAS: tl.constexpr, HAS_RESETS: tl.constexpr, SAVE: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """All contiguous; state slot 0 holds the initial state, and what is not written stays as it is.

    x (time, batch, G * H); weight (G * H, H); bias (G * H,); peephole (3 * H,), of i, f, o.
    h (time + 1, batch, H) float32, written. c (slots, batch, H) float32, written, with HAS_C: the state after
    step t stands in slot (t + 1) % slots.
    h_fresh, c_fresh (batch, H) float32; lengths (batch,); resets (time, batch) uint8.
    gates (time, batch, 4 * H), written with SAVE: LSTM i, f, g, o; coupled f, g, o and nothing; GRU r, z, n
    and the recurrent share of n.
    """
    row = (tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)).to(tl.int64)
    length = tl.load(lengths + row, mask=row < batch, other=0).to(tl.int32)
    for t in tl.range(0, tl.max(length, 0), num_stages=1):
        now = tl.cast(t, tl.int64) * batch + row
        inside = t < length
        reset = inside
        kept = inside
        if HAS_RESETS:
            reset = tl.load(resets + now, mask=inside, other=0) != 0
            kept = inside & (reset == 0)
        for j in tl.range(0, H, BLOCK_N, num_stages=1):
            unit = j + tl.arange(0, BLOCK_N)
            units = unit < H
            s0, s1, s2, s3 = recurrent_share(
                weight, h, h_fresh, now, row, unit, kept, reset, units,
                H, G, HAS_RESETS, PRECISION, BLOCK_B, BLOCK_N, BLOCK_K,
            )  # fmt: skip
            p0 = load_tile(x, now, unit, G * H, inside, units) + (s0 + load_bias(bias, unit, units, HAS_BIAS))
            if G > 1:
                s1 += load_bias(bias, H + unit, units, HAS_BIAS)
                s2 += load_bias(bias, 2 * H + unit, units, HAS_BIAS)
                p1 = load_tile(x, now, H + unit, G * H, inside, units) + s1
                x2 = load_tile(x, now, 2 * H + unit, G * H, inside, units)
            if G > 3:
                s3 += load_bias(bias, 3 * H + unit, units, HAS_BIAS)
                p3 = load_tile(x, now, 3 * H + unit, G * H, inside, units) + s3
            if HAS_C:
                before = (t % slots).to(tl.int64) * batch + row
                c_past = load_past(c, c_fresh, before, row, unit, kept, reset, units, H, HAS_RESETS)
                if CELL == "lstm":
                    g0, g1, g2, g3, h_new, c_new = lstm_forward(p0, p1, x2 + s2, p3, c_past)
                elif CELL == "lstm_peephole":
                    p_i = load_bias(peephole, unit, units, True)
                    p_f = load_bias(peephole, H + unit, units, True)
                    p_o = load_bias(peephole, 2 * H + unit, units, True)
                    g0, g1, g2, g3, h_new, c_new = peephole_forward(
                        p0, p1, x2 + s2, p3, p_i, p_f, p_o, c_past
                    )
                else:
                    g0, g1, g2, h_new, c_new = coupled_forward(p0, p1, x2 + s2, c_past)
                    g3 = s2
                after = ((t + 1) % slots).to(tl.int64) * batch + row
                store_tile(c, after, unit, H, inside, units, c_new)
            elif CELL == "gru":
                h_past = load_past(h, h_fresh, now, row, unit, kept, reset, units, H, HAS_RESETS)
                g0, g1, g2, h_new = gru_forward(p0, p1, x2, s2, h_past)
                g3 = s2
            elif CELL == "rnn_tanh":
                h_new = tanh(p0)
            else:
                h_new = relu(p0)
            store_tile(h, now + batch, unit, H, inside, units, h_new)
            if SAVE and G > 1:
                store_tile(gates, now, unit, 4 * H, inside, units, g0)
                store_tile(gates, now, H + unit, 4 * H, inside, units, g1)
                store_tile(gates, now, 2 * H + unit, 4 * H, inside, units, g2)
                store_tile(gates, now, 3 * H + unit, 4 * H, inside, units, g3)
        # h of this step is written by some threads and read at the next by others.
        tl.debug_barrier()
