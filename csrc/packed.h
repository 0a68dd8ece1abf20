// What each target offers of weights that are packed once and used often, without gradients: a projection, one step
// of every cell, in the order of `cell_names`, and additive attention.
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
  // y (rows, N) = x (rows, K) weight' + bias; the rows of x and y lie `stride` numbers apart. place: which row of both each
  // is, null: its own.
  virtual void product(int64_t rows, const int64_t* place, const void* x, int64_t x_stride, void* y, int64_t y_stride,
                       int threads) const = 0;
  // Of the log softmax of those rows: best (rows, count) with its columns, greatest first, -inf where there are no more,
  // and ending (rows,). The rows themselves are never whole in memory.
  virtual void likeliest(int64_t rows, const void* x, int64_t x_stride, const Wanted& wanted, void* best, int64_t* columns,
                         void* ending, int threads) const = 0;
};

// What each row of a step reads; rows of x and more lie `stride` numbers apart.
struct Reads {
  const void* x;  // (rows, I); null where I is 0
  int64_t x_stride;
  const void* more;  // what is added to weight_ih x, (any, rows of weight_ih); null: nothing
  int64_t more_stride;
  const int64_t* more_row;  // (rows,): which row of more; null: its own
  const int64_t* parent;    // (rows,): which row of the states before it goes on from; null: its own
};

// Whole sequences of numbered inputs, whose shares of the preactivations are rows of a table.
struct Sentences {
  int64_t time, batch;
  const int64_t* lengths;  // (batch,): from 1 to time
  const void* more;        // (any, rows of weight_ih); its rows lie `stride` numbers apart
  int64_t more_stride;
  const int64_t* more_row;  // (batch, time): which row of more; not read beyond the length
  void* output;             // (batch, time, size of h), 0 beyond the length; strides count numbers
  int64_t output_batch_stride, output_time_stride;
  bool reverse;
};

class AnyStep {
 public:
  virtual ~AnyStep() = default;
  // Of a layer that reads nothing else (I is 0): its output, and the states after each row's last step, (batch, size).
  virtual void sentences(const Sentences& all, const void* const* initial, void* const* last, int threads) const = 0;
  // Also of the states before, each (any, size), dense -> those after, (rows, size), which must not lie in the same memory.
  virtual void step(int64_t rows, const Reads& reads, const void* const* before, void* const* after, int threads) const = 0;
};

// Additive attention of hypotheses, the same number a sentence, to the tokens of their sentence's source: see attention.h.
template <class T> struct Asked {
  int64_t sentences, width;   // width: hypotheses a sentence
  int64_t source, size, read;  // tokens of a source, padding included; size of a query; of what is read of a token
  const T *query, *keys, *vector, *values;  // (sentences * width, size), (any, source, size), (size,), (any, source, read)
  const uint8_t* large;                     // (any,): keys are as they are, and not e^(2 key)
  const int64_t *lengths, *sentence;        // (any,); (sentences,): which of any each is
  T *context, *weights;                     // (sentences * width, read), (sentences * width, source)
  int threads;
};

template <class T> struct Packers {
  std::unique_ptr<AnyProjection> (*projection)(int64_t N, int64_t K, const T* weight, const T* bias);
  std::unique_ptr<AnyStep> (*step[cell_count])(const Problem<T>&);  // of a layer's sizes and weights
  void (*attend)(const Asked<T>&);
};
struct AllPackers {
  Packers<float> of_float;
  Packers<double> of_double;
};

}  // namespace storyline
