// Weight gradients: sums over all slots, after the time loop. The columns of the gates are shared out among the
// threads, and each sum runs over the slots in their order, so that nothing depends on the number of threads but
// through the plan. Legend: m columns of the left factor, n of the right; k slots.
#pragma once
#include "recurrence.h"

namespace storyline::STORYLINE_TARGET {

inline constexpr int64_t slots_a_sum = 256;       // slots that are packed together
inline constexpr int64_t columns_a_share = 120;   // of the left factor; a multiple of both rows_a_tile

// Walks all slots in their order.
template <class T, class Cell> class Cursor {
 public:
  explicit Cursor(const std::vector<Worker<T, Cell>>& workers) : workers_(workers) { settle(); }
  const Worker<T, Cell>& worker() const { return workers_[worker_]; }
  int64_t step() const { return step_; }
  int64_t row() const { return row_; }
  void next() {
    if (++row_ == worker().part().active(step_)) row_ = 0, step_++, settle();
  }

 private:
  void settle() {
    while (worker_ < workers_.size() && step_ == worker().part().steps()) worker_++, step_ = 0;
  }
  const std::vector<Worker<T, Cell>>& workers_;
  size_t worker_ = 0;
  int64_t step_ = 0, row_ = 0;
};

// c (columns, N padded) = sum over slots of left[slot][first + m] right(slot)[n]; left rows lie one after another.
// Returns in `sums` the sums of the left columns. Both are added up by blocks of slots, see outer_rows.
template <class T, class Cell, class Right>
void sum_over_slots(const std::vector<Worker<T, Cell>>& workers, int64_t slots, const T* left, int64_t left_stride,
                    int64_t columns, int64_t N, Right right, T* c, T* sums, Scratch& scratch) {
  constexpr int64_t W = panel_width<T>;
  const int64_t panels = panels_of<T>(N), padded = panels * W;
  T* a = scratch.take<T>(slots_a_sum * columns_a_share);
  T* b = scratch.take<T>(slots_a_sum * padded);
  T* lost = scratch.take<T>((columns_a_share + rows_a_tile) * padded);
  const int64_t size = round_up(columns, rows_a_tile) * padded;
  std::fill(c, c + size, T(0));
  std::fill(lost, lost + size, T(0));
  std::fill(sums, sums + columns, T(0));
  T lost_sums[columns_a_share] = {};
  Cursor<T, Cell> cursor(workers);
  for (int64_t slot = 0; slot < slots; slot += slots_a_sum) {
    const int64_t K = std::min(slots_a_sum, slots - slot);
    T some_sums[columns_a_share] = {};
    for (int64_t k = 0; k < K; k++, cursor.next()) {
      const T* row = right(cursor);
      for (int64_t panel = 0; panel < panels; panel++) {
        T* to = b + (panel * K + k) * W;
        const int64_t some = std::min(W, N - panel * W);
        std::copy_n(row + panel * W, some, to);
        std::fill(to + some, to + W, T(0));
      }
      const T* from = left + (slot + k) * left_stride;
      for (int64_t m = 0; m < columns; m++) some_sums[m] += from[m];
      for (int64_t tile = 0; tile * rows_a_tile < columns; tile++) {
        T* to = a + (tile * K + k) * rows_a_tile;
        for (int m = 0; m < rows_a_tile; m++) {
          const int64_t column = tile * rows_a_tile + m;
          to[m] = column < columns ? from[column] : T(0);
        }
      }
    }
    for (int64_t m = 0; m < columns; m++) {
      const T was = sums[m], more = some_sums[m] - lost_sums[m];
      sums[m] = was + more;
      lost_sums[m] = (sums[m] - was) - more;
    }
    for (int64_t tile = 0; tile * rows_a_tile < columns; tile++)
      for (int64_t panel = 0; panel < panels; panel++)
        outer_rows<T, rows_a_tile>(K, a + tile * K * rows_a_tile, b + panel * K * W,
                                   c + tile * rows_a_tile * padded + panel * W,
                                   lost + tile * rows_a_tile * padded + panel * W, padded);
  }
}

// weight_gradient (gates H, N), bias_gradient (gates H,): the columns `gates` of the left factor, from `left` on.
// Called by the whole team.
template <class T, class Cell, class Right>
void weight_gradient(const std::vector<Worker<T, Cell>>& workers, int64_t slots, const T* left, int64_t left_stride,
                     int64_t H, int64_t Hp, const int* gates, int count, int64_t N, Right right, T* weight, T* bias) {
  if (!weight && !bias) return;
  const int64_t columns = count * Hp, shares = (columns + columns_a_share - 1) / columns_a_share;
  const int64_t padded = weight ? panels_of<T>(N) * panel_width<T> : 0;
  static thread_local Scratch scratch;
#pragma omp for schedule(dynamic, 1) nowait
  for (int64_t share = 0; share < shares; share++) {
    const int64_t first = share * columns_a_share, some = std::min(columns_a_share, columns - first);
    scratch.start(sizeof(T) * (slots_a_sum * (columns_a_share + padded) +
                               2 * (columns_a_share + rows_a_tile) * padded + columns_a_share) + 512);
    T* c = scratch.take<T>((columns_a_share + rows_a_tile) * padded);
    T* sums = scratch.take<T>(columns_a_share);
    sum_over_slots<T, Cell>(workers, slots, left + first, left_stride, some, weight ? N : 0, right, c, sums, scratch);
    for (int64_t m = 0; m < some; m++) {
      const int64_t gate = (first + m) / Hp, unit = (first + m) % Hp;
      if (unit >= H) continue;
      const int64_t row = gates[gate] * H + unit;
      if (weight) std::copy_n(c + m * padded, N, weight + row * N);
      if (bias) bias[row] = sums[m];
    }
  }
}

}  // namespace storyline::STORYLINE_TARGET
