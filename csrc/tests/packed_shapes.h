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
    packed->step(s.batch, {p.input.data, p.input.batch_stride, nullptr, 0, nullptr, nullptr}, was.data(), is.data(), threads);
    for (int i = 0; i < pass.states; i++)
      for (int64_t b = 0; b < s.batch; b++)
        HOLD(std::equal(p.last[i].at(b), p.last[i].at(b) + s.of_state(i), after[i].data() + b * s.of_state(i)));
  }
}

// Rows that go on from others, and take what is added to their input from a table, are those of states and a table that were
// copied for them.
template <class T> void one_continued(const Pass<T>& pass, const Packers<T>& packers, int cell, const Spec& spec, std::string told, bool big) {
  Sizes s(spec, big);
  s.time = 1, s.batch = draw(1, big ? 60 : 9), s.ragged = s.cut = s.masked = s.zoned = s.reverse = false;
  told += s.told();
  Given<T> given(s, spec, pass.states);
  Written<T> to(s, given, pass, 1);
  const Problem<T> p = problem(s, spec, given, to, 1);
  const auto packed = packers.step[cell](p);
  const int64_t rows = draw(1, big ? 300 : 20), words = draw(1, 5), width = s.hidden * pass.columns;
  auto table = numbers<T>(words * width, 1);
  std::vector<int64_t> word(rows), parent(rows), own(rows);
  for (int64_t r = 0; r < rows; r++) word[r] = draw(0, words - 1), parent[r] = draw(0, s.batch - 1), own[r] = r;
  std::vector<T> x, added;
  std::vector<std::vector<T>> before(pass.states), chosen(pass.states);
  for (int64_t r = 0; r < rows; r++) {
    const T* from = p.input.data + parent[r] * p.input.batch_stride;
    x.insert(x.end(), from, from + p.input_size);
    added.insert(added.end(), table.data() + word[r] * width, table.data() + (word[r] + 1) * width);
  }
  for (int i = 0; i < pass.states; i++) {
    const int64_t size = s.of_state(i);
    for (int64_t b = 0; b < s.batch; b++) before[i].insert(before[i].end(), p.initial[i].at(b), p.initial[i].at(b) + size);
    for (int64_t r = 0; r < rows; r++)
      chosen[i].insert(chosen[i].end(), before[i].data() + parent[r] * size, before[i].data() + (parent[r] + 1) * size);
  }
  auto run = [&](const std::vector<std::vector<T>>& states, const Reads& reads, int threads) {
    std::vector<std::vector<T>> after;
    std::vector<const void*> was;
    std::vector<void*> is;
    for (const auto& each : states) was.push_back(each.data());
    for (int i = 0; i < pass.states; i++) after.push_back(unwritten<T>(rows * s.of_state(i)));
    for (auto& each : after) is.push_back(each.data());
    packed->step(rows, reads, was.data(), is.data(), threads);
    return after;
  };
  const auto wanted = run(chosen, {x.data(), p.input_size, added.data(), width, nullptr, own.data()}, 1);
  for (int threads : {1, 3})
    HOLD(run(before, {x.data(), p.input_size, table.data(), width, word.data(), parent.data()}, threads) == wanted);
}

// Whole sequences are their steps, one row after another; what is written between the rows of the output stays.
template <class T> void one_of_sentences(const Pass<T>& pass, const Packers<T>& packers, int cell, const Spec& spec, std::string told, bool big) {
  Sizes s(spec, big);
  s.time = 1, s.batch = draw(1, big ? 300 : 20), s.ragged = s.cut = s.masked = s.zoned = s.reverse = false;
  told += s.told();
  Given<T> given(s, spec, pass.states);
  Written<T> to(s, given, pass, 1);
  Problem<T> p = problem(s, spec, given, to, 1);
  p.input_size = 0;
  const auto packed = packers.step[cell](p);
  const int64_t time = draw(1, 6), words = draw(1, 5), width = s.hidden * pass.columns, size = s.of_state(0), wide = size + draw(0, 3);
  auto table = numbers<T>(words * width, 1);
  std::vector<int64_t> word(s.batch * time), lengths(s.batch);
  for (int64_t& each : word) each = draw(0, words - 1);
  for (int64_t& each : lengths) each = draw(1, time);
  std::vector<std::vector<T>> before(pass.states);
  for (int i = 0; i < pass.states; i++)
    for (int64_t b = 0; b < s.batch; b++)
      before[i].insert(before[i].end(), p.initial[i].at(b), p.initial[i].at(b) + s.of_state(i));
  for (int threads : {1, 3}) {
    const bool reverse = draw(0, 1);
    std::vector<T> output(s.batch * time * wide, T(7));
    std::vector<std::vector<T>> last;
    std::vector<const void*> was;
    std::vector<void*> is;
    for (int i = 0; i < pass.states; i++) last.push_back(unwritten<T>(s.batch * s.of_state(i)));
    for (int i = 0; i < pass.states; i++) was.push_back(before[i].data()), is.push_back(last[i].data());
    packed->sentences({time, s.batch, lengths.data(), table.data(), width, word.data(), output.data(), time * wide, wide, reverse},
                      was.data(), is.data(), threads);
    for (int64_t b = 0; b < s.batch; b++) {
      std::vector<std::vector<T>> state;
      for (int i = 0; i < pass.states; i++)
        state.emplace_back(before[i].data() + b * s.of_state(i), before[i].data() + (b + 1) * s.of_state(i));
      for (int64_t step = 0; step < time; step++) {
        const int64_t t = reverse && step < lengths[b] ? lengths[b] - 1 - step : step;
        const T* row = output.data() + (b * time + t) * wide;
        HOLD(std::all_of(row + size, row + wide, [](T each) { return each == T(7); }));
        if (step >= lengths[b]) {
          HOLD(std::all_of(row, row + size, [](T each) { return each == T(0); }));
          continue;
        }
        std::vector<std::vector<T>> next;
        std::vector<const void*> from;
        std::vector<void*> into;
        for (int i = 0; i < pass.states; i++) next.push_back(unwritten<T>(s.of_state(i)));
        for (int i = 0; i < pass.states; i++) from.push_back(state[i].data()), into.push_back(next[i].data());
        packed->step(1, {nullptr, 0, table.data(), width, &word[b * time + t], nullptr}, from.data(), into.data(), 1);
        state = next;
        HOLD(std::equal(row, row + size, state[0].data()));
      }
      for (int i = 0; i < pass.states; i++)
        HOLD(std::equal(state[i].begin(), state[i].end(), last[i].data() + b * s.of_state(i)));
    }
  }
}

// How far attention may be from its formula: scores of up to 70 units, and e to the power of their sum.
template <class T> inline constexpr double of_attention = sizeof(T) == 4 ? 1e-4 : 1e-12;

// Attention is what its formula says, and reads nothing of the padding.
template <class T> void one_attention(const Packers<T>& packers, std::string told, bool big) {
  const int64_t all = draw(1, 6), sentences = draw(1, 6), width = draw(1, 8), source = draw(1, big ? 40 : 7);
  const int64_t size = draw(1, big ? 70 : 20), read = draw(1, big ? 200 : 40), rows = sentences * width;
  told += " tokens " + std::to_string(source) + " size " + std::to_string(size) + " read " + std::to_string(read);
  auto query = numbers<T>(rows * size, 2), keys = numbers<T>(all * source * size, 2), vector = numbers<T>(size, 1);
  auto values = numbers<T>(all * source * read, 1), powers = keys;
  std::vector<uint8_t> large(all);
  std::vector<int64_t> lengths(all), sentence(sentences);
  for (int64_t i = 0; i < all; i++) {
    large[i] = uint8_t(draw(0, 1)), lengths[i] = draw(1, source);
    T* of = powers.data() + i * source * size;
    for (int64_t j = 0; !large[i] && j < source * size; j++) of[j] = std::exp(2 * of[j]);
    for (int64_t j = lengths[i] * size; j < source * size; j++) of[j] = T(nan);
    for (int64_t j = lengths[i] * read; j < source * read; j++) values[i * source * read + j] = T(nan);
  }
  for (int64_t& each : sentence) each = draw(0, all - 1);
  for (int threads : {1, 3}) {
    auto context = unwritten<T>(rows * read), weights = unwritten<T>(rows * source);
    packers.attend({sentences, width, source, size, read, query.data(), powers.data(), vector.data(), values.data(),
                    large.data(), lengths.data(), sentence.data(), context.data(), weights.data(), threads});
    for (int64_t r = 0; r < rows; r++) {
      const int64_t place = sentence[r / width];
      std::vector<double> wanted(source, 0.0);
      double total = 0;
      for (int64_t t = 0; t < lengths[place]; t++) {
        double score = 0;
        for (int64_t u = 0; u < size; u++)
          score += double(vector[u]) * std::tanh(double(query[r * size + u]) + keys[(place * source + t) * size + u]);
        total += wanted[t] = std::exp(score);
      }
      for (int64_t t = 0; t < source; t++) HOLD(std::abs(weights[r * source + t] - wanted[t] / total) < of_attention<T>);
      for (int64_t j = 0; j < read; j++) {
        double mean = 0;
        for (int64_t t = 0; t < lengths[place]; t++) mean += wanted[t] / total * values[(place * source + t) * read + j];
        HOLD(std::abs(context[r * read + j] - mean) < 10 * of_attention<T>);
      }
    }
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
  packed->product(rows, nullptr, x.data(), x.row_stride, y.data(), y.row_stride, 1);
  std::vector<int64_t> place(rows);
  for (int64_t r = 0; r < rows; r++) place[r] = rows - 1 - r;
  packed->product(rows, place.data(), x.data(), x.row_stride, again.data(), again.row_stride, 3);
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
