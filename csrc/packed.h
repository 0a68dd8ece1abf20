// What each target offers of weights that are packed once and used often, without gradients: a projection, and one step of
// every cell, in the order of `cell_names`.
#pragma once
#include <cstdint>
#include <memory>

#include "engine.h"

namespace storyline {

// What is asked of the columns of a row: the `count` greatest of those that are not barred, and the one of `end`.
struct Wanted {
  int64_t count, end;
  const int64_t* barred;  // by rising number, `end` among them
  int64_t barred_count;
};

class AnyProjection {
 public:
  virtual ~AnyProjection() = default;
  // y (rows, N) = x (rows, K) weight' + bias; the rows of x and y lie `stride` numbers apart.
  virtual void product(int64_t rows, const void* x, int64_t x_stride, void* y, int64_t y_stride, int threads) const = 0;
  // Of the log softmax of those rows: best (rows, count) with its columns, greatest first, -inf where there are no more,
  // and ending (rows,). The rows themselves are never whole in memory.
  virtual void likeliest(int64_t rows, const void* x, int64_t x_stride, const Wanted& wanted, void* best, int64_t* columns,
                         void* ending, int threads) const = 0;
};

class AnyStep {
 public:
  virtual ~AnyStep() = default;
  // x (rows, I) and the states before, each (rows, size), dense -> the states after, which must not lie in the same memory.
  // more: what is added to weight_ih x, (rows, rows of weight_ih) and so many numbers from row to row; null for nothing.
  virtual void step(int64_t rows, const void* x, int64_t x_stride, const void* more, int64_t more_stride,
                    const void* const* before, void* const* after, int threads) const = 0;
};

template <class T> struct Packers {
  std::unique_ptr<AnyProjection> (*projection)(int64_t N, int64_t K, const T* weight, const T* bias);
  std::unique_ptr<AnyStep> (*step[cell_count])(const Problem<T>&);  // of a layer's sizes and weights
};
struct AllPackers {
  Packers<float> of_float;
  Packers<double> of_double;
};

}  // namespace storyline
