// What a cell is. A cell is a struct of constants and two functions. The row of numbers that a step of a row keeps has
// `columns` runs of Hp numbers (hidden size, rounded up to whole vectors) and `extra` single ones. The product of the
// input writes the columns from input_first on, one a gate of input_gates, numbered as in the weights; the recurrent
// product those from recurrent_first on; where both write one column they are added up. Then `forward` turns the row
// into what the way back needs, and `backward` turns that into the gradients of both products.
#pragma once
#include "../simd.h"

namespace storyline::STORYLINE_TARGET {

// A cell whose units do not see each other within a step: its functions take one vector of units.
struct UnitCell {
  static constexpr bool whole_rows = false;
  static constexpr int extra = 0, own = 0, own_sizes[] = {0};
  static constexpr bool reads_h_before = false;  // beside the recurrent product
};

// A cell that looks at whole rows: its functions take a Row.
struct RowCell : UnitCell {
  static constexpr bool whole_rows = true;
};

// One row at one step. H units, padded to Hp; own and own_gradient: vectors of Hp one after another.
template <class T> struct Row {
  int64_t H, Hp;
  T* p;
  const T* const* before;
  T* const* after;  // forward
  T* const* d;      // backward: gradients of the states after, then of those before
  const T* own;
  T* own_gradient;
};

}  // namespace storyline::STORYLINE_TARGET
