"""One unit at one step, forward and backward; x_ input's share, s_ recurrent share, d_ gradient, _past before it.

The equations stand in `storyline.cells`; these are the same in float32, written so that no exponential can
overflow and that a tanh near 0 keeps its relative accuracy. Values are blocks (rows, units).
"""

import triton
import triton.language as tl


@triton.jit
def sigmoid(x):
    # 1 - small rounds once near 1, where (1 - sigmoid) will be wanted; 1 / (1 + e) rounds twice.
    e = tl.exp(-tl.abs(x))
    small = e / (1.0 + e)
    return tl.where(x >= 0, 1.0 - small, small)


@triton.jit
def tanh(x):
    """Cephes' tanhf: a polynomial below 0.625, where 1 - 2 e / (1 + e) would cancel, and that above."""
    small = tl.where(tl.abs(x) < 0.625, x, 0.0)
    square = small * small
    p = -5.70498872745e-3 * square + 2.06390887954e-2
    p = p * square - 5.37397155531e-2
    p = p * square + 1.33314422036e-1
    p = p * square - 3.33332819422e-1
    near = small + small * square * p
    e = tl.exp(-2.0 * tl.abs(x))
    far = 1.0 - 2.0 * e / (1.0 + e)
    return tl.where(tl.abs(x) < 0.625, near, tl.where(x < 0, -far, far))


@triton.jit
def relu(x):
    # Not maximum(x, 0), which would hide a NaN.
    return tl.where(x <= 0, 0.0, x)


@triton.jit
def lstm_forward(i, f, g, o, c_past):
    """Preactivations in, (gates i, f, g, o, h, c) out; `storyline.cells.lstm`."""
    i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
    c = f * c_past + i * g
    return i, f, g, o, o * tanh(c), c


@triton.jit
def lstm_backward(d_h, d_c, i, f, g, o, c_past):
    """Gradients of h and c (what later steps sent, h's own way to c not yet in it) to those of the
    preactivations i, f, g, o and of c_past.
    """
    squashed = tanh(f * c_past + i * g)
    d_c += d_h * o * (1.0 - squashed * squashed)
    d_i = d_c * g * i * (1.0 - i)
    d_f = d_c * c_past * f * (1.0 - f)
    d_g = d_c * i * (1.0 - g * g)
    d_o = d_h * squashed * o * (1.0 - o)
    return d_i, d_f, d_g, d_o, d_c * f


@triton.jit
def peephole_forward(i, f, g, o, p_i, p_f, p_o, c_past):
    """As `lstm_forward`, with the peepholes p_ (1, units); `storyline.cells.lstm_peephole`."""
    i, f, g = sigmoid(i + p_i * c_past), sigmoid(f + p_f * c_past), tanh(g)
    c = f * c_past + i * g
    o = sigmoid(o + p_o * c)
    return i, f, g, o, o * tanh(c), c


@triton.jit
def peephole_backward(d_h, d_c, i, f, g, o, p_i, p_f, p_o, c_past):
    """As `lstm_backward`, with the ways through the peepholes; their own gradients are products of the result."""
    squashed = tanh(f * c_past + i * g)
    d_o = d_h * squashed * o * (1.0 - o)
    d_c += d_h * o * (1.0 - squashed * squashed) + d_o * p_o
    d_i = d_c * g * i * (1.0 - i)
    d_f = d_c * c_past * f * (1.0 - f)
    d_g = d_c * i * (1.0 - g * g)
    return d_i, d_f, d_g, d_o, d_c * f + d_i * p_i + d_f * p_f


@triton.jit
def coupled_forward(f, g, o, c_past):
    """Preactivations in, (gates f, g, o, h, c) out; `storyline.cells.lstm_coupled`."""
    f, g, o = sigmoid(f), tanh(g), sigmoid(o)
    c = f * c_past + (1.0 - f) * g
    return f, g, o, o * tanh(c), c


@triton.jit
def coupled_backward(d_h, d_c, f, g, o, c_past):
    """Gradients of h and c to those of the preactivations f, g, o and of c_past."""
    squashed = tanh(f * c_past + (1.0 - f) * g)
    d_c += d_h * o * (1.0 - squashed * squashed)
    d_f = d_c * (c_past - g) * f * (1.0 - f)
    d_g = d_c * (1.0 - f) * (1.0 - g * g)
    d_o = d_h * squashed * o * (1.0 - o)
    return d_f, d_g, d_o, d_c * f


@triton.jit
def gru_forward(r, z, x_n, s_n, h_past):
    """Preactivations r, z and both shares of n in, (gates r, z, n, h) out; `storyline.cells.gru`."""
    r, z = sigmoid(r), sigmoid(z)
    n = tanh(x_n + r * s_n)
    return r, z, n, (1.0 - z) * n + z * h_past


@triton.jit
def gru_backward(d_h, r, z, n, s_n, h_past):
    """Gradient of h to those of the preactivations r and z, of x_n, of s_n, and of h_past past the product."""
    d_x_n = d_h * (1.0 - z) * (1.0 - n * n)
    d_r = d_x_n * s_n * r * (1.0 - r)
    d_z = d_h * (h_past - n) * z * (1.0 - z)
    return d_r, d_z, d_x_n, d_x_n * r, d_h * z
