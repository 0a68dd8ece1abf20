// A matrix that is packed once and multiplied often: the projection to a vocabulary, which is most of what decoding
// computes. Legend: N columns (rows of the weight), K depth; x rows; m row of a chunk; best, tokens: the greatest columns so
// far of a row, by falling value; top the greatest of all columns, total the sum of e^(column - top).
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <omp.h>

#include "packed.h"
#include "failure.h"
#include "packing.h"
#include "scratch.h"
#include "stream_product.h"

namespace storyline::STORYLINE_TARGET {

// Columns that a row is asked about at once: few enough that those of a chunk's rows lie in the second cache.
inline constexpr int64_t panels_a_look = 4;
template <class T> inline constexpr int64_t columns_a_look = panels_a_look * panel_width<T>;
inline constexpr int64_t rows_a_chunk = 128;

// The columns of one row, looked at piece by piece, in order.
template <class T> struct Look {
  T top = -std::numeric_limits<T>::infinity();
  V<T> total = {};
  T ending = top;
  T least = top;  // the last of best

  // `some` columns from `first` on; what lies behind them up to a whole look is -inf. They are overwritten.
  void at(T* columns, int64_t first, int64_t some, const Wanted& wanted, const int64_t*& barred, T* best, int64_t* tokens) {
    constexpr int L = lanes<T>;
    if (wanted.end >= first && wanted.end < first + some) ending = columns[wanted.end - first];
    const T most = greatest(columns);
    if (most > top) {
      total *= all(top > -std::numeric_limits<T>::infinity() ? std::exp(top - most) : T(0));
      top = most;
    }
    // A column that is no number must reach the sum; of nothing but -inf there is none.
    if (top > -std::numeric_limits<T>::infinity() || most != most) {
      V<T> sum = total;  // not by way of memory, which would be waited for
      for (int64_t j = 0; j < columns_a_look<T>; j += L) sum += exp<T>(load(columns + j) - top);
      total = sum;
    }
    for (const int64_t* end = wanted.barred + wanted.barred_count; barred < end && *barred < first + some; barred++)
      columns[*barred - first] = -std::numeric_limits<T>::infinity();
    if (!(most > least)) return;
    for (int64_t j = 0; j < some; j += L)  // what lies behind them is no greater than anything
      if (any<T>(load(columns + j) > least))
        for (int64_t i = j; i < j + L; i++)
          if (columns[i] > least) insert(columns[i], first + i, wanted.count, best, tokens);
  }

 private:
  static T greatest(const T* columns) {
    constexpr int L = lanes<T>;
    V<T> most = load(columns);
    for (int64_t j = L; j < columns_a_look<T>; j += L) {
      const V<T> more = load(columns + j);
      most = more > most ? more : most;
    }
    T one = most[0];
    for (int i = 1; i < L; i++) one = std::max(one, T(most[i]));
    return one;
  }
  void insert(T value, int64_t column, int64_t count, T* best, int64_t* tokens) {
    int64_t place = count - 1;
    for (; place > 0 && value > best[place - 1]; place--) best[place] = best[place - 1], tokens[place] = tokens[place - 1];
    best[place] = value, tokens[place] = column;
    least = best[count - 1];
  }
};

template <class T> class Projection final : public AnyProjection {
 public:
  // weight (N, K) by rows; bias (N,), or null.
  Projection(int64_t N, int64_t K, const T* weight, const T* bias)
      : N_(N), K_(K), packed_(zeros<T>(packed_size<T>(N, K))), bias_(zeros<T>(N)) {
    static constexpr int one[] = {0};
    pack_forward<T>(weight, N, N, K, one, 1, packed_.get());
    if (bias) std::copy_n(bias, N, bias_.get());
  }

  void product(int64_t rows, const int64_t* place, const void* x, int64_t x_stride, void* y, int64_t y_stride,
               int threads) const override {
    // Enough rows are shared out; of few, the columns.
    const bool by_rows = rows >= threads * int64_t(rows_a_tile);
    const int64_t panels = panels_of<T>(N_);
    Failure failure;
#pragma omp parallel num_threads(threads) if (threads > 1)
    failure.keep([&] {
      FlushDenormals flush;
      const int64_t i = omp_get_thread_num(), n = omp_get_num_threads();
      const int64_t from = by_rows ? rows * i / n : 0, to = by_rows ? rows * (i + 1) / n : rows;
      std::vector<const T*> a(to - from);
      std::vector<T*> c(to - from);
      for (int64_t m = from; m < to; m++) {
        const int64_t row = place ? place[m] : m;
        a[m - from] = static_cast<const T*>(x) + row * x_stride;
        c[m - from] = static_cast<T*>(y) + row * y_stride;
      }
      storyline::STORYLINE_TARGET::product<T>(to - from, N_, K_, a.data(), packed_.get(), c.data(), Start::bias, bias_.get(),
                                              by_rows ? 0 : panels * i / n, by_rows ? panels : panels * (i + 1) / n);
    });
    failure.raise();
  }

  void likeliest(int64_t rows, const void* x, int64_t x_stride, const Wanted& wanted, void* best, int64_t* columns,
                 void* ending, int threads) const override {
    const int64_t a_thread = (rows + threads - 1) / threads;
    const int64_t chunks = threads * ((a_thread + rows_a_chunk - 1) / rows_a_chunk);
    Failure failure;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
      FlushDenormals flush;
#pragma omp for schedule(static)
      for (int64_t chunk = 0; chunk < chunks; chunk++)
        failure.keep([&] {
          const int64_t from = rows * chunk / chunks, to = rows * (chunk + 1) / chunks;
          look(to - from, static_cast<const T*>(x) + from * x_stride, x_stride, wanted,
               static_cast<T*>(best) + from * wanted.count, columns + from * wanted.count, static_cast<T*>(ending) + from);
        });
    }
    failure.raise();
  }

 private:
  void look(int64_t rows, const T* x, int64_t x_stride, const Wanted& wanted, T* best, int64_t* tokens, T* ending) const {
    constexpr int64_t width = columns_a_look<T>;
    constexpr T nothing = -std::numeric_limits<T>::infinity();
    static thread_local Scratch scratch;
    scratch.start(rows * width * int64_t(sizeof(T)) + 1024);
    T* block = scratch.take<T>(rows * width);
    std::fill_n(best, rows * wanted.count, nothing);
    std::fill_n(tokens, rows * wanted.count, 0);
    std::vector<Look<T>> looks(rows);
    std::vector<const T*> a(rows);
    std::vector<T*> c(rows);
    for (int64_t m = 0; m < rows; m++) a[m] = x + m * x_stride, c[m] = block + m * width;
    const int64_t* barred = wanted.barred;
    for (int64_t first = 0; first < N_; first += width) {
      const int64_t some = std::min(width, N_ - first);
      if (some < width) std::fill_n(block, rows * width, nothing);
      storyline::STORYLINE_TARGET::product<T>(rows, some, K_, a.data(), packed_.get() + first * K_, c.data(), Start::bias,
                                              bias_.get() + first);
      const int64_t* passed = barred;
      for (int64_t m = 0; m < rows; m++) {
        passed = barred;
        looks[m].at(c[m], first, some, wanted, passed, best + m * wanted.count, tokens + m * wanted.count);
      }
      barred = passed;
    }
    for (int64_t m = 0; m < rows; m++) {
      const Look<T>& look = looks[m];
      const T rest = std::log(sum<T>(look.total));
      for (int64_t i = 0; i < wanted.count; i++) best[m * wanted.count + i] = (best[m * wanted.count + i] - look.top) - rest;
      ending[m] = (look.ending - look.top) - rest;
    }
  }

  const int64_t N_, K_;
  const Aligned<T> packed_, bias_;
};

}  // namespace storyline::STORYLINE_TARGET
