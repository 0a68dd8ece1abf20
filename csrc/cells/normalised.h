// LSTM and GRU with layer normalisation inside the step; the equations stand in src/storyline/cells/normalised.py.
// Legend: x^ and h^ the normalised shares of the input and of h, which is what the row keeps; scale 1 / sqrt(variance
// + epsilon) of a group, kept behind the columns; dp gradients of the gates' arguments.
#pragma once
#include <cmath>

#include "cell.h"

namespace storyline::STORYLINE_TARGET {

inline constexpr double epsilon = 1e-5;

// 1 in the lanes that hold units, 0 in the padding.
template <class T> INLINE V<T> units(int64_t u, int64_t H) {
  if (u + lanes<T> <= H) return all(T(1));
  T ones[lanes<T>];
  for (int i = 0; i < lanes<T>; i++) ones[i] = u + i < H;
  return load(ones);
}

template <class T> struct Moments {
  T mean, scale;
};

// Of `count` columns together.
template <class T> Moments<T> moments(const T* p, int count, int64_t H, int64_t Hp) {
  V<T> total{}, squares{};
  for (int c = 0; c < count; c++)
    for (int64_t u = 0; u < Hp; u += lanes<T>) total += load(p + c * Hp + u) * units<T>(u, H);
  const T mean = sum<T>(total) / T(count * H);
  for (int c = 0; c < count; c++)
    for (int64_t u = 0; u < Hp; u += lanes<T>) {
      const V<T> off = (load(p + c * Hp + u) - mean) * units<T>(u, H);
      squares = fma(off, off, squares);
    }
  return {mean, T(1) / std::sqrt(sum<T>(squares) / T(count * H) + T(epsilon))};
}

// In place; returns the scale.
template <class T> T normalise(T* p, int count, int64_t H, int64_t Hp) {
  const Moments<T> m = moments(p, count, H, Hp);
  for (int c = 0; c < count; c++)
    for (int64_t u = 0; u < Hp; u += lanes<T>)
      store(p + c * Hp + u, (load(p + c * Hp + u) - m.mean) * m.scale * units<T>(u, H));
  return m.scale;
}

// Back, in place: from normalised numbers to the gradients of the raw ones. dp: gradients of the arguments, gain: what
// the normalised numbers are multiplied by, each a run of `count` columns.
template <class T>
void normalise_backward(T* p, const T* dp, const T* gain, T scale, int count, int64_t H, int64_t Hp) {
  V<T> first{}, second{};
  for (int64_t u = 0; u < count * Hp; u += lanes<T>) {
    const V<T> d = load(dp + u) * load(gain + u);
    first += d;
    second = fma(d, load(p + u), second);
  }
  const T mean = sum<T>(first) / T(count * H), slope = sum<T>(second) / T(count * H);
  for (int64_t u = 0; u < count * Hp; u += lanes<T>)
    store(p + u, (load(dp + u) * load(gain + u) - mean - load(p + u) * slope) * scale);
}

template <class T> INLINE void add_to(T* p, V<T> v) { store(p, load(p) + v); }

struct LstmLayerNorm : RowCell {
  static constexpr int columns = 8, states = 2, extra = 4;  // p: x^ of i f g o, h^ of i f g o; scales of x, h; mean, scale of c
  static constexpr int input_first = 0, input_gates[] = {0, 1, 2, 3};
  static constexpr int recurrent_first = 4, recurrent_gates[] = {0, 1, 2, 3};
  static constexpr int own = 14, own_sizes[] = {4, 4, 4, 1, 1};  // gain_x, gain_h, bias, gain_c, shift_c
  static constexpr int gain_x = 0, gain_h = 4, bias = 8, gain_c = 12, shift_c = 13;
  static constexpr int scratch = 6;

  template <class T> static INLINE V<T> argument(const Row<T>& r, int gate, int64_t u) {
    auto own = [&](int at) { return load(r.own + (at + gate) * r.Hp + u); };
    return fma(load(r.p + gate * r.Hp + u), own(gain_x), fma(load(r.p + (4 + gate) * r.Hp + u), own(gain_h), own(bias)));
  }

  template <class T> static void forward(const Row<T>& r, T*) {
    T* extra = r.p + columns * r.Hp;
    extra[0] = normalise(r.p, 4, r.H, r.Hp);
    extra[1] = normalise(r.p + 4 * r.Hp, 4, r.H, r.Hp);
    for (int64_t u = 0; u < r.Hp; u += lanes<T>) {
      const V<T> i = sigmoid<T>(argument(r, 0, u)), f = sigmoid<T>(argument(r, 1, u)), g = tanh<T>(argument(r, 2, u));
      store(r.after[1] + u, fma(f, load(r.before[1] + u), i * g));
    }
    const Moments<T> m = moments(r.after[1], 1, r.H, r.Hp);
    extra[2] = m.mean, extra[3] = m.scale;
    for (int64_t u = 0; u < r.Hp; u += lanes<T>) {
      const V<T> c = (load(r.after[1] + u) - m.mean) * m.scale;
      const V<T> y = fma(c, load(r.own + gain_c * r.Hp + u), load(r.own + shift_c * r.Hp + u));
      store_some(r.after[0] + u, sigmoid<T>(argument(r, 3, u)) * tanh<T>(y), int(std::min<int64_t>(lanes<T>, r.H - u)));
    }
  }

  template <class T> static void backward(const Row<T>& r, T* s) {
    const int64_t Hp = r.Hp;
    const T *extra = r.p + columns * Hp, mean = extra[2], scale = extra[3];
    T *dp = s, *c_hat = s + 4 * Hp, *dc_hat = s + 5 * Hp;  // dp holds i, f, g until they have served
    V<T> first{}, second{};
    for (int64_t u = 0; u < Hp; u += lanes<T>) {
      const V<T> i = sigmoid<T>(argument(r, 0, u)), f = sigmoid<T>(argument(r, 1, u)), g = tanh<T>(argument(r, 2, u)),
                 o = sigmoid<T>(argument(r, 3, u)), dh = load(r.d[0] + u), valid = units<T>(u, r.H);
      const V<T> c = (fma(f, load(r.before[1] + u), i * g) - mean) * scale * valid;
      const V<T> gain = load(r.own + gain_c * Hp + u);
      const V<T> y = tanh<T>(fma(c, gain, load(r.own + shift_c * Hp + u)));
      const V<T> dy = dh * o * fma(-y, y, all(T(1)));
      add_to(r.own_gradient + gain_c * Hp + u, dy * c);
      add_to(r.own_gradient + shift_c * Hp + u, dy);
      first += dy * gain;
      second = fma(dy * gain, c, second);
      store(dc_hat + u, dy * gain), store(c_hat + u, c);
      store(dp + u, i), store(dp + Hp + u, f), store(dp + 2 * Hp + u, g);
      store(dp + 3 * Hp + u, dh * y * (o * (all(T(1)) - o)));
      store(r.d[0] + u, V<T>{});
    }
    const T offset = sum<T>(first) / T(r.H), slope = sum<T>(second) / T(r.H);
    for (int64_t u = 0; u < Hp; u += lanes<T>) {
      const V<T> i = load(dp + u), f = load(dp + Hp + u), g = load(dp + 2 * Hp + u), one = all(T(1));
      const V<T> through = (load(dc_hat + u) - offset - load(c_hat + u) * slope) * scale * units<T>(u, r.H);
      const V<T> dc = load(r.d[1] + u) + through;
      store(dp + u, dc * g * (i * (one - i)));
      store(dp + Hp + u, dc * load(r.before[1] + u) * (f * (one - f)));
      store(dp + 2 * Hp + u, dc * i * fma(-g, g, one));
      store(r.d[1] + u, dc * f);
    }
    for (int64_t u = 0; u < 4 * Hp; u += lanes<T>) {
      const V<T> d = load(dp + u);
      add_to(r.own_gradient + gain_x * Hp + u, d * load(r.p + u));
      add_to(r.own_gradient + gain_h * Hp + u, d * load(r.p + 4 * Hp + u));
      add_to(r.own_gradient + bias * Hp + u, d);
    }
    normalise_backward(r.p, dp, r.own + gain_x * Hp, extra[0], 4, r.H, Hp);
    normalise_backward(r.p + 4 * Hp, dp, r.own + gain_h * Hp, extra[1], 4, r.H, Hp);
  }
};

struct GruLayerNorm : RowCell {
  static constexpr int columns = 6, states = 1, extra = 4;  // p: x^ of n r z, h^ of r z n; scales of x n, x rz, h rz, h n
  static constexpr int input_first = 0, input_gates[] = {2, 0, 1};
  static constexpr int recurrent_first = 3, recurrent_gates[] = {0, 1, 2};
  static constexpr int own = 10, own_sizes[] = {3, 3, 3, 1};  // gain_x, gain_h, bias of r z n; shift_n
  static constexpr int gain_x = 0, gain_h = 3, bias = 6, shift_n = 9;
  static constexpr bool reads_h_before = true;
  static constexpr int scratch = 4;
  static constexpr int x_column[] = {1, 2, 0}, h_column[] = {3, 4, 5};  // of r z n

  template <class T> struct Step {
    V<T> r, z, n, recurrent;
  };

  template <class T> static INLINE Step<T> step(const Row<T>& row, int64_t u) {
    auto own = [&](int at) { return load(row.own + at * row.Hp + u); };
    auto x = [&](int gate) {
      return fma(load(row.p + x_column[gate] * row.Hp + u), own(gain_x + gate), own(bias + gate));
    };
    auto h = [&](int gate) { return load(row.p + h_column[gate] * row.Hp + u); };
    Step<T> s;
    s.r = sigmoid<T>(fma(h(0), own(gain_h), x(0)));
    s.z = sigmoid<T>(fma(h(1), own(gain_h + 1), x(1)));
    s.recurrent = fma(h(2), own(gain_h + 2), own(shift_n));
    s.n = tanh<T>(fma(s.r, s.recurrent, x(2)));
    return s;
  }

  template <class T> static void forward(const Row<T>& r, T*) {
    T* extra = r.p + columns * r.Hp;
    extra[0] = normalise(r.p, 1, r.H, r.Hp);
    extra[1] = normalise(r.p + r.Hp, 2, r.H, r.Hp);
    extra[2] = normalise(r.p + 3 * r.Hp, 2, r.H, r.Hp);
    extra[3] = normalise(r.p + 5 * r.Hp, 1, r.H, r.Hp);
    for (int64_t u = 0; u < r.Hp; u += lanes<T>) {
      const int some = int(std::min<int64_t>(lanes<T>, r.H - u));
      const Step<T> s = step(r, u);
      store_some(r.after[0] + u, fma(s.z, load_some(r.before[0] + u, some) - s.n, s.n), some);
    }
  }

  template <class T> static void backward(const Row<T>& r, T* dp) {  // dp: of r z n, then of the recurrent share of n
    const int64_t Hp = r.Hp;
    const T* extra = r.p + columns * Hp;
    for (int64_t u = 0; u < Hp; u += lanes<T>) {
      const int some = int(std::min<int64_t>(lanes<T>, r.H - u));
      const V<T> one = all(T(1)), dh = load(r.d[0] + u);
      const Step<T> s = step(r, u);
      const V<T> dn = dh * (one - s.z) * fma(-s.n, s.n, one);
      const V<T> d[] = {dn * s.recurrent * (s.r * (one - s.r)),
                        dh * (load_some(r.before[0] + u, some) - s.n) * (s.z * (one - s.z)), dn, dn * s.r};
      for (int gate = 0; gate < 3; gate++) {
        const V<T> recurrent = gate == 2 ? d[3] : d[gate];
        add_to(r.own_gradient + (gain_x + gate) * Hp + u, d[gate] * load(r.p + x_column[gate] * Hp + u));
        add_to(r.own_gradient + (gain_h + gate) * Hp + u, recurrent * load(r.p + h_column[gate] * Hp + u));
        add_to(r.own_gradient + (bias + gate) * Hp + u, d[gate]);
      }
      add_to(r.own_gradient + shift_n * Hp + u, d[3]);
      for (int i = 0; i < 4; i++) store(dp + i * Hp + u, d[i]);
      store(r.d[0] + u, dh * s.z);
    }
    normalise_backward(r.p, dp + 2 * Hp, r.own + (gain_x + 2) * Hp, extra[0], 1, r.H, Hp);
    normalise_backward(r.p + Hp, dp, r.own + gain_x * Hp, extra[1], 2, r.H, Hp);
    normalise_backward(r.p + 3 * Hp, dp, r.own + gain_h * Hp, extra[2], 2, r.H, Hp);
    normalise_backward(r.p + 5 * Hp, dp + 3 * Hp, r.own + (gain_h + 2) * Hp, extra[3], 1, r.H, Hp);
  }
};

}  // namespace storyline::STORYLINE_TARGET
