// Which row is read when, and by whom. The rows of a batch are shared out into parts, one a thread, about equally
// long together; within a part they stand by falling length, so that at every step the first `active` of them run and
// no padding is computed. A step of a row is a slot; slots are numbered part by part, step by step, row by row.
#pragma once
#include <algorithm>
#include <numeric>
#include <vector>

#include "problem.h"

namespace storyline {

struct Part {
  std::vector<int32_t> rows;     // by falling length
  std::vector<int64_t> lengths;  // of these rows
  std::vector<int64_t> first;    // the slot of each step's first row; one more at the end
  int64_t steps() const { return int64_t(first.size()) - 1; }
  int64_t active(int64_t step) const { return first[step + 1] - first[step]; }
};

struct Plan {
  std::vector<Part> parts;
  int64_t slots = 0;

  Plan(int64_t time, int64_t batch, const int64_t* lengths, int count) : parts(count) {
    std::vector<int32_t> order(batch);
    std::iota(order.begin(), order.end(), 0);
    auto length = [&](int32_t row) { return lengths ? lengths[row] : time; };
    if (lengths) std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return length(a) > length(b); });
    std::vector<int64_t> load(count);
    for (int32_t row : order) {  // the longest first, each to whom has least
      const auto least = std::min_element(load.begin(), load.end()) - load.begin();
      load[least] += length(row);
      parts[least].rows.push_back(row);
    }
    for (Part& part : parts) {
      for (int32_t row : part.rows) part.lengths.push_back(length(row));
      const int64_t steps = part.rows.empty() ? 0 : part.lengths[0];
      part.first.resize(steps + 1);
      size_t active = part.rows.size();
      for (int64_t step = 0; step < steps; step++) {
        while (part.lengths[active - 1] <= step) active--;
        part.first[step] = slots;
        slots += int64_t(active);
      }
      part.first[steps] = slots;
    }
  }
};

// Where a row's steps lie in time, and where it starts afresh.
template <class T> struct Reader {
  const Problem<T>& problem;
  int64_t time_of(int64_t step, int64_t length) const { return problem.reverse ? length - 1 - step : step; }
  // A reset before step t cuts between t - 1 and t, from whichever side the row is read.
  bool cut(int64_t step, int64_t length, int64_t row) const {
    if (!problem.resets) return false;
    if (!problem.reverse) return *problem.resets.at(step, row);
    return step > 0 && *problem.resets.at(length - step, row);
  }
};

}  // namespace storyline
