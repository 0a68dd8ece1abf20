// One step of one layer on packed weights, many rows at once: what a decoder does at every token; and all steps of what an
// encoder reads. Of x alone it has the bits
// of the scan. What `more` adds is part of the start value, and what a state shared by several rows adds is summed by itself
// and then added: where it is more than one block deep (product.h) that is another order. Either way a row has the same
// bits whatever rows are beside it.
// Legend: I, H, S, Hp, width: see packing.h; r row.
#pragma once
#include <algorithm>
#include <numeric>
#include <vector>

#include <omp.h>

#include "failure.h"
#include "packed.h"
#include "scratch.h"
#include "step.h"
#include "stream_product.h"

namespace storyline::STORYLINE_TARGET {

template <class T, class Cell> class PackedStep final : public AnyStep {
 public:
  explicit PackedStep(const Problem<T>& p)
      : s_(p), projected_(p.weight_hr), ih_(zeros<T>(packed_size<T>(s_.input_width(), s_.I))),
        hh_(zeros<T>(s_.packed_hh())), hr_(zeros<T>(projected_ ? packed_size<T>(s_.S, s_.H) : 0)),
        bias_(zeros<T>(s_.width + panel_width<T>)), own_(zeros<T>(Cell::own * s_.Hp)) {
    static constexpr int one[] = {0};
    pack_forward<T>(p.weight_ih, s_.H, s_.Hp, s_.I, Cell::input_gates, input_columns<Cell>, ih_.get());
    if (s_.heads == 1)
      pack_forward<T>(p.weight_hh, s_.H, s_.Hp, s_.S, Cell::recurrent_gates, recurrent_columns<Cell>, hh_.get());
    else
      each_block<T, Cell>(s_, p.weight_hh, hh_.get(), packed_size<T>(s_.units_a_head(), s_.h_a_head()),
                          [this](const T* block, T* to) {
                            pack_forward<T>(block, s_.units_a_head(), s_.units_a_head(), s_.h_a_head(), one, 1, to);
                          });
    if (projected_) pack_forward<T>(p.weight_hr, s_.S, s_.S, s_.H, one, 1, hr_.get());
    pack_bias<T, Cell>(p, s_, bias_.get());
    pack_own<T, Cell>(p, s_, own_.get());
    packed_ = {ih_.get(), hh_.get(), hr_.get(), nullptr, nullptr, nullptr, bias_.get(), own_.get(), nullptr};
  }

  void step(int64_t rows, const Reads& reads, const void* const* before, void* const* after, int threads) const override {
    const int64_t chunks = std::max<int64_t>(threads, (rows + rows_a_chunk - 1) / rows_a_chunk);
    Failure failure;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
      FlushDenormals flush;
#pragma omp for schedule(static)
      for (int64_t chunk = 0; chunk < chunks; chunk++)
        failure.keep([&] {
          const int64_t from = rows * chunk / chunks, to = rows * (chunk + 1) / chunks;
          if (from < to) some_rows(from, to, reads, before, after);
        });
    }
    failure.raise();
  }

  // Rows share nothing, so that each chunk of them runs by itself, the longest together: no padding is computed.
  void sentences(const Sentences& all, const void* const* initial, void* const* last, int threads) const override {
    std::vector<int64_t> order(all.batch);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&all](int64_t one, int64_t other) { return all.lengths[one] > all.lengths[other]; });
    const int64_t chunks = std::max<int64_t>(threads, (all.batch + rows_a_chunk - 1) / rows_a_chunk);
    Failure failure;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
      FlushDenormals flush;
#pragma omp for schedule(dynamic)
      for (int64_t chunk = 0; chunk < chunks; chunk++)
        failure.keep([&] {
          const int64_t from = all.batch * chunk / chunks, to = all.batch * (chunk + 1) / chunks;
          if (from < to) some_sentences(to - from, order.data() + from, all, initial, last);
        });
    }
    failure.raise();
  }

 private:
  // As many as a product takes at once without its factors leaving the second cache.
  static constexpr int64_t rows_a_chunk = 96;
  int64_t size(int i) const { return i ? s_.H : s_.S; }

  void some_rows(int64_t first, int64_t last, const Reads& reads, const void* const* before, void* const* after) const {
    static thread_local Scratch scratch;
    const int64_t rows = last - first, recurrent = s_.recurrent_width();
    // Each rounded up, so that what is taken one after another fits.
    const int64_t sizes[] = {rows * s_.width, rows * s_.Hp, (Cell::states - 1) * s_.Hp, (Cell::states - 1) * s_.Hp,
                             reads.parent ? rows * recurrent : 0};
    int64_t bytes = Scratch::rounded(rows * int64_t(sizeof(T*))) * 2 + Scratch::rounded(rows * int64_t(sizeof(int64_t)));
    for (int64_t each : sizes) bytes += Scratch::rounded(each * int64_t(sizeof(T)));
    scratch.start(bytes);
    T* gates = scratch.take<T>(sizes[0]);
    T* raw = scratch.take<T>(sizes[1]);
    T* was = scratch.take<T>(sizes[2]);
    T* is = scratch.take<T>(sizes[3]);
    T* shares = scratch.take<T>(sizes[4]);
    const T** a = scratch.take<const T*>(rows);
    T** c = scratch.take<T*>(rows);
    int64_t* order = scratch.take<int64_t>(rows);
    auto state = [&](int i, int64_t r) {
      return static_cast<const T*>(before[i]) + (reads.parent ? reads.parent[first + r] : first + r) * size(i);
    };
    auto result = [&](int i, int64_t r) { return static_cast<T*>(after[i]) + (first + r) * size(i); };
    input_shares(first, rows, reads, gates, a, c);
    if (reads.parent) {
      recurrent_shares(rows, reads.parent + first, static_cast<const T*>(before[0]), gates, shares, a, c, order);
    } else {
      for (int64_t r = 0; r < rows; r++) {
        a[r] = state(0, r);
        c[r] = gates + r * s_.width + Cell::recurrent_first * s_.Hp;
      }
      recurrent_product<T, Cell>(s_, packed_, rows, a, c);
    }
    for (int64_t r = 0; r < rows; r++) {
      const T* from[Cell::states];
      T* to[Cell::states];
      from[0] = state(0, r);
      to[0] = projected_ ? raw + r * s_.Hp : result(0, r);
      for (int i = 1; i < Cell::states; i++) {  // the cells read and write whole vectors of them
        T* padded = was + (i - 1) * s_.Hp;
        std::fill(std::copy_n(state(i, r), s_.H, padded), padded + s_.Hp, T(0));
        from[i] = padded;
        to[i] = is + (i - 1) * s_.Hp;
      }
      step_forward<T, Cell>(s_, gates + r * s_.width, from, to, packed_.own, 0, s_.Hp);
      for (int i = 1; i < Cell::states; i++) std::copy_n(to[i], s_.H, result(i, r));
      a[r] = to[0], c[r] = result(0, r);
    }
    if (projected_) product<T>(rows, s_.S, s_.H, a, packed_.hr, c, Start::zero);
  }

  // Of the rows `order`, by falling length.
  void some_sentences(int64_t rows, const int64_t* order, const Sentences& all, const void* const* initial,
                      void* const* last) const {
    static thread_local Scratch scratch;
    const int64_t sizes[] = {rows * s_.width, rows * s_.Hp, rows * (Cell::states - 1) * s_.Hp};
    int64_t bytes = Scratch::rounded(rows * int64_t(sizeof(T*))) * 2 + Scratch::rounded(rows * int64_t(sizeof(int64_t)));
    for (int64_t each : sizes) bytes += Scratch::rounded(each * int64_t(sizeof(T)));
    scratch.start(bytes);
    T* gates = scratch.take<T>(sizes[0]);
    T* raw = scratch.take<T>(sizes[1]);
    T* rolling = scratch.take<T>(sizes[2]);
    const T** a = scratch.take<const T*>(rows);
    T** c = scratch.take<T*>(rows);
    int64_t* place = scratch.take<int64_t>(rows);
    auto state = [&](int i, int64_t r) { return rolling + ((i - 1) * rows + r) * s_.Hp; };
    auto time_of = [&](int64_t step, int64_t r) { return all.reverse ? all.lengths[order[r]] - 1 - step : step; };
    auto h = [&](int64_t step, int64_t r) {
      return static_cast<T*>(all.output) + order[r] * all.output_batch_stride + time_of(step, r) * all.output_time_stride;
    };
    for (int64_t r = 0; r < rows; r++) {
      for (int64_t t = all.lengths[order[r]]; t < all.time; t++)
        std::fill_n(static_cast<T*>(all.output) + order[r] * all.output_batch_stride + t * all.output_time_stride, s_.S, T(0));
      for (int i = 1; i < Cell::states; i++) {
        T* end = std::copy_n(static_cast<const T*>(initial[i]) + order[r] * s_.H, s_.H, state(i, r));
        std::fill(end, state(i, r) + s_.Hp, T(0));
      }
    }
    int64_t active = rows;
    for (int64_t step = 0; active; step++) {
      for (int64_t r = 0; r < active; r++) place[r] = all.more_row[order[r] * all.time + time_of(step, r)];
      input_shares(0, active, Reads{nullptr, 0, all.more, all.more_stride, place, nullptr}, gates, a, c);
      for (int64_t r = 0; r < active; r++) {
        a[r] = step ? h(step - 1, r) : static_cast<const T*>(initial[0]) + order[r] * s_.S;
        c[r] = gates + r * s_.width + Cell::recurrent_first * s_.Hp;
      }
      recurrent_product<T, Cell>(s_, packed_, active, a, c, step);
      for (int64_t r = 0; r < active; r++) {
        const T* from[Cell::states] = {a[r]};
        T* to[Cell::states] = {projected_ ? raw + r * s_.Hp : h(step, r)};
        for (int i = 1; i < Cell::states; i++) from[i] = to[i] = state(i, r);
        step_forward<T, Cell>(s_, gates + r * s_.width, from, to, packed_.own, 0, s_.Hp);
        a[r] = to[0], c[r] = h(step, r);
      }
      if (projected_) product<T>(active, s_.S, s_.H, a, packed_.hr, c, Start::zero);
      for (; active && all.lengths[order[active - 1]] == step + 1; active--) {
        const int64_t r = active - 1;
        std::copy_n(h(step, r), s_.S, static_cast<T*>(last[0]) + order[r] * s_.S);
        for (int i = 1; i < Cell::states; i++) std::copy_n(state(i, r), s_.H, static_cast<T*>(last[i]) + order[r] * s_.H);
      }
    }
  }

  // Fills the gates with the biases, and what is read adds.
  void input_shares(int64_t first, int64_t rows, const Reads& reads, T* gates, const T** a, T** c) const {
    for (int64_t r = 0; r < rows; r++) {
      if (s_.I) a[r] = static_cast<const T*>(reads.x) + (first + r) * reads.x_stride;
      T* row = gates + r * s_.width;
      c[r] = row + Cell::input_first * s_.Hp;
      std::copy(bias_.get() + input_columns<Cell> * s_.Hp, bias_.get() + Cell::columns * s_.Hp,
                row + input_columns<Cell> * s_.Hp);
      if (!reads.more) {
        if (!s_.I) std::copy_n(packed_.bias, s_.input_width(), c[r]);  // else the product begins with them
        continue;
      }
      const T* more = static_cast<const T*>(reads.more) +
                      (reads.more_row ? reads.more_row[first + r] : first + r) * reads.more_stride;
      for (int column = 0; column < input_columns<Cell>; column++) {
        const T* bias = packed_.bias + (Cell::input_first + column) * s_.Hp;
        const T* added = more + Cell::input_gates[column] * s_.H;
        T* to = c[r] + column * s_.Hp;
        for (int64_t u = 0; u < s_.H; u++) to[u] = bias[u] + added[u];
        std::fill(to + s_.H, to + s_.Hp, T(0));
      }
    }
    if (s_.I) product<T>(rows, s_.input_width(), s_.I, a, packed_.ih, c, reads.more ? Start::add : Start::bias, packed_.bias);
  }

  // Adds what the states before do. Rows that go on from the same one share it: of the hypotheses of a beam, two in five.
  void recurrent_shares(int64_t rows, const int64_t* parent, const T* before, T* gates, T* shares, const T** a, T** c,
                        int64_t* order) const {
    const int64_t recurrent = s_.recurrent_width();
    for (int64_t r = 0; r < rows; r++) order[r] = r;
    std::sort(order, order + rows, [parent](int64_t one, int64_t other) { return parent[one] < parent[other]; });
    int64_t distinct = 0;
    for (int64_t i = 0; i < rows; i++) {
      if (i && parent[order[i]] == parent[order[i - 1]]) continue;
      a[distinct] = before + parent[order[i]] * s_.S;
      c[distinct] = shares + distinct * recurrent;
      distinct++;
    }
    std::fill_n(shares, distinct * recurrent, T(0));
    recurrent_product<T, Cell>(s_, packed_, distinct, a, c);
    const T* share = shares;
    for (int64_t i = 0; i < rows; i++) {
      if (i && parent[order[i]] != parent[order[i - 1]]) share += recurrent;
      T* to = gates + order[i] * s_.width + Cell::recurrent_first * s_.Hp;
      for (int64_t j = 0; j < recurrent; j += lanes<T>) store(to + j, load(to + j) + load(share + j));
    }
  }

  const Shape<T, Cell> s_;
  const bool projected_;
  const Aligned<T> ih_, hh_, hr_, bias_, own_;
  Packed<T> packed_;
};

}  // namespace storyline::STORYLINE_TARGET
