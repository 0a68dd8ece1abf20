// Weight gradients: sums over all slots, after the time loop. The columns of the gates are shared out among the
// threads, and each sum runs over the slots in their order, so that nothing depends on the number of threads but
// through the plan. Legend: m columns of the left factor, n of the right; k slots.
#pragma once
#include "failure.h"
#include "team.h"

namespace storyline::STORYLINE_TARGET {

inline constexpr int64_t slots_a_sum = 256;       // slots that are packed together
inline constexpr int64_t slots_a_bias_sum = 32;   // slots that are summed up plainly; a divisor of slots_a_sum
inline constexpr int64_t columns_a_share = 120;   // of the left factor; a multiple of both rows_a_tile

// Walks all slots in their order.
template <class T, class Cell> class Cursor {
 public:
  explicit Cursor(const std::vector<TeamWorker<T, Cell>>& workers) : workers_(workers) { settle(); }
  const TeamWorker<T, Cell>& worker() const { return workers_[worker_]; }
  int64_t step() const { return step_; }
  int64_t row() const { return row_; }
  void next() {
    if (++row_ == worker().part().active(step_)) row_ = 0, step_++, settle();
  }

 private:
  void settle() {
    while (worker_ < workers_.size() && step_ == worker().part().steps()) worker_++, step_ = 0;
  }
  const std::vector<TeamWorker<T, Cell>>& workers_;
  size_t worker_ = 0;
  int64_t step_ = 0, row_ = 0;
};

// One right factor: a row (N,) a slot, and where the gradients go: weight (gates H, N), bias (gates H,); null for none.
template <class T, class Row> struct Right {
  Row row;
  int64_t N;
  T *weight, *bias;
  int64_t panels() const { return weight ? panels_of<T>(N) : 0; }
};

template <class T> void pack_row(const T* row, int64_t N, int64_t panels, int64_t k, int64_t K, T* to) {
  constexpr int64_t W = panel_width<T>;
  for (int64_t panel = 0; panel < panels; panel++) {
    T* at = to + (panel * K + k) * W;
    const int64_t some = N - panel * W;
    if (some >= W) {
      std::memcpy(at, row + panel * W, W * sizeof(T));  // of constant size: two moves
    } else {
      std::copy_n(row + panel * W, some, at);
      std::fill(at + some, at + W, T(0));
    }
  }
}

template <class T> void pack_columns(const T* from, int64_t columns, int64_t k, int64_t K, T* to) {
  int64_t tile = 0;
  for (; (tile + 1) * rows_a_tile <= columns; tile++)
    std::memcpy(to + (tile * K + k) * rows_a_tile, from + tile * rows_a_tile, rows_a_tile * sizeof(T));
  for (int64_t m = tile * rows_a_tile; m < round_up(columns, rows_a_tile); m++)
    to[(tile * K + k) * rows_a_tile + m % rows_a_tile] = m < columns ? from[m] : T(0);
}

// c (columns, all panels) = sum over slots of left[slot][m] right(slot)[n]; left rows lie one after another. Leaves in
// `sums` the sums of the left columns. Both are added up by blocks of slots, see add_up.
template <class T, class Cell, class First, class Second>
void sum_over_slots(const std::vector<TeamWorker<T, Cell>>& workers, int64_t slots, const T* left, int64_t left_stride,
                    int64_t columns, const First& first, const Second& second, T* c, T* sums, Scratch& scratch) {
  constexpr int64_t W = panel_width<T>;
  const int64_t panels = first.panels() + second.panels(), padded = panels * W, tiled = round_up(columns, rows_a_tile);
  T* a = scratch.take<T>(slots_a_sum * tiled);
  T* b = scratch.take<T>(slots_a_sum * padded);
  const bool only = slots <= slots_a_sum;  // one sum is all
  T* lost = scratch.take<T>(only ? 0 : tiled * padded);
  if (!only) {
    std::fill(c, c + tiled * padded, T(0));
    std::fill(lost, lost + tiled * padded, T(0));
  }
  std::fill(sums, sums + columns, T(0));
  T some_sums[columns_a_share], lost_sums[columns_a_share] = {};
  Cursor<T, Cell> cursor(workers);
  for (int64_t slot = 0; slot < slots; slot += slots_a_sum) {
    const int64_t K = std::min(slots_a_sum, slots - slot);
    for (int64_t k = 0; k < K; k++, cursor.next()) {
      if (k % slots_a_bias_sum == 0) std::fill(some_sums, some_sums + columns, T(0));
      if (first.weight) pack_row<T>(first.row(cursor), first.N, first.panels(), k, K, b);
      if (second.weight)
        pack_row<T>(second.row(cursor), second.N, second.panels(), k, K, b + first.panels() * K * W);
      const T* from = left + (slot + k) * left_stride;
      pack_columns(from, columns, k, K, a);
      int64_t m = 0;
      for (; m + lanes<T> <= columns; m += lanes<T>) store(some_sums + m, load(some_sums + m) + load(from + m));
      for (; m < columns; m++) some_sums[m] += from[m];
      if ((k + 1) % slots_a_bias_sum == 0 || k + 1 == K)
        for (m = 0; m < columns; m++) add_up(sums[m], lost_sums[m], some_sums[m]);
    }
    for (int64_t tile = 0; tile * rows_a_tile < columns; tile++)
      for (int64_t panel = 0; panel < panels; panel++)
        outer_rows<T, rows_a_tile>(K, a + tile * K * rows_a_tile, b + panel * K * W,
                                   c + tile * rows_a_tile * padded + panel * W,
                                   lost + (only ? 0 : tile * rows_a_tile * padded + panel * W), padded, only);
  }
}

// The gradients of one weight, or of two that stand before the same columns `gates` of the left factor. Called by the
// whole team.
template <class T, class Cell, class First, class Second>
void weight_gradient(Failure& failure, const std::vector<TeamWorker<T, Cell>>& workers, int64_t slots, const T* left,
                     int64_t left_stride, int64_t H, int64_t Hp, const int* gates, int count, const First& first, const Second& second) {
  if (!first.weight && !first.bias && !second.weight && !second.bias) return;
  const int64_t columns = count * Hp, shares = (columns + columns_a_share - 1) / columns_a_share;
  const int64_t padded = (first.panels() + second.panels()) * panel_width<T>;
  static thread_local Scratch scratch;
#pragma omp for schedule(dynamic, 1) nowait
  for (int64_t share = 0; share < shares; share++) failure.keep([&] {
    const int64_t from = share * columns_a_share, some = std::min(columns_a_share, columns - from);
    const int64_t tiled = round_up(some, rows_a_tile);
    scratch.start(sizeof(T) * (slots_a_sum * (tiled + padded) + 2 * tiled * padded + some) + 1024);
    T* c = scratch.take<T>(tiled * padded);
    T* sums = scratch.take<T>(some);
    sum_over_slots<T, Cell>(workers, slots, left + from, left_stride, some, first, second, c, sums, scratch);
    for (int64_t m = 0; m < some; m++) {
      const int64_t gate = (from + m) / Hp, unit = (from + m) % Hp;
      if (unit >= H) continue;
      const int64_t row = gates[gate] * H + unit;
      const T* sum = c + m * padded;
      if (first.weight) std::copy_n(sum, first.N, first.weight + row * first.N);
      if (second.weight)
        std::copy_n(sum + first.panels() * panel_width<T>, second.N, second.weight + row * second.N);
      if (first.bias) first.bias[row] = sums[m];
      if (second.bias) second.bias[row] = sums[m];
    }
  });
}

}  // namespace storyline::STORYLINE_TARGET
