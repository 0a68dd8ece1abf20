// The time loop, forward and backward, written once for every cell. A cell is a struct of `cells/`: one unit at one
// step. Legend: part, step, slot, row: see plan.h; width numbers a row of gates; Hp hidden size, rounded up to whole
// vectors, so that every gate is a run of whole vectors and what lies beyond H is harmless.
#pragma once
#include <omp.h>

#include <vector>

#include "plan.h"
#include "product.h"
#include "scratch.h"

namespace storyline::STORYLINE_TARGET {

// Steps are read in blocks of about this many slots: enough rows for the input's product to run at full speed, few
// enough that what it writes is still in the second cache when the recurrence reads it.
inline constexpr int64_t slots_a_block = 96;

template <class Cell> inline constexpr int input_columns = sizeof(Cell::input_gates) / sizeof(int);
template <class Cell> inline constexpr int recurrent_columns = sizeof(Cell::recurrent_gates) / sizeof(int);

// The weights of one layer in one direction, packed once a call; all threads read them.
template <class T> struct Packed {
  T *ih, *hh, *hr;                          // forward: [panel][k][column of gates]
  T *ih_back, *hh_back, *hr_back;           // backward: [panel][column of gates][k]
  T *bias, *zeros;                          // (width,): both biases where both products meet; zeros (max size)
};

template <class T, class Cell> struct Shape {
  int64_t I, H, S, Hp, width;
  explicit Shape(const Problem<T>& p)
      : I(p.input_size), H(p.hidden_size), S(p.output_size), Hp(round_up(H, lanes<T>)), width(Cell::columns * Hp) {}
  int64_t input_width() const { return input_columns<Cell> * Hp; }
  int64_t recurrent_width() const { return recurrent_columns<Cell> * Hp; }
};

// weight (gates H, K) by rows -> panels of the columns `gates`, each padded to Hp. Shared out among the team.
template <class T>
void pack_forward(const T* weight, int64_t H, int64_t Hp, int64_t K, const int* gates, int count, T* to) {
  constexpr int64_t W = panel_width<T>;
  const int64_t panels = panels_of<T>(count * Hp);
#pragma omp for schedule(static) nowait
  for (int64_t panel = 0; panel < panels; panel++) {
    T* out = to + panel * W * K;
    for (int64_t j = 0; j < W; j++) {
      const int64_t column = panel * W + j, gate = column / Hp, unit = column % Hp;
      if (gate < count && unit < H) {
        const T* row = weight + (gates[gate] * H + unit) * K;
        for (int64_t k = 0; k < K; k++) out[k * W + j] = row[k];
      } else {
        for (int64_t k = 0; k < K; k++) out[k * W + j] = 0;
      }
    }
  }
}

// weight (gates H, N) by rows -> panels of its N columns; the depth is the columns of gates, padded to Hp.
template <class T>
void pack_backward(const T* weight, int64_t H, int64_t Hp, int64_t N, const int* gates, int count, T* to) {
  constexpr int64_t W = panel_width<T>;
  const int64_t panels = panels_of<T>(N), depth = count * Hp;
#pragma omp for schedule(static) nowait
  for (int64_t panel = 0; panel < panels; panel++) {
    const int some = int(std::min<int64_t>(W, N - panel * W));
    for (int64_t k = 0; k < depth; k++) {
      T* out = to + (panel * depth + k) * W;
      const int64_t gate = k / Hp, unit = k % Hp;
      for (int64_t j = 0; j < W; j++)
        out[j] = unit < H && j < some ? weight[(gates[gate] * H + unit) * N + panel * W + j] : T(0);
    }
  }
}

// Both biases, side by side with what the products write.
template <class T, class Cell> void pack_bias(const Problem<T>& p, const Shape<T, Cell>& s, T* to) {
  std::fill(to, to + s.width, T(0));
  auto add = [&](const T* bias, int first, const int* gates, int count) {
    for (int column = 0; bias && column < count; column++)
      for (int64_t unit = 0; unit < s.H; unit++)
        to[(first + column) * s.Hp + unit] += bias[gates[column] * s.H + unit];
  };
  add(p.bias_ih, Cell::input_first, Cell::input_gates, input_columns<Cell>);
  add(p.bias_hh, Cell::recurrent_first, Cell::recurrent_gates, recurrent_columns<Cell>);
}

// One row at one step, all units: preactivations -> gates, states before -> states after. The h of both may end
// anywhere; all else is padded.
template <class T, class Cell>
void step_forward(const Shape<T, Cell>& s, T* gates, const T* const* before, T* const* after) {
  constexpr int L = lanes<T>;
  for (int64_t u = 0; u < s.Hp; u += L) {
    const int some = int(std::min<int64_t>(L, s.H - u));
    V<T> p[Cell::columns], was[Cell::states], is[Cell::states];
    for (int c = 0; c < Cell::columns; c++) p[c] = load(gates + c * s.Hp + u);
    was[0] = Cell::reads_h_before ? load_some(before[0] + u, some) : V<T>{};
    for (int i = 1; i < Cell::states; i++) was[i] = load(before[i] + u);
    Cell::template forward<T>(p, was, is);
    for (int c = 0; c < Cell::columns; c++) store(gates + c * s.Hp + u, p[c]);
    store_some(after[0] + u, is[0], some);
    for (int i = 1; i < Cell::states; i++) store(after[i] + u, is[i]);
  }
}

// The same, back: gates -> preactivation gradients; d: gradients of the states after -> of those before, the
// recurrent product apart. output_gradient (S,) is added to the one of h; null for none.
template <class T, class Cell>
void step_backward(const Shape<T, Cell>& s, T* gates, const T* const* before, const T* h_after, T* const* d,
                   const T* output_gradient) {
  constexpr int L = lanes<T>;
  for (int64_t u = 0; u < s.Hp; u += L) {
    const int some = int(std::min<int64_t>(L, s.H - u));
    V<T> p[Cell::columns], was[Cell::states], is[Cell::states], grad[Cell::states];
    for (int c = 0; c < Cell::columns; c++) p[c] = load(gates + c * s.Hp + u);
    was[0] = Cell::reads_h_before ? load_some(before[0] + u, some) : V<T>{};
    is[0] = Cell::reads_h_after ? load_some(h_after + u, some) : V<T>{};
    for (int i = 1; i < Cell::states; i++) was[i] = load(before[i] + u);
    for (int i = 0; i < Cell::states; i++) grad[i] = load(d[i] + u);
    if (output_gradient) grad[0] += load_some(output_gradient + u, some);
    Cell::template backward<T>(p, was, is, grad);
    for (int c = 0; c < Cell::columns; c++) store(gates + c * s.Hp + u, p[c]);
    for (int i = 0; i < Cell::states; i++) store(d[i] + u, grad[i]);
  }
}

// What one thread does with its rows.
template <class T, class Cell> class Worker {
 public:
  Worker(const Problem<T>& problem, const Part& part, const Packed<T>& packed)
      : p_(problem), s_(problem), part_(part), packed_(packed), reader_{problem}, rows_(int64_t(part.rows.size())) {}

  void forward() {
    if (rows_ == 0) return;
    clear_padding();
    const int64_t block_slots = std::max(slots_a_block, rows_);
    const bool keep = p_.kept_gates != nullptr;
    Scratch& scratch = thread_scratch();
    const int64_t state_rows = (Cell::states - 1) * rows_;
    scratch.start(sizeof(T) * (keep ? 0 : block_slots * s_.width) + state_rows * s_.Hp * sizeof(T) * 3 +
                  (p_.weight_hr ? rows_ * s_.Hp * sizeof(T) : 0) + 2 * block_slots * sizeof(T*) + 1024);
    T* block = keep ? nullptr : scratch.take<T>(block_slots * s_.width);
    start_states(scratch);
    T* rolling = scratch.take<T>(state_rows * s_.Hp);
    T* raw = p_.weight_hr ? scratch.take<T>(rows_ * s_.Hp) : nullptr;
    const T** a = scratch.take<const T*>(block_slots);
    T** c = scratch.take<T*>(block_slots);

    for (int64_t from = 0; from < part_.steps();) {
      const int64_t to = block_end(from), base = part_.first[from];
      T* gates = keep ? p_.kept_gates + base * s_.width : block;
      input_product(from, to, gates, a, c);
      for (int64_t step = from; step < to; step++) {
        const int64_t n = part_.active(step), slot = part_.first[step];
        T* row_gates = gates + (slot - base) * s_.width;
        for (int64_t r = 0; r < n; r++) {
          a[r] = h_before(step, r);
          c[r] = row_gates + r * s_.width + Cell::recurrent_first * s_.Hp;
        }
        product<T>(n, s_.recurrent_width(), s_.S, a, packed_.hh, c, Start::add);
        for (int64_t r = 0; r < n; r++) {
          const T* before[Cell::states];
          T* after[Cell::states];
          T* h = p_.output.at(reader_.time_of(step, part_.lengths[r]), part_.rows[r]);
          before[0] = a[r];
          after[0] = !p_.weight_hr ? h : p_.kept_h ? p_.kept_h + (slot + r) * s_.Hp : raw + r * s_.Hp;
          for (int i = 1; i < Cell::states; i++) {
            before[i] = state_before(i, step, r, rolling);
            after[i] = state_after(i, slot + r, r, rolling);
          }
          step_forward<T, Cell>(s_, row_gates + r * s_.width, before, after);
          if (p_.weight_hr) a[r] = after[0], c[r] = h;
        }
        if (p_.weight_hr) product<T>(n, s_.S, s_.H, a, packed_.hr, c, Start::zero);
        finish_rows(step, n, rolling);
      }
      from = to;
    }
  }

  // Leaves preactivation gradients in the place of the gates.
  void backward(const Gradients<T>& g, T* raw_gradients) {
    if (rows_ == 0) return;
    if (g.input) clear_input_gradient(g);
    const int64_t block_slots = std::max(slots_a_block, rows_);
    Scratch& scratch = thread_scratch();
    const int64_t wide = std::max(s_.Hp, round_up(s_.S, lanes<T>));
    scratch.start(rows_ * sizeof(T) * (2 * (Cell::states - 1) * s_.Hp + Cell::states * wide + s_.Hp) +
                  2 * block_slots * sizeof(T*) + 1024);
    start_states(scratch);
    T* carry = scratch.take<T>(Cell::states * rows_ * wide);  // gradients of the states between two steps
    T* raw = p_.weight_hr ? scratch.take<T>(rows_ * s_.Hp) : nullptr;
    const T** a = scratch.take<const T*>(block_slots);
    T** c = scratch.take<T*>(block_slots);
    auto carried = [&](int i, int64_t r) { return carry + (i * rows_ + r) * wide; };
    auto size = [&](int i) { return i == 0 ? s_.S : s_.H; };

    int64_t running = 0;
    for (int64_t to = part_.steps(); to > 0;) {
      const int64_t from = block_begin(to);
      for (int64_t step = to - 1; step >= from; step--) {
        const int64_t n = part_.active(step), slot = part_.first[step];
        for (; running < n; running++)  // rows whose last step this is
          for (int i = 0; i < Cell::states; i++) {
            T* d = carried(i, running);
            std::fill(d, d + wide, T(0));
            if (g.last[i]) std::copy_n(g.last[i].at(part_.rows[running]), size(i), d);
          }
        if (p_.weight_hr) projection_backward(g, step, n, carry, wide, raw, raw_gradients, a, c);
        for (int64_t r = 0; r < n; r++) {
          const int64_t t = reader_.time_of(step, part_.lengths[r]), b = part_.rows[r];
          const T* before[Cell::states];
          T* d[Cell::states];
          before[0] = Cell::reads_h_before ? h_before(step, r) : nullptr;
          d[0] = p_.weight_hr ? raw + r * s_.Hp : carried(0, r);
          for (int i = 1; i < Cell::states; i++) {
            before[i] = state_before(i, step, r, nullptr);
            d[i] = carried(i, r);
          }
          T* gates = p_.kept_gates + (slot + r) * s_.width;
          const T* dy = g.output && !p_.weight_hr ? g.output.at(t, b) : nullptr;
          step_backward<T, Cell>(s_, gates, before, Cell::reads_h_after ? p_.output.at(t, b) : nullptr, d, dy);
          a[r] = gates + Cell::recurrent_first * s_.Hp;
          c[r] = carried(0, r);
        }
        product<T>(n, s_.S, s_.recurrent_width(), a, packed_.hh_back, c, p_.weight_hr ? Start::zero : Start::add);
        for (int64_t r = 0; r < n; r++) {
          if (!reader_.cut(step, part_.lengths[r], part_.rows[r])) continue;
          for (int i = 0; i < Cell::states; i++) {
            T* d = carried(i, r);
            if (g.fresh[i])
              for (int64_t u = 0; u < size(i); u++) g.fresh[i].at(part_.rows[r])[u] += d[u];
            std::fill(d, d + wide, T(0));
          }
        }
      }
      if (g.input) input_gradient(g, from, to, a, c);
      to = from;
    }
    for (int64_t r = 0; r < rows_; r++)
      for (int i = 0; i < Cell::states; i++)
        if (g.initial[i]) std::copy_n(carried(i, r), size(i), g.initial[i].at(part_.rows[r]));
  }

  // The h that step reads, of row r: (S,).
  const T* h_before(int64_t step, int64_t r) const {
    const int64_t b = part_.rows[r], length = part_.lengths[r];
    if (reader_.cut(step, length, b)) return p_.fresh[0] ? p_.fresh[0].at(b) : packed_.zeros;
    if (step == 0) return p_.initial[0].at(b);
    return p_.output.at(reader_.time_of(step - 1, length), b);
  }

  const T* input_of(int64_t step, int64_t r) const {
    return p_.input.at(reader_.time_of(step, part_.lengths[r]), part_.rows[r]);
  }

  const Part& part() const { return part_; }

 private:
  static Scratch& thread_scratch() {
    static thread_local Scratch scratch;
    return scratch;
  }

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
    initial_ = scratch.take<T>((Cell::states - 1) * rows_ * s_.Hp);
    fresh_ = scratch.take<T>((Cell::states - 1) * rows_ * s_.Hp);
    for (int i = 1; i < Cell::states; i++)
      for (int64_t r = 0; r < rows_; r++)
        for (int which = 0; which < 2; which++) {
          const Rows<const T>& from = which == 0 ? p_.initial[i] : p_.fresh[i];
          T* to = (which == 0 ? initial_ : fresh_) + ((i - 1) * rows_ + r) * s_.Hp;
          std::fill(to, to + s_.Hp, T(0));
          if (from) std::copy_n(from.at(part_.rows[r]), s_.H, to);
        }
  }

  const T* state_before(int i, int64_t step, int64_t r, const T* rolling) const {
    const int64_t at = ((i - 1) * rows_ + r) * s_.Hp;
    if (reader_.cut(step, part_.lengths[r], part_.rows[r])) return fresh_ + at;
    if (step == 0) return initial_ + at;
    return p_.kept_states ? kept_state(i, part_.first[step - 1] + r) : rolling + at;
  }
  T* state_after(int i, int64_t slot, int64_t r, T* rolling) const {
    return p_.kept_states ? kept_state(i, slot) : rolling + ((i - 1) * rows_ + r) * s_.Hp;
  }
  T* kept_state(int i, int64_t slot) const {
    return p_.kept_states + (slot * (Cell::states - 1) + i - 1) * s_.Hp;
  }

  // The input's share of the preactivations of all steps of a block, biases included.
  void input_product(int64_t from, int64_t to, T* gates, const T** a, T** c) {
    int64_t k = 0;
    for (int64_t step = from; step < to; step++)
      for (int64_t r = 0; r < part_.active(step); r++, k++) {
        T* row = gates + k * s_.width;
        a[k] = input_of(step, r);
        c[k] = row + Cell::input_first * s_.Hp;
        if constexpr (input_columns<Cell> < Cell::columns)
          std::copy(packed_.bias + input_columns<Cell> * s_.Hp, packed_.bias + s_.width,
                    row + input_columns<Cell> * s_.Hp);
      }
    product<T>(k, s_.input_width(), s_.I, a, packed_.ih, c, Start::bias, packed_.bias);
  }

  void input_gradient(const Gradients<T>& g, int64_t from, int64_t to, const T** a, T** c) {
    int64_t k = 0;
    const int64_t base = part_.first[from];
    for (int64_t step = from; step < to; step++)
      for (int64_t r = 0; r < part_.active(step); r++, k++) {
        a[k] = p_.kept_gates + (base + k) * s_.width + Cell::input_first * s_.Hp;
        c[k] = g.input.at(reader_.time_of(step, part_.lengths[r]), part_.rows[r]);
      }
    product<T>(k, s_.I, s_.input_width(), a, packed_.ih_back, c, Start::zero);
  }

  // From the gradient of the projected h to that of the raw one, (n, Hp) in raw; the former is kept for weight_hr.
  void projection_backward(const Gradients<T>& g, int64_t step, int64_t n, T* carry, int64_t wide, T* raw,
                           T* raw_gradients, const T** a, T** c) {
    const int64_t slot = part_.first[step];
    for (int64_t r = 0; r < n; r++) {
      T* d = carry + r * wide;
      if (g.output) {
        const T* dy = g.output.at(reader_.time_of(step, part_.lengths[r]), part_.rows[r]);
        for (int64_t u = 0; u < s_.S; u++) d[u] += dy[u];
      }
      T* kept = raw_gradients + (slot + r) * s_.S;
      std::copy_n(d, s_.S, kept);
      std::fill(raw + r * s_.Hp + s_.H, raw + (r + 1) * s_.Hp, T(0));
      a[r] = kept;
      c[r] = raw + r * s_.Hp;
    }
    product<T>(n, s_.H, s_.S, a, packed_.hr_back, c, Start::zero);
  }

  // The last states of rows that end with this step.
  void finish_rows(int64_t step, int64_t n, T* rolling) {
    for (int64_t r = n - 1; r >= 0 && part_.lengths[r] == step + 1; r--) {
      const int64_t b = part_.rows[r];
      std::copy_n(p_.output.at(reader_.time_of(step, part_.lengths[r]), b), s_.S, p_.last[0].at(b));
      for (int i = 1; i < Cell::states; i++)
        std::copy_n(state_after(i, part_.first[step] + r, r, rolling), s_.H, p_.last[i].at(b));
    }
  }

  void clear_padding() const {
    for (int64_t r = 0; r < rows_; r++)
      for (int64_t t = part_.lengths[r]; t < p_.time; t++) std::fill_n(p_.output.at(t, part_.rows[r]), s_.S, T(0));
  }
  void clear_input_gradient(const Gradients<T>& g) const {
    for (int64_t r = 0; r < rows_; r++)
      for (int64_t t = part_.lengths[r]; t < p_.time; t++) std::fill_n(g.input.at(t, part_.rows[r]), s_.I, T(0));
  }

  const Problem<T>& p_;
  const Shape<T, Cell> s_;
  const Part& part_;
  const Packed<T>& packed_;
  const Reader<T> reader_;
  const int64_t rows_;
  T *initial_ = nullptr, *fresh_ = nullptr;
};

}  // namespace storyline::STORYLINE_TARGET
