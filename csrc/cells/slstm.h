// sLSTM, the scalar cell of xLSTM; the equations stand in src/storyline/cells/slstm.py. Legend: p the row of
// preactivations a b d e of i f z o, kept as they are, then their gradients; states h c n m.
#pragma once
#include "cell.h"

namespace storyline::STORYLINE_TARGET {

struct Slstm : UnitCell {
  static constexpr int columns = 4, states = 4;
  static constexpr int input_first = 0, input_gates[] = {0, 1, 2, 3};
  static constexpr int recurrent_first = 0, recurrent_gates[] = {0, 1, 2, 3};

  template <class T> struct Step {
    V<T> log_kept, m, i, f, z, o, c, n;
  };

  template <class T> static INLINE Step<T> step(const V<T>* p, const V<T>* before) {
    Step<T> s;
    s.log_kept = log_sigmoid<T>(p[1]) + before[3];
    const V<T> larger = s.log_kept > p[0] ? s.log_kept : p[0];
    s.m = before[2] == V<T>{} ? p[0] : larger;
    const V<T> falls = s.log_kept - s.m;
    s.i = exp<T>(p[0] - s.m);
    s.f = exp<T>(falls > V<T>{} ? V<T>{} : falls);
    s.z = tanh<T>(p[2]);
    s.o = sigmoid<T>(p[3]);
    s.c = fma(s.f, before[1], s.i * s.z);
    s.n = fma(s.f, before[2], s.i);
    return s;
  }

  template <class T> static INLINE void forward(V<T>* p, const V<T>* before, V<T>* after, const V<T>*) {
    const Step<T> s = step<T>(p, before);
    after[0] = s.o * s.c / s.n;
    after[1] = s.c, after[2] = s.n, after[3] = s.m;
  }

  template <class T> static INLINE void backward(V<T>* p, const V<T>* before, V<T>* d, const V<T>*, V<T>*) {
    const Step<T> s = step<T>(p, before);
    const V<T> zero = V<T>{}, one = all(T(1)), a = p[0], b = p[1];
    const V<T> dc = fma(d[0], s.o / s.n, d[1]), dn = d[2] - d[0] * s.o * s.c / (s.n * s.n);
    const V<T> di = fma(dc, s.z, dn) * s.i;
    V<T> df = fma(dc, before[1], dn * before[2]) * s.f;
    df = s.log_kept > s.m ? zero : df;
    const V<T> dm = d[3] - di - df;
    // Where both are the larger one, each gets half.
    const V<T> first = before[2] == zero ? one : (a > s.log_kept ? one : (a == s.log_kept ? one * T(0.5) : zero));
    const V<T> dkept = fma(one - first, dm, df);
    p[0] = fma(first, dm, di);
    p[1] = dkept * sigmoid<T>(-b);
    p[2] = dc * s.i * fma(-s.z, s.z, one);
    p[3] = d[0] * (s.c / s.n) * (s.o * (one - s.o));
    d[0] = zero, d[1] = dc * s.f, d[2] = dn * s.f, d[3] = dkept;
  }
};

}  // namespace storyline::STORYLINE_TARGET
