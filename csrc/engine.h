// What each target offers: for every cell, in the order of `Cells`, the two passes and the stream in both precisions.
#pragma once
#include <array>
#include <memory>
#include <vector>

#include "any_stream.h"
#include "problem.h"

// A narrower target stands before a wider one: the last that runs is taken. CMakeLists.txt has the flags of each.
#if defined(STORYLINE_TARGETS)  // a build of some of them
#elif defined(__x86_64__)
#define STORYLINE_TARGETS(X) X(v2) X(v3) X(v4)
#else
#define STORYLINE_TARGETS(X) X(neon)
#endif

namespace storyline {

// By the names that the cells have in Python.
inline constexpr const char* cell_names[] = {"rnn_tanh",        "rnn_relu", "lstm",           "lstm_peephole", "lstm_coupled",
                                             "lstm_layer_norm", "gru",      "gru_layer_norm", "slstm"};
inline constexpr int cell_count = sizeof(cell_names) / sizeof(*cell_names);

// Of numbers in memory, to tell whether they are the same as before.
struct Fingerprint {
  std::array<uint32_t, 64> places{};
  bool operator==(const Fingerprint&) const = default;
};

template <class T> struct Pass {
  int (*forward)(const Problem<T>&);  // returns the number of parts, which the way back must be told
  void (*backward)(const Problem<T>&, const Gradients<T>&);
  int64_t (*packed_numbers)(const Problem<T>&);  // for Problem::packed, which serves the forward pass
  void (*pack)(const Problem<T>&, T* to);
  // Of these layers, each with its initial state as one row; zoneout: a rate a state, or empty; half: bfloat16 weights.
  std::unique_ptr<AnyStream> (*stream)(const std::vector<Problem<T>>&, const std::vector<double>& zoneout, bool half);
  int columns, extra, states;  // of a kept row of gates: runs of padded hidden size, single numbers; of the cell
};
template <class T> struct Passes {
  Pass<T> of[cell_count];
};

struct Engines {
  Passes<float> of_float;
  Passes<double> of_double;
  double (*peak)(int threads);
  Fingerprint (*fingerprint)(const void* from, int64_t bytes);
  int vector_bytes;
};

}  // namespace storyline
