// All cells in both precisions for one kind of machine: compiled once a target, see CMakeLists.txt.
#include "engine.h"

#include <chrono>

#include "cells/gru.h"
#include "cells/lstm.h"
#include "cells/rnn.h"
#include "weight_gradients.h"

namespace storyline::STORYLINE_TARGET {

template <class T, class Cell> class Engine {
 public:
  Engine(const Problem<T>& problem, const Gradients<T>* gradients)
      : p_(problem), g_(gradients), s_(problem), plan_(problem.time, problem.batch, problem.lengths, problem.parts) {
    static thread_local Scratch scratch;
    const bool forward = !gradients, back_ih = gradients && gradients->input;
    const int64_t wide = std::max({s_.width, s_.S, s_.H}) + panel_width<T>;
    int64_t ih = packed_size<T>(s_.input_width(), s_.I), hh = packed_size<T>(s_.recurrent_width(), s_.S),
            hr = packed_size<T>(s_.S, s_.H), ih_back = packed_size<T>(s_.I, s_.input_width()),
            hh_back = packed_size<T>(s_.S, s_.recurrent_width()), hr_back = packed_size<T>(s_.H, s_.S),
            raw = problem.weight_hr ? plan_.slots * s_.S : 0;
    if (!problem.weight_hr) hr = hr_back = 0;
    if (!forward) ih = hh = hr = 0;
    if (forward) hh_back = hr_back = raw = 0;
    if (!back_ih) ih_back = 0;
    scratch.start(sizeof(T) * (ih + hh + hr + ih_back + hh_back + hr_back + 2 * wide + raw) + 1024);
    packed_ = {scratch.take<T>(ih),      scratch.take<T>(hh),      scratch.take<T>(hr),   scratch.take<T>(ih_back),
               scratch.take<T>(hh_back), scratch.take<T>(hr_back), scratch.take<T>(wide), scratch.take<T>(wide)};
    raw_gradients_ = scratch.take<T>(raw);
    std::fill(packed_.zeros, packed_.zeros + wide, T(0));
    pack_bias<T, Cell>(problem, s_, packed_.bias);
    for (const Part& part : plan_.parts) workers_.emplace_back(problem, part, packed_);
  }

  void forward() {
#pragma omp parallel num_threads(p_.threads) if (p_.threads > 1)
    {
      FlushDenormals flush;
      pack_forward<T>(p_.weight_ih, s_.H, s_.Hp, s_.I, Cell::input_gates, input_columns<Cell>, packed_.ih);
      pack_forward<T>(p_.weight_hh, s_.H, s_.Hp, s_.S, Cell::recurrent_gates, recurrent_columns<Cell>, packed_.hh);
      if (p_.weight_hr) pack_forward<T>(p_.weight_hr, s_.S, s_.S, s_.H, one, 1, packed_.hr);
#pragma omp barrier
#pragma omp for schedule(static, 1)
      for (size_t i = 0; i < workers_.size(); i++) workers_[i].forward();
    }
  }

  void backward() {
#pragma omp parallel num_threads(p_.threads) if (p_.threads > 1)
    {
      FlushDenormals flush;
      if (g_->input)
        pack_backward<T>(p_.weight_ih, s_.H, s_.Hp, s_.I, Cell::input_gates, input_columns<Cell>, packed_.ih_back);
      pack_backward<T>(p_.weight_hh, s_.H, s_.Hp, s_.S, Cell::recurrent_gates, recurrent_columns<Cell>,
                       packed_.hh_back);
      if (p_.weight_hr) pack_backward<T>(p_.weight_hr, s_.S, s_.S, s_.H, one, 1, packed_.hr_back);
#pragma omp barrier
#pragma omp for schedule(static, 1)
      for (size_t i = 0; i < workers_.size(); i++) workers_[i].backward(*g_, raw_gradients_);
      auto input = [](const auto& at) { return at.worker().input_of(at.step(), at.row()); };
      auto h = [](const auto& at) { return at.worker().h_before(at.step(), at.row()); };
      weight_gradient<T, Cell>(workers_, plan_.slots, p_.kept_gates + Cell::input_first * s_.Hp, s_.width, s_.H, s_.Hp,
                               Cell::input_gates, input_columns<Cell>, s_.I, input, g_->weight_ih, g_->bias_ih);
      weight_gradient<T, Cell>(workers_, plan_.slots, p_.kept_gates + Cell::recurrent_first * s_.Hp, s_.width, s_.H,
                               s_.Hp, Cell::recurrent_gates, recurrent_columns<Cell>, s_.S, h, g_->weight_hh,
                               g_->bias_hh);
      if (p_.weight_hr) {
        auto raw = [this](const auto& at) {
          return p_.kept_h + (at.worker().part().first[at.step()] + at.row()) * s_.Hp;
        };
        weight_gradient<T, Cell>(workers_, plan_.slots, raw_gradients_, s_.S, s_.S, s_.S, one, 1, s_.H, raw,
                                 g_->weight_hr, static_cast<T*>(nullptr));
      }
    }
  }

 private:
  static constexpr int one[] = {0};
  const Problem<T>& p_;
  const Gradients<T>* g_;
  const Shape<T, Cell> s_;
  const Plan plan_;
  Packed<T> packed_;
  T* raw_gradients_;
  std::vector<Worker<T, Cell>> workers_;
};

template <class T, class Cell> void forward(const Problem<T>& p) { Engine<T, Cell>(p, nullptr).forward(); }
template <class T, class Cell> void backward(const Problem<T>& p, const Gradients<T>& g) {
  Engine<T, Cell>(p, &g).backward();
}

template <class T, class Cell> constexpr Pass<T> pass() {
  return {forward<T, Cell>, backward<T, Cell>, Cell::columns, Cell::states};
}

// Multiply-adds a second, of registers alone: the limit of what any product can reach.
static double peak(int threads) {
  double best = 0;
  for (int attempt = 0; attempt < 5; attempt++) {
    constexpr int64_t rounds = 20'000'000;
    constexpr int sums = 12;
    const auto start = std::chrono::steady_clock::now();
    float sink = 0;
#pragma omp parallel num_threads(threads) reduction(+ : sink)
    {
      V<float> s[sums];
      for (int i = 0; i < sums; i++) s[i] = all(float(i));
      V<float> a = all(0.5f), b = all(0.25f);
      for (int64_t k = 0; k < rounds; k++) {
        asm volatile("" : "+x"(a), "+x"(b));
        for (int i = 0; i < sums; i++) s[i] = fma(a, s[i], b);
      }
      for (int i = 0; i < sums; i++) sink += sum<float>(s[i]);
    }
    asm volatile("" ::"m"(sink));
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, double(rounds) * sums * lanes<float> * threads / seconds.count());
  }
  return best;
}

static const Engines engines = {
    {pass<float, RnnTanh>(), pass<float, RnnRelu>(), pass<float, Lstm>(), pass<float, Gru>()},
    {pass<double, RnnTanh>(), pass<double, RnnRelu>(), pass<double, Lstm>(), pass<double, Gru>()},
    peak,
    VECTOR_BYTES,
};
const Engines& get() { return engines; }

}  // namespace storyline::STORYLINE_TARGET
