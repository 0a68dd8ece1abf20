// All cells in both precisions for one kind of machine: compiled once a target, see CMakeLists.txt.
#include "engine.h"

#include <omp.h>

#include <chrono>

#include "cells/gru.h"
#include "cells/lstm.h"
#include "cells/normalised.h"
#include "cells/rnn.h"
#include "cells/slstm.h"
#include "failure.h"
#include "stream.h"
#include "team.h"
#include "weight_gradients.h"

namespace storyline::STORYLINE_TARGET {

template <class T, class Cell> class Engine {
 public:
  Engine(const Problem<T>& problem, const Gradients<T>* gradients)
      : p_(problem), g_(gradients), s_(problem), together_(splits_units<T, Cell>(problem) && (!gradients || problem.parts == 1)),
        plan_(problem.time, problem.batch, problem.lengths, together_ ? 1 : problem.parts),
        threads_(together_ || gradients ? problem.threads : std::min(problem.threads, problem.parts)) {
    static thread_local Scratch scratch;
    const bool back = gradients, projected = problem.weight_hr;
    const int64_t wide = std::max({s_.width, s_.S, s_.H}) + panel_width<T>, own = Cell::own * s_.Hp;
    const int64_t sizes[] = {
        back || problem.packed ? 0 : s_.packed_ih(),
        back || problem.packed ? 0 : s_.packed_hh(),
        back || problem.packed || !projected ? 0 : s_.packed_hr(),
        back && gradients->input ? packed_size<T>(s_.I, s_.input_width()) : 0,
        back ? s_.packed_hh_back() : 0,
        back && projected ? packed_size<T>(s_.H, s_.S) : 0,
        wide,
        own,
        wide,
        back && projected ? plan_.slots * s_.S : 0,
        back ? own * int64_t(plan_.parts.size()) : 0,
    };
    int64_t bytes = 0;
    for (int64_t size : sizes) bytes += Scratch::rounded(size * int64_t(sizeof(T)));
    scratch.start(bytes);
    T* at[std::size(sizes)];
    for (size_t i = 0; i < std::size(sizes); i++) at[i] = scratch.take<T>(sizes[i]);
    packed_ = {at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7], at[8]};
    if (problem.packed) {  // only read
      packed_.ih = const_cast<T*>(problem.packed);
      packed_.hh = packed_.ih + s_.packed_ih();
      packed_.hr = packed_.hh + s_.packed_hh();
    }
    raw_gradients_ = at[9];
    own_gradients_ = at[10];
    std::fill(packed_.zeros, packed_.zeros + wide, T(0));
    std::fill(own_gradients_, own_gradients_ + sizes[10], T(0));
    pack_bias<T, Cell>(problem, s_, packed_.bias);
    pack_own<T, Cell>(problem, s_, packed_.own);
    for (const Part& part : plan_.parts)
      workers_.emplace_back(problem, part, packed_, own_gradients_ + own * int64_t(workers_.size()));
    static thread_local Scratch shared;
    if (together_) workers_[0].share(shared, back);
  }

  // The weights as the forward pass reads them. Shared out among the team.
  static void pack(const Problem<T>& p, const Shape<T, Cell>& s, T* ih, T* hh, T* hr) {
    pack_forward<T>(p.weight_ih, s.H, s.Hp, s.I, Cell::input_gates, input_columns<Cell>, ih);
    if (s.heads == 1)
      pack_forward<T>(p.weight_hh, s.H, s.Hp, s.S, Cell::recurrent_gates, recurrent_columns<Cell>, hh);
    else
      each_block<T, Cell>(s, p.weight_hh, hh, packed_size<T>(s.units_a_head(), s.h_a_head()),
                          [&](const T* block, T* to) {
                            pack_forward<T>(block, s.units_a_head(), s.units_a_head(), s.h_a_head(), one, 1, to);
                          });
    if (p.weight_hr) pack_forward<T>(p.weight_hr, s.S, s.S, s.H, one, 1, hr);
  }

  int forward() {
    Barrier barrier;
    Failure failure;
#pragma omp parallel num_threads(threads_) if (threads_ > 1)
    {
      FlushDenormals flush;
      barrier.of(omp_get_num_threads());
      if (!p_.packed) pack(p_, s_, packed_.ih, packed_.hh, packed_.hr);
#pragma omp barrier
      if (together_) {
        workers_[0].forward(omp_get_thread_num(), omp_get_num_threads(), barrier);
      } else {
#pragma omp for schedule(static, 1)
        for (size_t i = 0; i < workers_.size(); i++) failure.keep([&] { workers_[i].Worker<T, Cell>::forward(); });
      }
    }
    failure.raise();
    return int(plan_.parts.size());
  }

  void backward() {
    Barrier barrier;
    Failure failure;
#pragma omp parallel num_threads(threads_) if (threads_ > 1)
    {
      FlushDenormals flush;
      barrier.of(omp_get_num_threads());
      if (g_->input)
        pack_backward<T>(p_.weight_ih, s_.H, s_.Hp, s_.I, Cell::input_gates, input_columns<Cell>, packed_.ih_back);
      if (s_.heads == 1)
        pack_backward<T>(p_.weight_hh, s_.H, s_.Hp, s_.S, Cell::recurrent_gates, recurrent_columns<Cell>,
                         packed_.hh_back);
      else
        each_block<T, Cell>(s_, p_.weight_hh, packed_.hh_back, packed_size<T>(s_.h_a_head(), s_.units_a_head()),
                            [this](const T* block, T* to) {
                              pack_backward<T>(block, s_.units_a_head(), s_.units_a_head(), s_.h_a_head(), one, 1, to);
                            });
      if (p_.weight_hr) pack_backward<T>(p_.weight_hr, s_.S, s_.S, s_.H, one, 1, packed_.hr_back);
#pragma omp barrier
      if (together_) {
        workers_[0].backward(*g_, omp_get_thread_num(), omp_get_num_threads(), barrier);
#pragma omp barrier
      } else {
#pragma omp for schedule(static, 1)
        for (size_t i = 0; i < workers_.size(); i++)
          failure.keep([&] { workers_[i].Worker<T, Cell>::backward(*g_, raw_gradients_); });
      }
      const bool whole = !failure.happened();
#pragma omp barrier
      if (whole) weight_gradients(failure);
    }
    failure.raise();
    for (size_t i = 1; i < workers_.size(); i++)
      for (int64_t u = 0; u < Cell::own * s_.Hp; u++) own_gradients_[u] += own_gradients_[int64_t(i) * Cell::own * s_.Hp + u];
    unpack_own<T, Cell>(own_gradients_, s_, g_->own);
  }

 private:
  // Whether both weights stand before the same columns, so that one pass over them serves both.
  static constexpr bool same_columns() {
    if (Cell::input_first != Cell::recurrent_first || input_columns<Cell> != recurrent_columns<Cell>) return false;
    for (int i = 0; i < input_columns<Cell>; i++)
      if (Cell::input_gates[i] != Cell::recurrent_gates[i]) return false;
    return true;
  }

  void weight_gradients(Failure& failure) {
    auto input_row = [](const auto& at) { return at.worker().input_of(at.step(), at.row()); };
    auto h_row = [](const auto& at) { return at.worker().recurrent_input(at.step(), at.row()); };
    const Right<T, decltype(input_row)> input{input_row, s_.I, g_->weight_ih, g_->bias_ih};
    const Right<T, decltype(h_row)> h{h_row, s_.S, g_->weight_hh, g_->bias_hh}, none{h_row, 0, nullptr, nullptr};
    const T* left = p_.kept_gates + Cell::recurrent_first * s_.Hp;
    if (same_columns() && s_.heads == 1) {
      weight_gradient<T, Cell>(failure, workers_, plan_.slots, left, s_.width, s_.H, s_.Hp, Cell::input_gates,
                               input_columns<Cell>, input, h);
    } else {
      weight_gradient<T, Cell>(failure, workers_, plan_.slots, p_.kept_gates + Cell::input_first * s_.Hp, s_.width,
                               s_.H, s_.Hp, Cell::input_gates, input_columns<Cell>, input, none);
      if (s_.heads == 1)
        weight_gradient<T, Cell>(failure, workers_, plan_.slots, left, s_.width, s_.H, s_.Hp, Cell::recurrent_gates,
                                 recurrent_columns<Cell>, h, none);
      else
        head_gradients(left, failure);
    }
    if (p_.weight_hr) {
      auto raw_row = [this](const auto& at) {
        return p_.kept_h + (at.worker().part().first[at.step()] + at.row()) * s_.Hp;
      };
      const Right<T, decltype(raw_row)> raw{raw_row, s_.H, g_->weight_hr, nullptr};
      weight_gradient<T, Cell>(failure, workers_, plan_.slots, raw_gradients_, s_.S, s_.S, s_.S, one, 1, raw, none);
    }
  }

  void head_gradients(const T* left, Failure& failure) {
    const int64_t units = s_.units_a_head(), depth = s_.h_a_head();
    for (int column = 0; column < recurrent_columns<Cell>; column++)
      for (int64_t head = 0; head < s_.heads; head++) {
        const int64_t row = Cell::recurrent_gates[column] * s_.H + head * units;
        auto h_row = [=](const auto& at) { return at.worker().recurrent_input(at.step(), at.row()) + head * depth; };
        const Right<T, decltype(h_row)> h{h_row, depth, g_->weight_hh ? g_->weight_hh + row * depth : nullptr,
                                          g_->bias_hh ? g_->bias_hh + row : nullptr},
            none{h_row, 0, nullptr, nullptr};
        weight_gradient<T, Cell>(failure, workers_, plan_.slots, left + column * s_.Hp + head * units, s_.width, units,
                                 units, one, 1, h, none);
      }
  }

  static constexpr int one[] = {0};
  const Problem<T>& p_;
  const Gradients<T>* g_;
  const Shape<T, Cell> s_;
  const bool together_;  // whether all threads work on the same rows
  const Plan plan_;
  const int threads_;  // on the way there one that has no part would only be waited for; back, all sum up the weights'
  Packed<T> packed_;
  T *raw_gradients_, *own_gradients_;
  std::vector<TeamWorker<T, Cell>> workers_;
};

template <class T, class Cell> int forward(const Problem<T>& p) { return Engine<T, Cell>(p, nullptr).forward(); }
template <class T, class Cell> void backward(const Problem<T>& p, const Gradients<T>& g) {
  Engine<T, Cell>(p, &g).backward();
}

template <class T, class Cell> int64_t packed_numbers(const Problem<T>& p) {
  const Shape<T, Cell> s(p);
  return s.packed_ih() + s.packed_hh() + (p.weight_hr ? s.packed_hr() : 0);
}
template <class T, class Cell> void pack(const Problem<T>& p, T* to) {
  const Shape<T, Cell> s(p);
  Engine<T, Cell>::pack(p, s, to, to + s.packed_ih(), to + s.packed_ih() + s.packed_hh());
}

template <class T, class Cell> constexpr Pass<T> pass() {
  return {forward<T, Cell>, backward<T, Cell>, packed_numbers<T, Cell>, pack<T, Cell>, stream<T, Cell>, Cell::columns, Cell::extra, Cell::states};
}

// In each of as many places as numbers are read at once: xor, multiplication by an odd number (Fowler, Noll, Vo 1991) and
// a shift, so that the high bits, where the signs are, count too. Each of them can be undone: the change of one number
// always shows, and changes of several within one place cancel out once in 2^32 times.
static Fingerprint fingerprint(const void* from, int64_t bytes) {
  typedef uint32_t U __attribute__((vector_size(VECTOR_BYTES), may_alias));
  typedef uint32_t Loose __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
  constexpr int turns = 4;  // under way at once, since a multiplication takes a while
  U found[turns] = {};
  auto add = [&](const char* at) {
    for (int i = 0; i < turns; i++) {
      found[i] = (found[i] ^ *reinterpret_cast<const Loose*>(at + i * VECTOR_BYTES)) * 0x9e3779b1u;
      found[i] ^= found[i] >> 15;
    }
  };
  const char* at = static_cast<const char*>(from);
  int64_t left = bytes;
  for (; left >= turns * VECTOR_BYTES; at += turns * VECTOR_BYTES, left -= turns * VECTOR_BYTES) add(at);
  char rest[turns * VECTOR_BYTES] = {};
  std::memcpy(rest, at, size_t(left));
  add(rest);
  Fingerprint whole;
  std::memcpy(whole.places.data(), found, sizeof found);
  return whole;
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

template <class T> constexpr Passes<T> passes() {
  return {pass<T, RnnTanh>(),      pass<T, RnnRelu>(),       pass<T, Lstm>(), pass<T, LstmPeephole>(), pass<T, LstmCoupled>(),
          pass<T, LstmLayerNorm>(), pass<T, Gru>(), pass<T, GruLayerNorm>(), pass<T, Slstm>()};
}
static const Engines engines = {passes<float>(), passes<double>(), peak, fingerprint, VECTOR_BYTES};
const Engines& get() { return engines; }

}  // namespace storyline::STORYLINE_TARGET
