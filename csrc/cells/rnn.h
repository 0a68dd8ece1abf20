// The vanilla recurrent network; the equations stand in src/storyline/cells/rnn.py. Legend: p the preactivation, then
// h, then the preactivation's gradient; d the gradient of h.
#pragma once
#include "cell.h"

namespace storyline::STORYLINE_TARGET {

struct Rnn : UnitCell {
  static constexpr int columns = 1, states = 1;
  static constexpr int input_first = 0, input_gates[] = {0};
  static constexpr int recurrent_first = 0, recurrent_gates[] = {0};
};

struct RnnTanh : Rnn {
  template <class T> static INLINE void forward(V<T>* p, const V<T>*, V<T>* after, const V<T>*) {
    after[0] = p[0] = tanh<T>(p[0]);
  }

  template <class T> static INLINE void backward(V<T>* p, const V<T>*, V<T>* d, const V<T>*, V<T>*) {
    p[0] = d[0] * fma(-p[0], p[0], all(T(1)));
    d[0] = V<T>{};
  }
};

struct RnnRelu : Rnn {
  template <class T> static INLINE void forward(V<T>* p, const V<T>*, V<T>* after, const V<T>*) {
    after[0] = p[0] = p[0] < V<T>{} ? V<T>{} : p[0];  // NaN stays NaN
  }

  template <class T> static INLINE void backward(V<T>* p, const V<T>*, V<T>* d, const V<T>*, V<T>*) {
    p[0] = p[0] <= V<T>{} ? V<T>{} : d[0];
    d[0] = V<T>{};
  }
};

}  // namespace storyline::STORYLINE_TARGET
