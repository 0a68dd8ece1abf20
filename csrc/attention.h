// Additive attention of a search: several hypotheses a sentence, whose source lies in memory once. Legend: q query, k key,
// v vector, w weight; r row (hypothesis), t token of the source, u unit; A size of a query, R of what is read of a token.
//
// score = sum_u v tanh(q + k) (Bahdanau et al. 2015, appendix A.1.2), weights = softmax over the tokens, context = sum_t w
// values. tanh(q + k) = 1 - 2 / (1 + e^2q e^2k): with e^2k computed once a sentence and e^2q once a row, a division is left
// of each tanh; the constant 1 changes no weight. It is off by the rounding of 1, as tanh is where it is near 1.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>

#include <omp.h>

#include "failure.h"
#include "packed.h"
#include "scratch.h"
#include "simd.h"

namespace storyline::STORYLINE_TARGET {

// No key of a sentence that is not `large` is beyond this; see kernels/additive_attention.py. So a query beyond it by what makes
// tanh 1 may as well be there, and neither power nor their product leaves the range of a float.
inline constexpr double largest_key = 14;

// The scores of one row, before the softmax; room (A,). Meanwhile numbers [from, to) of the values of each token are
// fetched: they come from far away, and a score is a row of divisions, which wait for nothing but each other.
template <class T>
void scores_of(const Asked<T>& p, const T* query, const T* keys, bool large, int64_t length, T* room, T* scores,
               const T* values, int64_t from, int64_t to) {
  constexpr int L = lanes<T>;
  const T most = T(largest_key) + Range<T>::tanh_is_one;
  for (int64_t u = 0; !large && u < p.size; u += L) {
    const int some = int(std::min<int64_t>(L, p.size - u));
    store_some(room + u, exp<T>(T(2) * clamp<T>(load_some(query + u, some), -most, most)), some);
  }
  auto term = [&](const T* key, int64_t u, int some) __attribute__((always_inline)) {  // lanes beyond have a v of 0
    const V<T> v = load_some(p.vector + u, some), k = load_some(key + u, some);
    if (large) return v * tanh<T>(load_some(query + u, some) + k);
    return T(-2) * v / fma(load_some(room + u, some), k, all(T(1)));
  };
  for (int64_t t = 0; t < length; t++) {
    const T* key = keys + t * p.size;
    for (int64_t j = from; j < to; j += 64 / int64_t(sizeof(T))) __builtin_prefetch(values + t * p.read + j, 0, 2);
    V<T> sum{};
    int64_t u = 0;
    for (; u + L <= p.size; u += L) sum += term(key, u, L);
    if (u < p.size) sum += term(key, u, int(p.size - u));
    scores[t] = storyline::STORYLINE_TARGET::sum<T>(sum);
  }
}

// In place; 0 from `length` on.
template <class T> void softmax(T* scores, int64_t length, int64_t source) {
  constexpr int L = lanes<T>;
  T top = -std::numeric_limits<T>::infinity(), total = 0;
  for (int64_t t = 0; t < length; t++) top = std::max(top, scores[t]);
  for (int64_t t = 0; t < length; t += L) {
    const int some = int(std::min<int64_t>(L, length - t));
    store_some(scores + t, exp<T>(load_some(scores + t, some) - top), some);
  }
  for (int64_t t = 0; t < length; t++) total += scores[t];
  for (int64_t t = 0; t < length; t++) scores[t] /= total;
  std::fill(scores + length, scores + source, T(0));
}

// S vectors of M rows of context; the last may have fewer lanes, where S is 1.
template <class T, int M, int S>
INLINE void some_contexts(const Asked<T>& p, const T* weights, const T* values, int64_t length, T* context, int some) {
  constexpr int L = lanes<T>;
  V<T> sums[M][S] = {};
  for (int64_t t = 0; t < length; t++) {
    V<T> value[S];
    for (int s = 0; s < S; s++) value[s] = load_some(values + t * p.read + s * L, some);
    for (int m = 0; m < M; m++) {
      const V<T> weight = all(weights[m * p.source + t]);
      for (int s = 0; s < S; s++) sums[m][s] = fma(weight, value[s], sums[m][s]);
    }
  }
  for (int m = 0; m < M; m++)
    for (int s = 0; s < S; s++) store_some(context + m * p.read + s * L, sums[m][s], some);
}

// M rows of context at once, so that each value is read once; two vectors, so that more sums are under way than one
// addition takes cycles, and a line of memory is read whole.
template <class T, int M>
void contexts(const Asked<T>& p, const T* weights, const T* values, int64_t length, T* context) {
  constexpr int L = lanes<T>;
  int64_t j = 0;
  for (; j + 2 * L <= p.read; j += 2 * L) some_contexts<T, M, 2>(p, weights, values + j, length, context + j, L);
  for (; j < p.read; j += L)
    some_contexts<T, M, 1>(p, weights, values + j, length, context + j, int(std::min<int64_t>(L, p.read - j)));
}

template <class T> void attend_sentence(const Asked<T>& p, int64_t i) {
  static thread_local Scratch scratch;
  scratch.start(p.size * int64_t(sizeof(T)) + 64);
  T* room = scratch.take<T>(p.size);
  const int64_t place = p.sentence[i], length = p.lengths[place], first = i * p.width;
  const T* values = p.values + place * p.source * p.read;
  for (int64_t m = 0; m < p.width; m++) {
    const int64_t r = first + m;
    T* weights = p.weights + r * p.source;
    scores_of<T>(p, p.query + r * p.size, p.keys + place * p.source * p.size, p.large[place], length, room, weights, values,
                 p.read * m / p.width, p.read * (m + 1) / p.width);
    softmax<T>(weights, length, p.source);
  }
  for (int64_t r = 0; r < p.width;) {
    const T* weights = p.weights + (first + r) * p.source;
    T* context = p.context + (first + r) * p.read;
    switch (std::min<int64_t>(p.width - r, 6)) {
#define CASE(m) \
  case m: contexts<T, m>(p, weights, values, length, context), r += m; break;
      CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#undef CASE
    }
  }
}

template <class T> void attend(const Asked<T>& p) {
  Failure failure;
#pragma omp parallel num_threads(p.threads) if (p.threads > 1)
  {
    FlushDenormals flush;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < p.sentences; i++) failure.keep([&] { attend_sentence<T>(p, i); });
  }
  failure.raise();
}

}  // namespace storyline::STORYLINE_TARGET
