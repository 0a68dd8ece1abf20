// A stream: packed weights of a stack of layers, which forks share, and the states of so many rows, stepped one step at
// a time with the bits of the scan. Legend: I, H, S, Hp, width: see packing.h; r row; l layer; W how weights are kept,
// see stream_product.h; wide room for a row of any state.
#pragma once
#include <omp.h>

#include <vector>

#include "any_stream.h"
#include "choice.h"
#include "step.h"
#include "stream_product.h"

namespace storyline::STORYLINE_TARGET {

// Whether both products write the same columns, so that one pass does both.
template <class Cell> constexpr bool same_columns() {
  if (input_columns<Cell> != recurrent_columns<Cell> || Cell::input_first != Cell::recurrent_first) return false;
  for (int i = 0; i < input_columns<Cell>; i++)
    if (Cell::input_gates[i] != Cell::recurrent_gates[i]) return false;
  return true;
}

template <class T, class Cell, class W> struct StreamLayer {
  Shape<T, Cell> s;
  bool both, projected;  // both: ih holds weight_hh too
  Aligned<typename W::Word> ih, hh, hr;
  Aligned<T> bias, own, initial;  // initial: (states, wide)

  StreamLayer(const Problem<T>& p, int64_t wide)
      : s(p), both(same_columns<Cell>() && p.heads == 1), projected(p.weight_hr),
        bias(zeros<T>(s.width)), own(zeros<T>(Cell::own * s.Hp)), initial(zeros<T>(Cell::states * wide)) {
    pack_bias<T, Cell>(p, s, bias.get());
    pack_own<T, Cell>(p, s, own.get());
    for (int i = 0; i < Cell::states; i++)
      std::copy_n(p.initial[i].at(0), i ? s.H : s.S, initial.get() + i * wide);
    const int64_t N = s.input_width(), K = s.I + (both ? s.S : 0);
    ih = zeros<typename W::Word>(words_of<W>(N, K));
    pack_stream<W>(N, K, [&](int64_t column, int64_t k) {
      return k < s.I ? weight_of(p.weight_ih, Cell::input_gates, column, s.I, k)
                     : weight_of(p.weight_hh, Cell::recurrent_gates, column, s.S, k - s.I);
    }, ih.get());
    if (!both) pack_recurrent(p);
    if (projected) {
      hr = zeros<typename W::Word>(words_of<W>(s.S, s.H));
      pack_stream<W>(s.S, s.H, [&](int64_t n, int64_t k) { return p.weight_hr[n * s.H + k]; }, hr.get());
    }
  }

  int64_t block_words() const { return words_of<W>(s.units_a_head(), s.h_a_head()); }
  int64_t work() const {
    return s.input_width() * s.I + s.recurrent_width() * s.h_a_head() + (projected ? s.S * s.H : 0);
  }

 private:
  T weight_of(const T* weight, const int* gates, int64_t column, int64_t K, int64_t k) const {
    const int64_t unit = column % s.Hp;
    return unit < s.H ? weight[(gates[column / s.Hp] * s.H + unit) * K + k] : T(0);
  }
  void pack_recurrent(const Problem<T>& p) {
    if (s.heads == 1) {
      const int64_t N = s.recurrent_width();
      hh = zeros<typename W::Word>(words_of<W>(N, s.S));
      pack_stream<W>(N, s.S, [&](int64_t column, int64_t k) {
        return weight_of(p.weight_hh, Cell::recurrent_gates, column, s.S, k);
      }, hh.get());
    } else {
      hh = zeros<typename W::Word>(recurrent_columns<Cell> * s.heads * block_words());
      each_block<T, Cell>(s, p.weight_hh, hh.get(), block_words(), [&](const T* block, typename W::Word* to) {
        pack_stream<W>(s.units_a_head(), s.h_a_head(),
                       [&](int64_t n, int64_t k) { return block[n * s.h_a_head() + k]; }, to);
      });
    }
  }
};

// What forks share; nothing of it changes.
template <class T, class Cell, class W> struct StreamWeights {
  std::vector<StreamLayer<T, Cell, W>> layers;
  int64_t wide, work = 0;
  bool zoneout;
  Aligned<T> keep;  // (states, wide): zoneout's share of the old state, as rows, which zone_out reads

  StreamWeights(const std::vector<Problem<T>>& problems, const std::vector<double>& rates)
      : wide(round_up(std::max(problems[0].hidden_size, problems[0].output_size), lanes<T>)), zoneout(!rates.empty()),
        keep(zeros<T>(Cell::states * wide)) {
    for (const Problem<T>& p : problems) work += layers.emplace_back(p, wide).work();
    for (size_t i = 0; i < rates.size(); i++) std::fill_n(keep.get() + int64_t(i) * wide, wide, T(rates[i]));
  }
};

template <class T, class Cell, class W> class Stream final : public AnyStream {
 public:
  using Weights = StreamWeights<T, Cell, W>;

  Stream(std::shared_ptr<const Weights> weights, int64_t batch)
      : w_(std::move(weights)), batch_(batch), wide_(w_->wide),
        states_(zeros<T>(int64_t(w_->layers.size()) * Cell::states * batch * wide_)),
        gates_(zeros<T>(batch * w_->layers[0].s.width)), raw_(zeros<T>(batch * wide_)),
        old_(zeros<T>(Cell::states * batch * wide_)), x_(batch), h_(batch), start_(batch), c_(batch), left_(batch) {
    for (int64_t r = 0; r < batch; r++) reset(r);
  }

  void step(const void* x, void* y, bool alone) override {
    if (alone || most_members() == 1) return step(x, y, 1);
    choice_.time([&](bool together) { step(x, y, together ? most_members() : 1); });
  }

  void step(const void* x, void* y, int most) {
    FlushDenormals flush;
    const int64_t I = w_->layers[0].s.I, S = w_->layers[0].s.S;
    backwards_ = !backwards_;
    for (int64_t r = 0; r < batch_; r++) x_[r] = static_cast<const T*>(x) + r * I;
    for (size_t l = 0; l < w_->layers.size(); l++) {
      const int members = std::min(most, members_of(w_->layers[l]));
      if (members == 1)
        step_layer(w_->layers[l], int64_t(l));
      else
        step_together(w_->layers[l], int64_t(l), members);
      for (int64_t r = 0; r < batch_; r++) x_[r] = state(int64_t(l), 0, r);
    }
    for (int64_t r = 0; r < batch_; r++) std::copy_n(x_[r], S, static_cast<T*>(y) + r * S);
  }

  void read(int i, void* to) const override {
    T* out = static_cast<T*>(to);
    for (size_t l = 0; l < w_->layers.size(); l++)
      for (int64_t r = 0; r < batch_; r++) out = std::copy_n(state(int64_t(l), i, r), size(i), out);
  }
  void write(int i, const void* from) override {
    const T* in = static_cast<const T*>(from);
    for (size_t l = 0; l < w_->layers.size(); l++)
      for (int64_t r = 0; r < batch_; r++, in += size(i)) {
        T* row = state(int64_t(l), i, r);
        std::fill(std::copy_n(in, size(i), row), row + wide_, T(0));
      }
  }
  void reset(int64_t r) override {
    for (size_t l = 0; l < w_->layers.size(); l++)
      for (int i = 0; i < Cell::states; i++)
        std::copy_n(w_->layers[l].initial.get() + i * wide_, wide_, state(int64_t(l), i, r));
  }
  std::unique_ptr<AnyStream> fork(int64_t batch) const override { return std::make_unique<Stream>(w_, batch); }
  int64_t work() const override { return batch_ * w_->work; }

 private:
  T* state(int64_t l, int i, int64_t r) const { return states_.get() + ((l * Cell::states + i) * batch_ + r) * wide_; }
  int64_t size(int i) const { return i ? w_->layers[0].s.H : w_->layers[0].s.S; }

  // How many threads shall share a step of a layer, each with units of its own: as many as have enough to do each to be
  // worth the wait for the last one, about a microsecond.
  int members_of(const StreamLayer<T, Cell, W>& layer) const {
    constexpr int64_t worth_a_member = 200'000;  // multiply-adds
    const Shape<T, Cell>& s = layer.s;
    if (batch_ * layer.work() < 2 * worth_a_member) return 1;
    if (Cell::whole_rows || !layer.both || layer.projected || w_->zoneout || s.Hp % group_width) return 1;
    return int(std::min({int64_t(omp_get_max_threads()), s.Hp / group_width, batch_ * layer.work() / worth_a_member}));
  }
  int most_members() const {
    int most = 1;
    for (const auto& layer : w_->layers) most = std::max(most, members_of(layer));
    return most;
  }
  void step_together(const StreamLayer<T, Cell, W>& layer, int64_t l, int members) {
    const Shape<T, Cell>& s = layer.s;
    for (int64_t r = 0; r < batch_; r++) {
      h_[r] = state(l, 0, r);
      c_[r] = gates_.get() + r * s.width;
      start_[r] = layer.bias.get();
      // All read the h before the step while each writes units of the one after it.
      std::copy_n(h_[r], s.S, raw_.get() + r * wide_);
      left_[r] = raw_.get() + r * wide_;
    }
#pragma omp parallel num_threads(members)
    {
      FlushDenormals flush;
      const int64_t groups = s.Hp / group_width, team = omp_get_num_threads(), member = omp_get_thread_num();
      const int64_t first = groups * member / team, last = groups * (member + 1) / team;
      for (int i = 0; i < Cell::columns; i++) {
        const int64_t gate = groups * (backwards_ ? Cell::columns - 1 - i : i);
        stream_product<W>(batch_, s.input_width(), s.I, x_.data(), s.S, left_.data(), layer.ih.get(), c_.data(),
                          start_.data(), backwards_, gate + first, gate + last);
      }
      for (int64_t r = 0; r < batch_; r++) {
        const T* before[Cell::states];
        T* after[Cell::states];
        for (int i = 0; i < Cell::states; i++) before[i] = after[i] = state(l, i, r);
        before[0] = left_[r];
        step_forward<T, Cell>(s, gates_.get() + r * s.width, before, after, layer.own.get(), first * group_width,
                              last * group_width);
      }
    }
  }

  void step_layer(const StreamLayer<T, Cell, W>& layer, int64_t l) {
    const Shape<T, Cell>& s = layer.s;
    for (int64_t r = 0; r < batch_; r++) {
      h_[r] = state(l, 0, r);
      c_[r] = gates_.get() + r * s.width;
      start_[r] = layer.bias.get();
    }
    stream_product<W>(batch_, s.input_width(), s.I, x_.data(), layer.both ? s.S : 0, h_.data(), layer.ih.get(),
                      c_.data(), start_.data(), backwards_);
    if (!layer.both) recurrent(layer);
    for (int64_t r = 0; r < batch_; r++) {
      const T* before[Cell::states];
      T* after[Cell::states];
      for (int i = 0; i < Cell::states; i++) {
        before[i] = after[i] = state(l, i, r);
        if (w_->zoneout) std::copy_n(before[i], wide_, old(i, r));
      }
      if (layer.projected) after[0] = raw_.get() + r * wide_;
      step_forward<T, Cell>(s, gates_.get() + r * s.width, before, after, layer.own.get(), 0, s.Hp);
      for (int i = layer.projected ? 1 : 0; w_->zoneout && i < Cell::states; i++)
        zone_out(after[i], old(i, r), w_->keep.get() + i * wide_, size(i));
    }
    if (layer.projected) project(layer, l);
  }

  // The recurrent share, where it goes to columns of its own.
  void recurrent(const StreamLayer<T, Cell, W>& layer) {
    const Shape<T, Cell>& s = layer.s;
    if constexpr (input_columns<Cell> < Cell::columns)
      for (int64_t r = 0; r < batch_; r++)
        std::copy(layer.bias.get() + input_columns<Cell> * s.Hp, layer.bias.get() + Cell::columns * s.Hp,
                  gates_.get() + r * s.width + input_columns<Cell> * s.Hp);
    const bool whole = s.heads == 1;
    const int64_t units = whole ? s.recurrent_width() : s.units_a_head(), depth = s.h_a_head();
    const typename W::Word* block = layer.hh.get();
    for (int column = 0; column < (whole ? 1 : recurrent_columns<Cell>); column++)
      for (int64_t head = 0; head < s.heads; head++, block += layer.block_words()) {
        for (int64_t r = 0; r < batch_; r++) {
          start_[r] = c_[r] =
              gates_.get() + r * s.width + (Cell::recurrent_first + column) * s.Hp + head * s.units_a_head();
          left_[r] = h_[r] + head * depth;
        }
        stream_product<W>(batch_, units, depth, left_.data(), 0, left_.data(), block, c_.data(), start_.data(),
                          backwards_);
      }
  }

  void project(const StreamLayer<T, Cell, W>& layer, int64_t l) {
    const Shape<T, Cell>& s = layer.s;
    for (int64_t r = 0; r < batch_; r++) {
      T* h = c_[r] = state(l, 0, r);
      std::fill_n(h, s.S, T(0));
      start_[r] = h, left_[r] = raw_.get() + r * wide_;
    }
    stream_product<W>(batch_, s.S, s.H, left_.data(), 0, left_.data(), layer.hr.get(), c_.data(), start_.data(),
                      backwards_);
    for (int64_t r = 0; w_->zoneout && r < batch_; r++) zone_out(c_[r], old(0, r), w_->keep.get(), s.S);
  }
  T* old(int i, int64_t r) const { return old_.get() + (i * batch_ + r) * wide_; }

  static constexpr int64_t group_width = 8 * lanes<T>;
  const std::shared_ptr<const Weights> w_;
  const int64_t batch_, wide_;
  bool backwards_ = true;
  Choice choice_;
  Aligned<T> states_, gates_, raw_, old_;  // states: (layers, states, batch, wide); old: those that zoneout wants
  std::vector<const T*> x_, h_, start_;  // a row each, as the products want them
  std::vector<T*> c_;
  std::vector<const T*> left_;  // h, or a head's piece of it, or what is to be projected
};

// half: the weights are rounded to bfloat16, and kept so.
template <class T, class Cell>
std::unique_ptr<AnyStream> stream(const std::vector<Problem<T>>& layers, const std::vector<double>& zoneout,
                                  [[maybe_unused]] bool half) {
  auto made = [&]<class W>() -> std::unique_ptr<AnyStream> {
    return std::make_unique<Stream<T, Cell, W>>(std::make_shared<StreamWeights<T, Cell, W>>(layers, zoneout),
                                                layers[0].batch);
  };
  if constexpr (sizeof(T) == 4)
    if (half) return made.template operator()<Half>();
  return made.template operator()<Whole<T>>();
}

}  // namespace storyline::STORYLINE_TARGET
