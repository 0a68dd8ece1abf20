// The time loop, forward and backward, written once for every cell. Legend: part, step, slot, r (row of a part): see
// plan.h; I, H, S, Hp, width: see packing.h; a and c rows of a product's left factor and result; d gradients.
#pragma once
#include <vector>

#include "plan.h"
#include "scratch.h"
#include "step.h"

namespace storyline::STORYLINE_TARGET {

// Steps are read in blocks of about this many slots: enough rows for the input's product to run at full speed, few
// enough that what it writes is still in the second cache when the recurrence reads it.
inline constexpr int64_t slots_a_block = 96;

// What one thread does with its rows.
template <class T, class Cell> class Worker {
 public:
  Worker(const Problem<T>& problem, const Part& part, const Packed<T>& packed, T* own_gradient)
      : p_(problem), s_(problem), part_(part), packed_(packed), reader_{problem}, own_gradient_(own_gradient),
        rows_(int64_t(part.rows.size())), wide_(std::max(s_.Hp, round_up(s_.S, lanes<T>))) {}

  void forward() {
    if (rows_ == 0) return;
    clear_padding();
    const bool keep = p_.kept_gates != nullptr;
    const int64_t block_slots = std::max(slots_a_block, rows_);
    Scratch& scratch = thread_scratch();
    scratch.start(numbers((keep ? 0 : block_slots * s_.width) + 3 * state_numbers() + 2 * rows_ * wide_ + Cell::states * s_.Hp) +
                  2 * block_slots * int64_t(sizeof(T*)));
    start_states(scratch);
    T* block = scratch.take<T>(keep ? 0 : block_slots * s_.width);
    rolling_ = scratch.take<T>(state_numbers());
    T* raw = scratch.take<T>(rows_ * wide_);
    T* masked = scratch.take<T>(rows_ * wide_);
    T* old = scratch.take<T>(Cell::states * s_.Hp);  // states that zoneout wants and the step overwrites
    const T** a = scratch.take<const T*>(block_slots);
    T** c = scratch.take<T*>(block_slots);

    for (int64_t from = 0; from < part_.steps();) {
      const int64_t to = block_end(from), base = part_.first[from];
      T* gates = keep ? p_.kept_gates + base * s_.width : block;
      input_product(from, to, gates, a, c);
      for (int64_t step = from; step < to; step++) {
        const int64_t n = part_.active(step), slot = part_.first[step];
        T* row = gates + (slot - base) * s_.width;
        for (int64_t r = 0; r < n; r++) {
          a[r] = recurrent_input(step, r, p_.kept_masked ? p_.kept_masked + (slot + r) * wide_ : masked + r * wide_);
          c[r] = row + r * s_.width + Cell::recurrent_first * s_.Hp;
        }
        recurrent_product<T, Cell>(s_, packed_, n, a, c, step);
        for (int64_t r = 0; r < n; r++) {
          const T* before[Cell::states];
          T* after[Cell::states];
          T* h = p_.output.at(reader_.time_of(step, part_.lengths[r]), part_.rows[r]);
          before[0] = h_before(step, r);
          after[0] = !p_.weight_hr ? h : p_.kept_h ? p_.kept_h + (slot + r) * s_.Hp : raw + r * s_.Hp;
          for (int i = 1; i < Cell::states; i++) {
            before[i] = state_before(i, step, r);
            after[i] = state_after(i, slot + r, r);
          }
          for (int i = 1; i < Cell::states; i++)
            if (p_.zoneout[i] && before[i] == after[i]) before[i] = std::copy_n(before[i], s_.Hp, old + i * s_.Hp) - s_.Hp;
          step_forward<T, Cell>(s_, row + r * s_.width, before, after, packed_.own, 0, s_.Hp);
          if (p_.weight_hr) a[r] = after[0], c[r] = h;
          for (int i = p_.weight_hr ? 1 : 0; i < Cell::states; i++)
            if (p_.zoneout[i]) zone_out(after[i], before[i], p_.zoneout[i].at(step, part_.rows[r]), i ? s_.H : s_.S);
        }
        if (p_.weight_hr) {
          product<T>(n, s_.S, s_.H, a, packed_.hr, c, Start::zero);
          for (int64_t r = 0; p_.zoneout[0] && r < n; r++)
            zone_out(c[r], h_before(step, r), p_.zoneout[0].at(step, part_.rows[r]), s_.S);
        }
        finish_rows(step, n);
      }
      from = to;
    }
  }

  // Leaves the gradients of both products in the place of the gates; raw_gradients: a row (S,) a slot, those of h.
  void backward(const Gradients<T>& g, T* raw_gradients) {
    if (rows_ == 0) return;
    clear_input_padding(g);
    const int64_t block_slots = std::max(slots_a_block, rows_);
    Scratch& scratch = thread_scratch();
    scratch.start(numbers(2 * state_numbers() + (2 * Cell::states + 2) * rows_ * wide_ +
                          (step_scratch<Cell>() + 2 * Cell::own) * s_.Hp) + 2 * block_slots * int64_t(sizeof(T*)));
    start_states(scratch);
    T* own = scratch.take<T>(2 * Cell::own * s_.Hp);           // gradient of the own parameters, and what is lost of it
    std::fill(own, own + 2 * Cell::own * s_.Hp, T(0));
    int64_t since = 0;
    carry_ = scratch.take<T>(Cell::states * rows_ * wide_);
    T* kept = scratch.take<T>(Cell::states * rows_ * wide_);   // the share of them that zoneout lets past the step
    T* raw = scratch.take<T>(rows_ * wide_);
    T* through = scratch.take<T>(rows_ * wide_);               // gradient of the masked h
    T* cell_scratch = scratch.take<T>(step_scratch<Cell>() * s_.Hp);
    const T** a = scratch.take<const T*>(block_slots);
    T** c = scratch.take<T*>(block_slots);
    auto size = [&](int i) { return i == 0 ? s_.S : s_.H; };

    int64_t running = 0;
    for (int64_t to = part_.steps(); to > 0;) {
      const int64_t from = block_begin(to);
      for (int64_t step = to - 1; step >= from; step--) {
        const int64_t n = part_.active(step), slot = part_.first[step];
        for (; running < n; running++)  // rows whose last step this is
          for (int i = 0; i < Cell::states; i++) {
            T* d = carried(i, running);
            std::fill(d, d + wide_, T(0));
            if (g.last[i]) std::copy_n(g.last[i].at(part_.rows[running]), size(i), d);
          }
        const bool early = p_.weight_hr || p_.zoneout[0];  // the output's gradient is wanted before the cell's turn
        for (int64_t r = 0; r < n; r++) {
          if (early && g.output) {
            const T* dy = g.output.at(reader_.time_of(step, part_.lengths[r]), part_.rows[r]);
            for (int64_t u = 0; u < s_.S; u++) carried(0, r)[u] += dy[u];
          }
          for (int i = 0; i < Cell::states; i++)
            if (p_.zoneout[i])
              part_in_two(carried(i, r), kept + (i * rows_ + r) * wide_, p_.zoneout[i].at(step, part_.rows[r]), size(i));
        }
        if (p_.weight_hr) projection_backward(slot, n, raw, raw_gradients, a, c);
        for (int64_t r = 0; r < n; r++) {
          const T* before[Cell::states];
          T* d[Cell::states];
          before[0] = h_before(step, r);
          d[0] = p_.weight_hr ? raw + r * wide_ : carried(0, r);
          for (int i = 1; i < Cell::states; i++) before[i] = state_before(i, step, r), d[i] = carried(i, r);
          T* gates = p_.kept_gates + (slot + r) * s_.width;
          const T* dy = g.output && !early ? g.output.at(reader_.time_of(step, part_.lengths[r]), part_.rows[r]) : nullptr;
          step_backward<T, Cell>(s_, gates, before, d, dy, packed_.own, own, cell_scratch, 0, s_.Hp);
          if (Cell::own > 0 && ++since == slots_a_block) hand_over_own(own), since = 0;
          a[r] = gates + Cell::recurrent_first * s_.Hp;
          c[r] = p_.mask ? through + r * wide_ : carried(0, r);
        }
        recurrent_product_back<T, Cell>(s_, packed_, n, a, c, p_.mask || p_.weight_hr ? Start::zero : Start::add,
                                        step);
        for (int64_t r = 0; r < n; r++) {
          if (p_.mask) unmask(carried(0, r), through + r * wide_, p_.mask.at(part_.rows[r]));
          for (int i = 0; i < Cell::states; i++)
            if (p_.zoneout[i])
              for (int64_t u = 0; u < size(i); u++) carried(i, r)[u] += kept[(i * rows_ + r) * wide_ + u];
          if (reader_.cut(step, part_.lengths[r], part_.rows[r]))
            for (int i = 0; i < Cell::states; i++) hand_to_fresh(g.fresh[i], r, carried(i, r), size(i));
        }
      }
      if (g.input) input_gradient(g, from, to, a, c);
      to = from;
    }
    for (int64_t r = 0; r < rows_; r++)
      for (int i = 0; i < Cell::states; i++)
        if (g.initial[i]) std::copy_n(carried(i, r), size(i), g.initial[i].at(part_.rows[r]));
    hand_over_own(own);
  }

  // The h before a step of row r: (S,).
  const T* h_before(int64_t step, int64_t r) const {
    const int64_t b = part_.rows[r], length = part_.lengths[r];
    if (reader_.cut(step, length, b)) return p_.fresh[0] ? p_.fresh[0].at(b) : packed_.zeros;
    if (step == 0) return p_.initial[0].at(b);
    return p_.output.at(reader_.time_of(step - 1, length), b);
  }
  // What weight_hh has read at a step, after the forward pass.
  const T* recurrent_input(int64_t step, int64_t r) const {
    return p_.mask ? p_.kept_masked + (part_.first[step] + r) * wide_ : h_before(step, r);
  }
  const T* input_of(int64_t step, int64_t r) const {
    return p_.input.at(reader_.time_of(step, part_.lengths[r]), part_.rows[r]);
  }
  const Part& part() const { return part_; }

 protected:
  static Scratch& thread_scratch() {
    static thread_local Scratch scratch;
    return scratch;
  }
  // Adds the gradient of the own parameters to that of all slots; behind it lies what the additions have lost.
  void hand_over_own(T* own) {
    T* lost = own + Cell::own * s_.Hp;
    for (int64_t u = 0; u < Cell::own * s_.Hp; u++) add_up(own_gradient_[u], lost[u], own[u]), own[u] = 0;
  }
  // Bytes of so many numbers and of what the taking of them may waste.
  static int64_t numbers(int64_t count) { return count * int64_t(sizeof(T)) + 1024; }
  int64_t state_numbers() const { return (Cell::states - 1) * rows_ * s_.Hp; }

  int64_t block_end(int64_t from) const {
    int64_t to = from + 1;
    while (to < part_.steps() && part_.first[to + 1] - part_.first[from] <= slots_a_block) to++;
    return to;
  }
  int64_t block_begin(int64_t to) const {
    int64_t from = to - 1;
    while (from > 0 && part_.first[to] - part_.first[from - 1] <= slots_a_block) from--;
    return from;
  }

  // The states beside h at the start and after a reset, padded.
  void start_states(Scratch& scratch) {
    initial_ = scratch.take<T>(state_numbers());
    fresh_ = scratch.take<T>(state_numbers());
    for (int i = 1; i < Cell::states; i++)
      for (int64_t r = 0; r < rows_; r++)
        for (bool first : {true, false}) {
          const Rows<const T>& from = first ? p_.initial[i] : p_.fresh[i];
          T* to = (first ? initial_ : fresh_) + ((i - 1) * rows_ + r) * s_.Hp;
          std::fill(to, to + s_.Hp, T(0));
          if (from) std::copy_n(from.at(part_.rows[r]), s_.H, to);
        }
  }

  const T* state_before(int i, int64_t step, int64_t r) const {
    const int64_t at = ((i - 1) * rows_ + r) * s_.Hp;
    if (reader_.cut(step, part_.lengths[r], part_.rows[r])) return fresh_ + at;
    if (step == 0) return initial_ + at;
    return p_.kept_states ? kept_state(i, part_.first[step - 1] + r) : rolling_ + at;
  }
  T* state_after(int i, int64_t slot, int64_t r) const {
    return p_.kept_states ? kept_state(i, slot) : rolling_ + ((i - 1) * rows_ + r) * s_.Hp;
  }
  T* kept_state(int i, int64_t slot) const { return p_.kept_states + (slot * (Cell::states - 1) + i - 1) * s_.Hp; }

  // h before a step, masked into `to` where there is a mask.
  const T* recurrent_input(int64_t step, int64_t r, T* to) const {
    const T* h = h_before(step, r);
    if (!p_.mask) return h;
    const T* mask = p_.mask.at(part_.rows[r]);
    for (int64_t u = 0; u < s_.S; u++) to[u] = h[u] * mask[u];
    return to;
  }
  void unmask(T* d, const T* through, const T* mask) const {
    for (int64_t u = 0; u < s_.S; u++) d[u] = (p_.weight_hr ? T(0) : d[u]) + through[u] * mask[u];
  }
  static void part_in_two(T* d, T* kept, const T* keep, int64_t size) {
    for (int64_t u = 0; u < size; u++) kept[u] = d[u] * keep[u], d[u] *= T(1) - keep[u];
  }
  void hand_to_fresh(const Rows<T>& fresh, int64_t r, T* d, int64_t size) const {
    for (int64_t u = 0; fresh && u < size; u++) fresh.at(part_.rows[r])[u] += d[u];
    std::fill(d, d + wide_, T(0));
  }

  // The input's share of the preactivations of all steps of a block, biases included.
  void input_product(int64_t from, int64_t to, T* gates, const T** a, T** c) {
    const int64_t slots = input_rows(from, to, gates, a, c, 0, s_.Hp);
    product<T>(slots, s_.input_width(), s_.I, a, packed_.ih, c, Start::bias, packed_.bias);
  }
  // Its rows; returns their number. Columns that the recurrent product alone writes start as the bias: units [u0, u1).
  int64_t input_rows(int64_t from, int64_t to, T* gates, const T** a, T** c, int64_t u0, int64_t u1) const {
    int64_t k = 0;
    for (int64_t step = from; step < to; step++)
      for (int64_t r = 0; r < part_.active(step); r++, k++) {
        T* row = gates + k * s_.width;
        a[k] = input_of(step, r);
        c[k] = row + Cell::input_first * s_.Hp;
        for (int column = input_columns<Cell>; column < Cell::columns; column++)
          std::copy(packed_.bias + column * s_.Hp + u0, packed_.bias + column * s_.Hp + u1, row + column * s_.Hp + u0);
      }
    return k;
  }

  void input_gradient(const Gradients<T>& g, int64_t from, int64_t to, const T** a, T** c) {
    const int64_t slots = input_gradient_rows(g, from, to, a, c);
    product<T>(slots, s_.I, s_.input_width(), a, packed_.ih_back, c, Start::zero);
  }
  int64_t input_gradient_rows(const Gradients<T>& g, int64_t from, int64_t to, const T** a, T** c) const {
    int64_t k = 0;
    const int64_t base = part_.first[from];
    for (int64_t step = from; step < to; step++)
      for (int64_t r = 0; r < part_.active(step); r++, k++) {
        a[k] = p_.kept_gates + (base + k) * s_.width + Cell::input_first * s_.Hp;
        c[k] = g.input.at(reader_.time_of(step, part_.lengths[r]), part_.rows[r]);
      }
    return k;
  }

  // From the gradient of the projected h, in the carry and kept for weight_hr, to that of the one before: raw (n, Hp).
  void projection_backward(int64_t slot, int64_t n, T* raw, T* raw_gradients, const T** a, T** c) {
    for (int64_t r = 0; r < n; r++) {
      a[r] = std::copy_n(carried(0, r), s_.S, raw_gradients + (slot + r) * s_.S) - s_.S;
      c[r] = raw + r * wide_;
      std::fill(c[r] + s_.H, c[r] + s_.Hp, T(0));
    }
    product<T>(n, s_.H, s_.S, a, packed_.hr_back, c, Start::zero);
  }

  // The last states of rows that end with this step.
  void finish_rows(int64_t step, int64_t n) {
    for (int64_t r = n - 1; r >= 0 && part_.lengths[r] == step + 1; r--) {
      const int64_t b = part_.rows[r];
      std::copy_n(p_.output.at(reader_.time_of(step, part_.lengths[r]), b), s_.S, p_.last[0].at(b));
      for (int i = 1; i < Cell::states; i++)
        std::copy_n(state_after(i, part_.first[step] + r, r), s_.H, p_.last[i].at(b));
    }
  }

  void clear_padding() const {
    for (int64_t r = 0; r < rows_; r++)
      for (int64_t t = part_.lengths[r]; t < p_.time; t++) std::fill_n(p_.output.at(t, part_.rows[r]), s_.S, T(0));
  }
  void clear_input_padding(const Gradients<T>& g) const {
    for (int64_t r = 0; g.input && r < rows_; r++)
      for (int64_t t = part_.lengths[r]; t < p_.time; t++) std::fill_n(g.input.at(t, part_.rows[r]), s_.I, T(0));
  }

  // The gradient of a state of a row, between two steps.
  T* carried(int i, int64_t r) const { return carry_ + (i * rows_ + r) * wide_; }

  const Problem<T>& p_;
  const Shape<T, Cell> s_;
  const Part& part_;
  const Packed<T>& packed_;
  const Reader<T> reader_;
  T* own_gradient_;
  const int64_t rows_, wide_;  // wide: room for a row of any state
  T *initial_ = nullptr, *fresh_ = nullptr, *rolling_ = nullptr, *carry_ = nullptr;
};

}  // namespace storyline::STORYLINE_TARGET
