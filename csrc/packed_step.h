// One step of one layer on packed weights, many rows at once, with the bits of the scan: what a decoder does at every token.
// Legend: I, H, S, Hp, width: see packing.h; r row.
#pragma once
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

  void step(int64_t rows, const void* x, int64_t x_stride, const void* more, int64_t more_stride,
            const void* const* before, void* const* after, int threads) const override {
    const int64_t chunks = std::max<int64_t>(threads, (rows + rows_a_chunk - 1) / rows_a_chunk);
    Failure failure;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
      FlushDenormals flush;
#pragma omp for schedule(static)
      for (int64_t chunk = 0; chunk < chunks; chunk++)
        failure.keep([&] {
          const int64_t from = rows * chunk / chunks, to = rows * (chunk + 1) / chunks;
          if (from == to) return;
          const T* was[Cell::states];
          T* is[Cell::states];
          for (int i = 0; i < Cell::states; i++) {
            was[i] = static_cast<const T*>(before[i]) + from * size(i);
            is[i] = static_cast<T*>(after[i]) + from * size(i);
          }
          const T* added = more ? static_cast<const T*>(more) + from * more_stride : nullptr;
          some_rows(to - from, static_cast<const T*>(x) + from * x_stride, x_stride, added, more_stride, was, is);
        });
    }
    failure.raise();
  }

 private:
  // As many as a product takes at once without its factors leaving the second cache.
  static constexpr int64_t rows_a_chunk = 96;
  int64_t size(int i) const { return i ? s_.H : s_.S; }

  void some_rows(int64_t rows, const T* x, int64_t x_stride, const T* more, int64_t more_stride, const T* const* before,
                 T* const* after) const {
    static thread_local Scratch scratch;
    // Each rounded up, so that what is taken one after another fits.
    const int64_t sizes[] = {rows * s_.width, rows * s_.Hp, (Cell::states - 1) * s_.Hp, (Cell::states - 1) * s_.Hp};
    int64_t bytes = Scratch::rounded(rows * int64_t(sizeof(T*))) * 2;
    for (int64_t each : sizes) bytes += Scratch::rounded(each * int64_t(sizeof(T)));
    scratch.start(bytes);
    T* gates = scratch.take<T>(sizes[0]);
    T* raw = scratch.take<T>(sizes[1]);
    T* was = scratch.take<T>(sizes[2]);
    T* is = scratch.take<T>(sizes[3]);
    const T** a = scratch.take<const T*>(rows);
    T** c = scratch.take<T*>(rows);
    for (int64_t r = 0; r < rows; r++) {
      a[r] = x + r * x_stride;
      T* row = gates + r * s_.width;
      c[r] = row + Cell::input_first * s_.Hp;
      std::copy(bias_.get() + input_columns<Cell> * s_.Hp, bias_.get() + Cell::columns * s_.Hp,
                row + input_columns<Cell> * s_.Hp);
      for (int column = 0; more && column < input_columns<Cell>; column++) {
        const T* bias = packed_.bias + (Cell::input_first + column) * s_.Hp;
        const T* added = more + r * more_stride + Cell::input_gates[column] * s_.H;
        T* to = c[r] + column * s_.Hp;
        for (int64_t u = 0; u < s_.H; u++) to[u] = bias[u] + added[u];
        std::fill(to + s_.H, to + s_.Hp, T(0));
      }
    }
    product<T>(rows, s_.input_width(), s_.I, a, packed_.ih, c, more ? Start::add : Start::bias, packed_.bias);
    for (int64_t r = 0; r < rows; r++) {
      a[r] = before[0] + r * s_.S;
      c[r] = gates + r * s_.width + Cell::recurrent_first * s_.Hp;
    }
    recurrent_product<T, Cell>(s_, packed_, rows, a, c);
    for (int64_t r = 0; r < rows; r++) {
      const T* from[Cell::states];
      T* to[Cell::states];
      from[0] = before[0] + r * s_.S;
      to[0] = projected_ ? raw + r * s_.Hp : after[0] + r * s_.S;
      for (int i = 1; i < Cell::states; i++) {  // the cells read and write whole vectors of them
        T* padded = was + (i - 1) * s_.Hp;
        std::fill(std::copy_n(before[i] + r * s_.H, s_.H, padded), padded + s_.Hp, T(0));
        from[i] = padded;
        to[i] = is + (i - 1) * s_.Hp;
      }
      step_forward<T, Cell>(s_, gates + r * s_.width, from, to, packed_.own, 0, s_.Hp);
      for (int i = 1; i < Cell::states; i++) std::copy_n(to[i], s_.H, after[i] + r * s_.H);
      a[r] = to[0], c[r] = after[0] + r * s_.S;
    }
    if (projected_) product<T>(rows, s_.S, s_.H, a, packed_.hr, c, Start::zero);
  }

  const Shape<T, Cell> s_;
  const bool projected_;
  const Aligned<T> ih_, hh_, hr_, bias_, own_;
  Packed<T> packed_;
};

}  // namespace storyline::STORYLINE_TARGET
