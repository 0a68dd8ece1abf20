// Few rows, many units: all threads work on every step, each on units of its own, and wait for each other once a step.
// Legend: see recurrence.h; member one thread of the team; W panel width, so that every member's columns are whole
// panels of every gate.
#pragma once
#include <atomic>
#include <thread>

#include "recurrence.h"

namespace storyline::STORYLINE_TARGET {

// Lets nobody on before all have come.
class Barrier {
 public:
  // How many there are: each says so, before any waits.
  void of(int count) { count_.store(count, std::memory_order_relaxed); }
  void wait() {
    const int round = round_.load(std::memory_order_relaxed);
    if (come_.fetch_add(1, std::memory_order_acq_rel) + 1 == count_.load(std::memory_order_relaxed)) {
      come_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    // A thread that has lost its core must get it back, or the others would turn for a whole time slice.
    for (int turns = 0; round_.load(std::memory_order_acquire) == round; turns++)
      if (turns > 4000) std::this_thread::yield();
  }

 private:
  std::atomic<int> count_{1};
  alignas(64) std::atomic<int> come_{0};
  alignas(64) std::atomic<int> round_{0};
};

// Where splitting the units pays: fewer rows than threads, and weights that one core's cache does not hold; the second
// cache, or, where the threads are known to wait for each other for less than they save, the first.
inline constexpr int64_t together_bytes = 256 << 10, closely_bytes = 32 << 10;
template <class T, class Cell> bool splits_units(const Problem<T>& p) {
  const Shape<T, Cell> s(p);
  const int64_t least_bytes = p.closely ? closely_bytes : together_bytes;
  return !Cell::whole_rows && Cell::own == 0 && p.batch < p.threads && p.heads == 1 && !p.weight_hr && !p.mask && !p.zoneout[0] &&
         !p.zoneout[1] && s.Hp % panel_width<T> == 0 && s.Hp / panel_width<T> >= p.threads &&
         s.packed_hh() * int64_t(sizeof(T)) > least_bytes;
}

template <class T, class Cell> class TeamWorker : public Worker<T, Cell> {
  using Base = Worker<T, Cell>;
  using Base::p_, Base::s_, Base::part_, Base::packed_, Base::reader_, Base::rows_, Base::wide_, Base::carry_;

 public:
  using Base::Base;

  // Memory that all members share; called by one of them, before the others begin.
  void share(Scratch& scratch, bool back) {
    const int64_t block = std::max(slots_a_block, rows_);
    scratch.start(Base::numbers((p_.kept_gates ? 0 : block * s_.width) + 3 * Base::state_numbers() +
                                (back ? Cell::states * rows_ * wide_ : 0)));
    Base::start_states(scratch);
    Base::rolling_ = scratch.template take<T>(Base::state_numbers());
    block_ = scratch.template take<T>(p_.kept_gates ? 0 : block * s_.width);
    carry_ = scratch.template take<T>(back ? Cell::states * rows_ * wide_ : 0);
  }

  void forward(int member, int members, Barrier& barrier) {
    if (member == 0) Base::clear_padding();
    Split split = splitted(member, members);
    std::vector<const T*> a(std::max(slots_a_block, rows_));
    std::vector<T*> c(a.size());
    for (int64_t from = 0; from < part_.steps();) {
      const int64_t to = Base::block_end(from), base = part_.first[from];
      T* gates = p_.kept_gates ? p_.kept_gates + base * s_.width : block_;
      const int64_t slots = Base::input_rows(from, to, gates, a.data(), c.data(), split.from(), split.to());
      for (int gate = 0; gate < input_columns<Cell>; gate++)
        product<T>(slots, s_.input_width(), s_.I, a.data(), packed_.ih, c.data(), Start::bias, packed_.bias,
                   split.first + gate * split.panels, split.last + gate * split.panels);
      for (int64_t step = from; step < to; step++) {
        const int64_t n = part_.active(step), slot = part_.first[step];
        T* row = gates + (slot - base) * s_.width;
        for (int64_t r = 0; r < n; r++) {
          a[r] = Base::h_before(step, r);
          c[r] = row + r * s_.width + Cell::recurrent_first * s_.Hp;
        }
        for (int gate = 0; gate < recurrent_columns<Cell>; gate++)
          product<T>(n, s_.recurrent_width(), s_.S, a.data(), packed_.hh, c.data(), Start::add, nullptr,
                     split.first + gate * split.panels, split.last + gate * split.panels, step & 1);
        for (int64_t r = 0; r < n; r++) {
          const T* before[Cell::states];
          T* after[Cell::states];
          before[0] = a[r];
          after[0] = p_.output.at(reader_.time_of(step, part_.lengths[r]), part_.rows[r]);
          for (int i = 1; i < Cell::states; i++) {
            before[i] = Base::state_before(i, step, r);
            after[i] = Base::state_after(i, slot + r, r);
          }
          step_forward<T, Cell>(s_, row + r * s_.width, before, after, packed_.own, split.from(), split.to());
        }
        barrier.wait();  // the next step reads all of h
        if (member == 0) Base::finish_rows(step, n);
      }
      from = to;
    }
  }

  void backward(const Gradients<T>& g, int member, int members, Barrier& barrier) {
    if (member == 0) Base::clear_input_padding(g);
    Split split = splitted(member, members);
    const int64_t u0 = split.from(), u1 = std::min(split.to(), s_.H);
    const int64_t input_panels = panels_of<T>(s_.I);
    std::vector<const T*> a(std::max(slots_a_block, rows_));
    std::vector<T*> c(a.size());
    int64_t running = 0;
    for (int64_t to = part_.steps(); to > 0;) {
      const int64_t from = Base::block_begin(to);
      for (int64_t step = to - 1; step >= from; step--) {
        const int64_t n = part_.active(step), slot = part_.first[step];
        for (; running < n; running++)
          for (int i = 0; i < Cell::states; i++) {
            T* d = Base::carried(i, running);
            std::fill(d + u0, d + split.to(), T(0));
            if (g.last[i]) std::copy(g.last[i].at(part_.rows[running]) + u0, g.last[i].at(part_.rows[running]) + u1, d + u0);
          }
        for (int64_t r = 0; r < n; r++) {
          const int64_t t = reader_.time_of(step, part_.lengths[r]), b = part_.rows[r];
          const T* before[Cell::states];
          T* d[Cell::states];
          before[0] = Base::h_before(step, r);
          d[0] = Base::carried(0, r);
          for (int i = 1; i < Cell::states; i++) before[i] = Base::state_before(i, step, r), d[i] = Base::carried(i, r);
          T* gates = p_.kept_gates + (slot + r) * s_.width;
          step_backward<T, Cell>(s_, gates, before, d, g.output ? g.output.at(t, b) : nullptr, nullptr,
                                 static_cast<T*>(nullptr), static_cast<T*>(nullptr), split.from(), split.to());
          a[r] = gates + Cell::recurrent_first * s_.Hp;
          c[r] = d[0];
        }
        barrier.wait();  // the product reads the gradients of all gates
        product<T>(n, s_.S, s_.recurrent_width(), a.data(), packed_.hh_back, c.data(), Start::add, nullptr, split.first,
                   split.last, step & 1);
        for (int64_t r = 0; r < n; r++) {
          if (!reader_.cut(step, part_.lengths[r], part_.rows[r])) continue;
          for (int i = 0; i < Cell::states; i++) {
            T* d = Base::carried(i, r);
            for (int64_t u = u0; g.fresh[i] && u < u1; u++) g.fresh[i].at(part_.rows[r])[u] += d[u];
            std::fill(d + u0, d + split.to(), T(0));
          }
        }
      }
      if (g.input) {
        const int64_t slots = Base::input_gradient_rows(g, from, to, a.data(), c.data());
        product<T>(slots, s_.I, s_.input_width(), a.data(), packed_.ih_back, c.data(), Start::zero, nullptr,
                   input_panels * member / members, input_panels * (member + 1) / members);
      }
      to = from;
    }
    for (int64_t r = 0; r < rows_; r++)
      for (int i = 0; i < Cell::states; i++)
        if (g.initial[i]) std::copy(Base::carried(i, r) + u0, Base::carried(i, r) + u1, g.initial[i].at(part_.rows[r]) + u0);
  }

 private:
  // A member's panels of each gate, and its units.
  struct Split {
    int64_t first, last, panels;
    int64_t from() const { return first * panel_width<T>; }
    int64_t to() const { return last * panel_width<T>; }
  };
  Split splitted(int member, int members) const {
    const int64_t panels = s_.Hp / panel_width<T>;
    return {panels * member / members, panels * (member + 1) / members, panels};
  }

  T* block_ = nullptr;
};

}  // namespace storyline::STORYLINE_TARGET
