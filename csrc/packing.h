// Sizes of one layer in one direction, and its weights packed for the products. Legend: I input size, H hidden size, S
// size of h; Hp is H rounded up to whole vectors, so that every gate is a run of whole vectors and what lies beyond H is
// harmless; width numbers a row of gates.
#pragma once
#include "cells/cell.h"
#include "problem.h"
#include "product.h"

namespace storyline::STORYLINE_TARGET {

template <class Cell> inline constexpr int input_columns = sizeof(Cell::input_gates) / sizeof(int);
template <class Cell> inline constexpr int recurrent_columns = sizeof(Cell::recurrent_gates) / sizeof(int);

template <class T, class Cell> struct Shape {
  int64_t I, H, S, Hp, width, heads;
  explicit Shape(const Problem<T>& p)
      : I(p.input_size), H(p.hidden_size), S(p.output_size), Hp(round_up(H, lanes<T>)),
        width(Cell::columns * Hp + round_up(Cell::extra, lanes<T>)), heads(p.heads) {}
  int64_t input_width() const { return input_columns<Cell> * Hp; }
  int64_t recurrent_width() const { return recurrent_columns<Cell> * Hp; }
  int64_t units_a_head() const { return H / heads; }
  int64_t h_a_head() const { return S / heads; }
  int64_t packed_ih() const { return packed_size<T>(input_width(), I); }
  int64_t packed_hr() const { return packed_size<T>(S, H); }
  // With one head the recurrent product is one; with more, one a gate and head, each packed by itself.
  int64_t packed_hh() const {
    if (heads == 1) return packed_size<T>(recurrent_width(), S);
    return recurrent_columns<Cell> * heads * packed_size<T>(units_a_head(), h_a_head());
  }
  int64_t packed_hh_back() const {
    if (heads == 1) return packed_size<T>(S, recurrent_width());
    return recurrent_columns<Cell> * heads * packed_size<T>(h_a_head(), units_a_head());
  }
};

// What all threads read, packed once a call.
template <class T> struct Packed {
  T *ih, *hh, *hr;                 // forward: [panel][k][column of gates]
  T *ih_back, *hh_back, *hr_back;  // backward: [panel][column of gates][k]
  T *bias, *own, *zeros;           // (width,): both biases, side by side with what the products write; (own, Hp); zeros
};

// weight (gates H, K) by rows -> panels of the columns `gates`, each padded to Hp. Shared out among the team.
template <class T>
void pack_forward(const T* weight, int64_t H, int64_t Hp, int64_t K, const int* gates, int count, T* to) {
  constexpr int64_t W = panel_width<T>;
  const int64_t panels = panels_of<T>(count * Hp);
#pragma omp for schedule(static) nowait
  for (int64_t panel = 0; panel < panels; panel++) {
    T* out = to + panel * W * K;
    constexpr int L = lanes<T>;
    for (int64_t first = 0; first < W; first += L) {  // a vector of columns, which come from L rows
      const T* row[L];
      for (int j = 0; j < L; j++) {
        const int64_t column = panel * W + first + j, gate = column / Hp, unit = column % Hp;
        row[j] = gate < count && unit < H ? weight + (gates[gate] * H + unit) * K : nullptr;
      }
      int64_t k = 0;
      for (; k + L <= K; k += L) {
        V<T> square[L];
        for (int j = 0; j < L; j++) square[j] = row[j] ? load(row[j] + k) : V<T>{};
        transpose<T>(square);
        for (int i = 0; i < L; i++) store(out + (k + i) * W + first, square[i]);
      }
      for (; k < K; k++)
        for (int j = 0; j < L; j++) out[k * W + first + j] = row[j] ? row[j][k] : T(0);
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
    T* out = to + panel * depth * W;
    for (int gate = 0; gate < count; gate++) {
      const T* from = weight + gates[gate] * H * N + panel * W;
      for (int64_t unit = 0; unit < Hp; unit++, from += N, out += W) {
        if (unit < H && some == W)
          std::memcpy(out, from, W * sizeof(T));
        else
          for (int64_t j = 0; j < W; j++) out[j] = unit < H && j < some ? from[j] : T(0);
      }
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

// The block of one gate and head of weight_hh (gates H, S / heads); see Shape::packed_hh.
template <class T, class Cell, class To, class Pack>
void each_block(const Shape<T, Cell>& s, const T* weight_hh, To* to, int64_t size, Pack pack) {
  for (int column = 0; column < recurrent_columns<Cell>; column++)
    for (int64_t head = 0; head < s.heads; head++, to += size)
      pack(weight_hh + (Cell::recurrent_gates[column] * s.H + head * s.units_a_head()) * s.h_a_head(), to);
}

// The cell's own parameters, each a few vectors (H,), one after another and padded.
template <class T, class Cell> void pack_own(const Problem<T>& p, const Shape<T, Cell>& s, T* to) {
  std::fill(to, to + Cell::own * s.Hp, T(0));
  if constexpr (Cell::own > 0)
    for (size_t i = 0; i < sizeof(Cell::own_sizes) / sizeof(int); i++)
      for (int v = 0; v < Cell::own_sizes[i]; v++, to += s.Hp) std::copy_n(p.own[i] + v * s.H, s.H, to);
}
template <class T, class Cell> void unpack_own(const T* from, const Shape<T, Cell>& s, T* const* to) {
  if constexpr (Cell::own > 0)
    for (size_t i = 0; i < sizeof(Cell::own_sizes) / sizeof(int); i++)
      for (int v = 0; v < Cell::own_sizes[i]; v++, from += s.Hp)
        if (to[i]) std::copy_n(from, s.H, to[i] + v * s.H);
}

}  // namespace storyline::STORYLINE_TARGET
