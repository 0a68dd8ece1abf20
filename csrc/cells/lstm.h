// Long short-term memory; the equations stand in src/storyline/cells/lstm.py. Legend: p the row of preactivations,
// then of gates, then of preactivation gradients; d gradients of the states.
#pragma once
#include "../simd.h"

namespace storyline::STORYLINE_TARGET {

struct Lstm {
  static constexpr int columns = 4, states = 2;  // p: i f g o; states: h c
  static constexpr int input_first = 0, input_gates[] = {0, 1, 2, 3};
  static constexpr int recurrent_first = 0, recurrent_gates[] = {0, 1, 2, 3};
  static constexpr bool reads_h_before = false, reads_h_after = false;

  template <class T> static INLINE void forward(V<T>* p, const V<T>* before, V<T>* after) {
    const V<T> i = sigmoid<T>(p[0]), f = sigmoid<T>(p[1]), g = tanh<T>(p[2]), o = sigmoid<T>(p[3]);
    const V<T> c = fma(f, before[1], i * g);
    after[0] = o * tanh<T>(c);
    after[1] = c;
    p[0] = i, p[1] = f, p[2] = g, p[3] = o;
  }

  template <class T> static INLINE void backward(V<T>* p, const V<T>* before, const V<T>*, V<T>* d) {
    const V<T> i = p[0], f = p[1], g = p[2], o = p[3], one = all(T(1));
    const V<T> squashed = tanh<T>(fma(f, before[1], i * g));
    const V<T> dc = fma(d[0] * o, fma(-squashed, squashed, one), d[1]);
    p[0] = dc * g * (i * (one - i));
    p[1] = dc * before[1] * (f * (one - f));
    p[2] = dc * i * fma(-g, g, one);
    p[3] = d[0] * squashed * (o * (one - o));
    d[0] = V<T>{};
    d[1] = dc * f;
  }
};

}  // namespace storyline::STORYLINE_TARGET
