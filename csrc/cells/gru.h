// The gated recurrent unit; the equations stand in src/storyline/cells/gru.py. Legend: as in lstm.h.
#pragma once
#include "cell.h"

namespace storyline::STORYLINE_TARGET {

struct Gru : UnitCell {
  // p: the input's share of n, then r and z, then the recurrent share of n, so that what each product writes is one
  // run of columns. Gates are numbered as in torch: r z n.
  static constexpr int columns = 4, states = 1;
  static constexpr int input_first = 0, input_gates[] = {2, 0, 1};
  static constexpr int recurrent_first = 1, recurrent_gates[] = {0, 1, 2};
  static constexpr bool reads_h_before = true;

  template <class T> static INLINE void forward(V<T>* p, const V<T>* before, V<T>* after, const V<T>*) {
    const V<T> r = sigmoid<T>(p[1]), z = sigmoid<T>(p[2]);
    const V<T> n = tanh<T>(fma(r, p[3], p[0]));
    after[0] = fma(z, before[0] - n, n);
    p[0] = n, p[1] = r, p[2] = z;
  }

  template <class T> static INLINE void backward(V<T>* p, const V<T>* before, V<T>* d, const V<T>*, V<T>*) {
    const V<T> n = p[0], r = p[1], z = p[2], recurrent = p[3], one = all(T(1));
    const V<T> dn = d[0] * (one - z) * fma(-n, n, one);
    p[0] = dn;
    p[1] = dn * recurrent * (r * (one - r));
    p[2] = d[0] * (before[0] - n) * (z * (one - z));
    p[3] = dn * r;
    d[0] = d[0] * z;
  }
};

}  // namespace storyline::STORYLINE_TARGET
