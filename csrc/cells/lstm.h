// Long short-term memory and its variants; the equations stand in src/storyline/cells/lstm*.py. Legend: p the row of
// preactivations, then of gates, then of preactivation gradients; before, after, d: states h, c and their gradients;
// own the cell's own parameters, a vector each.
#pragma once
#include "cell.h"

namespace storyline::STORYLINE_TARGET {

struct Lstm : UnitCell {
  static constexpr int columns = 4, states = 2;  // p: i f g o
  static constexpr int input_first = 0, input_gates[] = {0, 1, 2, 3};
  static constexpr int recurrent_first = 0, recurrent_gates[] = {0, 1, 2, 3};

  template <class T> static INLINE void forward(V<T>* p, const V<T>* before, V<T>* after, const V<T>*) {
    const V<T> i = sigmoid<T>(p[0]), f = sigmoid<T>(p[1]), g = tanh<T>(p[2]), o = sigmoid<T>(p[3]);
    const V<T> c = fma(f, before[1], i * g);
    after[0] = o * tanh<T>(c);
    after[1] = c;
    p[0] = i, p[1] = f, p[2] = g, p[3] = o;
  }

  template <class T> static INLINE void backward(V<T>* p, const V<T>* before, V<T>* d, const V<T>*, V<T>*) {
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

struct LstmCoupled : UnitCell {
  static constexpr int columns = 3, states = 2;  // p: f g o
  static constexpr int input_first = 0, input_gates[] = {0, 1, 2};
  static constexpr int recurrent_first = 0, recurrent_gates[] = {0, 1, 2};

  template <class T> static INLINE void forward(V<T>* p, const V<T>* before, V<T>* after, const V<T>*) {
    const V<T> f = sigmoid<T>(p[0]), g = tanh<T>(p[1]), o = sigmoid<T>(p[2]);
    const V<T> c = fma(f, before[1] - g, g);
    after[0] = o * tanh<T>(c);
    after[1] = c;
    p[0] = f, p[1] = g, p[2] = o;
  }

  template <class T> static INLINE void backward(V<T>* p, const V<T>* before, V<T>* d, const V<T>*, V<T>*) {
    const V<T> f = p[0], g = p[1], o = p[2], one = all(T(1));
    const V<T> squashed = tanh<T>(fma(f, before[1] - g, g));
    const V<T> dc = fma(d[0] * o, fma(-squashed, squashed, one), d[1]);
    p[0] = dc * (before[1] - g) * (f * (one - f));
    p[1] = dc * (one - f) * fma(-g, g, one);
    p[2] = d[0] * squashed * (o * (one - o));
    d[0] = V<T>{};
    d[1] = dc * f;
  }
};

struct LstmPeephole : Lstm {
  static constexpr int own = 3, own_sizes[] = {1, 1, 1};  // p_i, p_f, p_o

  template <class T> static INLINE void forward(V<T>* p, const V<T>* before, V<T>* after, const V<T>* own) {
    const V<T> i = sigmoid<T>(fma(own[0], before[1], p[0])), f = sigmoid<T>(fma(own[1], before[1], p[1]));
    const V<T> g = tanh<T>(p[2]), c = fma(f, before[1], i * g), o = sigmoid<T>(fma(own[2], c, p[3]));
    after[0] = o * tanh<T>(c);
    after[1] = c;
    p[0] = i, p[1] = f, p[2] = g, p[3] = o;
  }

  template <class T>
  static INLINE void backward(V<T>* p, const V<T>* before, V<T>* d, const V<T>* own, V<T>* own_gradient) {
    const V<T> i = p[0], f = p[1], g = p[2], o = p[3], one = all(T(1));
    const V<T> c = fma(f, before[1], i * g), squashed = tanh<T>(c);
    p[3] = d[0] * squashed * (o * (one - o));
    const V<T> dc = fma(p[3], own[2], fma(d[0] * o, fma(-squashed, squashed, one), d[1]));
    p[0] = dc * g * (i * (one - i));
    p[1] = dc * before[1] * (f * (one - f));
    p[2] = dc * i * fma(-g, g, one);
    d[0] = V<T>{};
    d[1] = fma(p[1], own[1], fma(p[0], own[0], dc * f));
    own_gradient[0] = fma(p[0], before[1], own_gradient[0]);
    own_gradient[1] = fma(p[1], before[1], own_gradient[1]);
    own_gradient[2] = fma(p[3], c, own_gradient[2]);
  }
};

}  // namespace storyline::STORYLINE_TARGET
