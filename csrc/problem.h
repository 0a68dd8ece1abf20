// One layer in one direction, as addresses and strides. All checks were made before: in Python
// (src/storyline/kernels/arguments.py and native_call.py), or of a plain call by ShortScan::describe (short_scan.h).
// Legend: T time, B batch, I input size, H hidden size, S size of h (H, or the projection's); strides count numbers, not bytes.
#pragma once
#include <cstdint>

namespace storyline {

inline constexpr int most_states = 4, most_own = 5;

// A tensor (time, batch, size), size contiguous.
template <class T> struct Sequence {
  T* data = nullptr;
  int64_t time_stride = 0, batch_stride = 0;
  T* at(int64_t t, int64_t b) const { return data + t * time_stride + b * batch_stride; }
  explicit operator bool() const { return data != nullptr; }
};

// A tensor (batch, size), size contiguous; stride 0: all rows are one.
template <class T> struct Rows {
  T* data = nullptr;
  int64_t stride = 0;
  T* at(int64_t b) const { return data + b * stride; }
  explicit operator bool() const { return data != nullptr; }
};

template <class T> struct Problem {
  int64_t time, batch, input_size, hidden_size, output_size;  // output_size: of h
  bool reverse;                                               // read each row from its last step to its first
  int parts;                                                  // how many shares the batch is split into; both ways the same
  int threads;
  const int64_t* lengths;                                     // (batch,) or null
  Sequence<const uint8_t> resets;                             // (time, batch, 1) or null
  Sequence<const T> input;                                    // (time, batch, input_size)
  Sequence<T> output;                                         // (time, batch, output_size), 0 beyond the length
  Rows<const T> initial[most_states], fresh[most_states];     // fresh: null for zeros
  Rows<T> last[most_states];
  int heads;                                                  // weight_hh is block-diagonal, of so many blocks
  const T *weight_ih, *weight_hh, *bias_ih, *bias_hh, *weight_hr, *own[most_own];
  bool closely;                                               // threads may share the units of small weights, too
  const T* packed;                                            // the weights as Pass::pack has laid them out, or null
  Rows<const T> mask;                                         // of the h that weight_hh reads; null for none
  Sequence<const T> zoneout[most_states];                     // by step, not by time; null for none
  // Kept for the backward pass, a row of them a slot (see plan.h): the row of gates, the states beside h, h before
  // its projection, h after its mask. Null: nothing is kept.
  T *kept_gates, *kept_states, *kept_h, *kept_masked;
};

// Gradients: what comes in and what goes out; whatever is null is not there, or not wanted.
template <class T> struct Gradients {
  Sequence<const T> output;
  Rows<const T> last[most_states];
  Sequence<T> input;
  Rows<T> initial[most_states], fresh[most_states];
  T *weight_ih, *weight_hh, *bias_ih, *bias_hh, *weight_hr, *own[most_own];
};

}  // namespace storyline
