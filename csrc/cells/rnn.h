// The vanilla recurrent network; the equations stand in src/storyline/cells/rnn.py. Legend: p the preactivation, then
// its gradient; d the gradient of h.
#pragma once
#include "../simd.h"

namespace storyline::STORYLINE_TARGET {

struct RnnShape {
  static constexpr int columns = 1, states = 1;
  static constexpr int input_first = 0, input_gates[] = {0};
  static constexpr int recurrent_first = 0, recurrent_gates[] = {0};
  static constexpr bool reads_h_before = false, reads_h_after = true;
};

struct RnnTanh : RnnShape {
  template <class T> static INLINE void forward(V<T>* p, const V<T>*, V<T>* after) { after[0] = tanh<T>(p[0]); }

  template <class T> static INLINE void backward(V<T>* p, const V<T>*, const V<T>* after, V<T>* d) {
    p[0] = d[0] * fma(-after[0], after[0], all(T(1)));
    d[0] = V<T>{};
  }
};

struct RnnRelu : RnnShape {
  template <class T> static INLINE void forward(V<T>* p, const V<T>*, V<T>* after) {
    after[0] = p[0] < V<T>{} ? V<T>{} : p[0];  // NaN stays NaN
  }

  template <class T> static INLINE void backward(V<T>* p, const V<T>*, const V<T>* after, V<T>* d) {
    p[0] = after[0] <= V<T>{} ? V<T>{} : d[0];
    d[0] = V<T>{};
  }
};

}  // namespace storyline::STORYLINE_TARGET
