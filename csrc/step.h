// One row at one step, all its units: the cell's functions applied, zoneout, and the recurrent product of all rows.
// Legend: see packing.h; L lanes.
#pragma once
#include "packing.h"

namespace storyline::STORYLINE_TARGET {

// Preactivations -> what the way back needs, states before -> states after. The h of both may end anywhere; all else
// is padded. Units [from, to) only, whole vectors; a cell that looks at whole rows takes all.
template <class T, class Cell>
void step_forward(const Shape<T, Cell>& s, T* p, const T* const* before, T* const* after, const T* own, int64_t from,
                  int64_t to) {
  if constexpr (Cell::whole_rows) {
    Cell::template forward<T>(Row<T>{s.H, s.Hp, p, before, after, nullptr, own, nullptr}, nullptr);
  } else {
    constexpr int L = lanes<T>;
    for (int64_t u = from; u < to; u += L) {
      const int some = int(std::min<int64_t>(L, s.H - u));
      V<T> row[Cell::columns], was[Cell::states], is[Cell::states], mine[Cell::own + 1];
      for (int c = 0; c < Cell::columns; c++) row[c] = load(p + c * s.Hp + u);
      was[0] = Cell::reads_h_before ? load_some(before[0] + u, some) : V<T>{};
      for (int i = 1; i < Cell::states; i++) was[i] = load(before[i] + u);
      for (int i = 0; i < Cell::own; i++) mine[i] = load(own + i * s.Hp + u);
      Cell::template forward<T>(row, was, is, mine);
      for (int c = 0; c < Cell::columns; c++) store(p + c * s.Hp + u, row[c]);
      store_some(after[0] + u, is[0], some);
      for (int i = 1; i < Cell::states; i++) store(after[i] + u, is[i]);
    }
  }
}

// The same, back: p becomes the gradients of both products, d (gradients of the states after) those of the states
// before, the recurrent product apart. output_gradient (H,) is added to the one of h; null for none. scratch: of Hp
// numbers, as many as the cell asks for. Units as above.
template <class T, class Cell>
void step_backward(const Shape<T, Cell>& s, T* p, const T* const* before, T* const* d, const T* output_gradient,
                   const T* own, T* own_gradient, [[maybe_unused]] T* scratch, int64_t from, int64_t to) {
  constexpr int L = lanes<T>;
  if constexpr (Cell::whole_rows) {
    for (int64_t u = 0; output_gradient && u < s.Hp; u += L)
      store(d[0] + u, load(d[0] + u) + load_some(output_gradient + u, int(std::min<int64_t>(L, s.H - u))));
    Cell::template backward<T>(Row<T>{s.H, s.Hp, p, before, nullptr, d, own, own_gradient}, scratch);
  } else {
    for (int64_t u = from; u < to; u += L) {
      const int some = int(std::min<int64_t>(L, s.H - u));
      V<T> row[Cell::columns], was[Cell::states], grad[Cell::states], mine[Cell::own + 1], of_mine[Cell::own + 1];
      for (int c = 0; c < Cell::columns; c++) row[c] = load(p + c * s.Hp + u);
      was[0] = Cell::reads_h_before ? load_some(before[0] + u, some) : V<T>{};
      for (int i = 1; i < Cell::states; i++) was[i] = load(before[i] + u);
      for (int i = 0; i < Cell::states; i++) grad[i] = load(d[i] + u);
      for (int i = 0; i < Cell::own; i++) {
        mine[i] = load(own + i * s.Hp + u);
        of_mine[i] = load(own_gradient + i * s.Hp + u);
      }
      if (output_gradient) grad[0] += load_some(output_gradient + u, some);
      Cell::template backward<T>(row, was, grad, mine, of_mine);
      for (int c = 0; c < Cell::columns; c++) store(p + c * s.Hp + u, row[c]);
      for (int i = 0; i < Cell::states; i++) store(d[i] + u, grad[i]);
      for (int i = 0; i < Cell::own; i++) store(own_gradient + i * s.Hp + u, of_mine[i]);
    }
  }
}

// Numbers of scratch that step_backward wants.
template <class Cell> constexpr int step_scratch() {
  if constexpr (Cell::whole_rows) return Cell::scratch;
  return 0;
}

// after = after + keep (before - after), exactly one of both where keep is 0 or 1: as torch.lerp does it.
template <class T> void zone_out(T* after, const T* before, const T* keep, int64_t size) {
  for (int64_t u = 0; u < size; u++) {
    const T difference = before[u] - after[u];
    after[u] = keep[u] < T(0.5) ? after[u] + keep[u] * difference : before[u] - difference * (T(1) - keep[u]);
  }
}

// n rows: c[r] += weight_hh a[r], c at the first recurrent column. step: the weights are read forwards and backwards in
// turn, see product().
template <class T, class Cell>
void recurrent_product(const Shape<T, Cell>& s, const Packed<T>& packed, int64_t n, const T** a, T** c, int64_t step = 0) {
  const int64_t panels = panels_of<T>(s.recurrent_width());
  if (s.heads == 1) return product<T>(n, s.recurrent_width(), s.S, a, packed.hh, c, Start::add, nullptr, 0, panels, step & 1);
  const int64_t units = s.units_a_head(), depth = s.h_a_head();
  const T* block = packed.hh;
  int64_t a_at = 0, c_at = 0;
  auto move = [&](int64_t a_to, int64_t c_to) {
    for (int64_t r = 0; r < n; r++) a[r] += a_to - a_at, c[r] += c_to - c_at;
    a_at = a_to, c_at = c_to;
  };
  for (int column = 0; column < recurrent_columns<Cell>; column++)
    for (int64_t head = 0; head < s.heads; head++, block += packed_size<T>(units, depth)) {
      move(head * depth, column * s.Hp + head * units);
      product<T>(n, units, depth, a, block, c, Start::add);
    }
  move(0, 0);
}

// n rows: c[r] = (or +=) a[r] weight_hh, a at the first recurrent column.
template <class T, class Cell>
void recurrent_product_back(const Shape<T, Cell>& s, const Packed<T>& packed, int64_t n, const T** a, T** c,
                            Start start, int64_t step = 0) {
  const int64_t panels = panels_of<T>(s.S);
  if (s.heads == 1) return product<T>(n, s.S, s.recurrent_width(), a, packed.hh_back, c, start, nullptr, 0, panels, step & 1);
  const int64_t units = s.units_a_head(), depth = s.h_a_head();
  const T* block = packed.hh_back;
  int64_t a_at = 0, c_at = 0;
  auto move = [&](int64_t a_to, int64_t c_to) {
    for (int64_t r = 0; r < n; r++) a[r] += a_to - a_at, c[r] += c_to - c_at;
    a_at = a_to, c_at = c_to;
  };
  for (int column = 0; column < recurrent_columns<Cell>; column++)
    for (int64_t head = 0; head < s.heads; head++, block += packed_size<T>(depth, units)) {
      move(column * s.Hp + head * units, head * depth);
      product<T>(n, depth, units, a, block, c, column == 0 ? start : Start::add);
    }
  move(0, 0);
}

}  // namespace storyline::STORYLINE_TARGET
