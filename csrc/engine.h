// What each target offers: for every cell, in the order of `Cells`, the two passes in both precisions.
#pragma once
#include "problem.h"

// A narrower target stands before a wider one: the last that runs is taken. CMakeLists.txt has the flags of each.
#if defined(__x86_64__)
#define STORYLINE_TARGETS(X) X(v2) X(v3) X(v4)
#else
#define STORYLINE_TARGETS(X) X(neon)
#endif

namespace storyline {

enum Cells { rnn_tanh, rnn_relu, lstm, gru, cell_count };
inline constexpr const char* cell_names[] = {"rnn_tanh", "rnn_relu", "lstm", "gru"};

template <class T> struct Pass {
  void (*forward)(const Problem<T>&);
  void (*backward)(const Problem<T>&, const Gradients<T>&);
  int columns, states;  // of a kept row of gates; of the cell
};

struct Engines {
  Pass<float> of_float[cell_count];
  Pass<double> of_double[cell_count];
  double (*peak)(int threads);
  int vector_bytes;
};

}  // namespace storyline
