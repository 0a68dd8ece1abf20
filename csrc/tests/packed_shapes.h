// The packed weights on random shapes; included by sanitize.cpp, which see.
#pragma once
#include <algorithm>
#include <cmath>

#include "../packed.h"

namespace storyline {
namespace {

// One step on packed weights has the bits of the scan over one step, whatever the threads.
template <class T> void one_step(const Pass<T>& pass, const Packers<T>& packers, int cell, const Spec& spec, std::string told, bool big) {
  Sizes s(spec, big);
  s.time = 1, s.batch = draw(1, big ? 300 : 20), s.ragged = s.cut = s.masked = s.zoned = s.reverse = false;
  told += s.told();
  Given<T> given(s, spec, pass.states);
  Written<T> to(s, given, pass, 1);
  const Problem<T> p = problem(s, spec, given, to, 1);
  pass.forward(p);
  const auto packed = packers.step[cell](p);
  std::vector<std::vector<T>> before, after;
  std::vector<const void*> was;
  for (int i = 0; i < pass.states; i++) {
    std::vector<T>& dense = before.emplace_back();
    for (int64_t b = 0; b < s.batch; b++) dense.insert(dense.end(), p.initial[i].at(b), p.initial[i].at(b) + s.of_state(i));
  }
  for (auto& each : before) was.push_back(each.data());
  for (int threads : {1, 3}) {
    after.clear();
    std::vector<void*> is;
    for (int i = 0; i < pass.states; i++) after.push_back(unwritten<T>(s.batch * s.of_state(i)));
    for (auto& each : after) is.push_back(each.data());
    packed->step(s.batch, p.input.data, p.input.batch_stride, nullptr, 0, was.data(), is.data(), threads);
    for (int i = 0; i < pass.states; i++)
      for (int64_t b = 0; b < s.batch; b++)
        HOLD(std::equal(p.last[i].at(b), p.last[i].at(b) + s.of_state(i), after[i].data() + b * s.of_state(i)));
  }
}

// The likeliest are those of the whole product's log softmax.
template <class T> void one_projection(const Packers<T>& packers, std::string told, bool big) {
  const int64_t rows = draw(1, big ? 300 : 20), N = draw(1, big ? 700 : 90), K = draw(1, big ? 300 : 40);
  const int64_t count = draw(1, std::min<int64_t>(N, 8)), end = draw(0, N - 1);
  told += " rows " + std::to_string(rows) + " columns " + std::to_string(N) + " depth " + std::to_string(K);
  Tensor<T> x = Tensor<T>(1, rows, K).fill(-1, 1), y(1, rows, N), again(1, rows, N);
  auto weight = numbers<T>(N * K, 1), bias = numbers<T>(N, 1);
  const auto packed = packers.projection(N, K, weight.data(), draw(0, 1) ? bias.data() : nullptr);
  packed->product(rows, x.data(), x.row_stride, y.data(), y.row_stride, 1);
  packed->product(rows, x.data(), x.row_stride, again.data(), again.row_stride, 3);
  HOLD(y.finite());
  HOLD(same(y, again));
  std::vector<int64_t> barred = {end};
  if (end != N - 1 && draw(0, 1)) barred.push_back(N - 1);
  std::vector<std::vector<T>> found;
  for (int threads : {1, 3}) {
    auto best = unwritten<T>(rows * count), ending = unwritten<T>(rows);
    std::vector<int64_t> columns(rows * count, -1);
    packed->likeliest(rows, x.data(), x.row_stride, {count, end, barred.data(), int64_t(barred.size())}, best.data(),
                      columns.data(), ending.data(), threads);
    for (int64_t r = 0; r < rows; r++) {
      std::vector<T> left(y.at(0, r), y.at(0, r) + N);
      long double total = 0;
      for (T each : left) total += std::exp((long double)each);
      HOLD(std::abs(ending[r] - (left[end] - std::log(total))) < 1e-4);
      for (int64_t column : barred) left[column] = -INFINITY;
      for (int64_t i = 0; i < count; i++) {
        T* greatest = std::max_element(left.data(), left.data() + N);
        if (*greatest == -INFINITY) {
          HOLD(best[r * count + i] == -INFINITY);
          continue;
        }
        HOLD(columns[r * count + i] == greatest - left.data());
        HOLD(std::abs(best[r * count + i] - (*greatest - std::log(total))) < 1e-4);
        *greatest = -INFINITY;
      }
    }
    found.push_back(best);
  }
  HOLD(found[0] == found[1]);
}

}  // namespace
}  // namespace storyline
