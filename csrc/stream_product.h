// The packed matrix product of a stream: a row or a few against weights that are read once, so that memory sets the
// pace. Legend: a, a2 rows of the left factor's two parts, b packed right factor, c result; M rows, N columns, K and K2
// depths of the two parts; L lanes; S vectors of a group.
//
// The right factor is packed in groups of 8, then 4, 2 and 1 vectors of columns, each [k][column], so that one row
// reads all of it in one line. Every number of c is the same sum as in product.h: its start value, plus a chain of fused
// multiply-adds from 0 for each block of the depth, first those of a, then those of a2; so a step has the bits of the scan.
#pragma once
#include <memory>

#include "product.h"

namespace storyline::STORYLINE_TARGET {

// How weights are kept: as they are, or two bfloat16 a word, the columns of one vector in the low halves and those of
// the next in the high ones. What is given must already be rounded to bfloat16.
template <class T> struct Whole {
  typedef T Number;
  typedef T Word;
  static constexpr int vectors_a_word = 1;
  template <int S> static INLINE void load_all(const Word* b, V<T>* right) {
    for (int s = 0; s < S; s++) right[s] = load(b + s * lanes<T>);
  }
  static void put(Word* group, int64_t vector, int64_t lane, T value) { group[vector * lanes<T> + lane] = value; }
};
struct Half {
  typedef float Number;
  typedef uint32_t Word;
  static constexpr int vectors_a_word = 2;
  template <int S> static INLINE void load_all(const Word* b, V<float>* right) {
    typedef uint32_t U __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
    for (int s = 0; s < S; s += 2) {
      const U both = *reinterpret_cast<const U*>(b + s / 2 * lanes<float>);
      right[s] = reinterpret_cast<V<float>>(both << 16);
      right[s + 1] = reinterpret_cast<V<float>>(both & 0xffff0000u);
    }
  }
  static void put(Word* group, int64_t vector, int64_t lane, float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    Word& word = group[vector / 2 * lanes<float> + lane];
    word = vector % 2 ? (word & 0xffffu) | (bits & 0xffff0000u) : (word & 0xffff0000u) | bits >> 16;
  }
};

struct FreeAligned {
  void operator()(void* p) const { std::free(p); }
};
template <class T> using Aligned = std::unique_ptr<T[], FreeAligned>;
template <class T> Aligned<T> zeros(int64_t count) {
  const size_t bytes = size_t(round_up(std::max<int64_t>(count, 1) * int64_t(sizeof(T)), 64));
  T* p = static_cast<T*>(std::aligned_alloc(64, bytes));
  if (!p) throw std::bad_alloc();
  std::memset(static_cast<void*>(p), 0, bytes);
  return Aligned<T>(p);
}

template <class W> int64_t vectors_of(int64_t N) {
  return round_up((N + lanes<typename W::Number> - 1) / lanes<typename W::Number>, W::vectors_a_word);
}
template <class W> int64_t words_of(int64_t N, int64_t K) {
  return vectors_of<W>(N) / W::vectors_a_word * lanes<typename W::Number> * K;
}
inline int group_of(int64_t left) { return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1; }

// weight(column, k) for all columns < N and k < K -> b, which holds zeros.
template <class W, class Weight> void pack_stream(int64_t N, int64_t K, Weight weight, typename W::Word* b) {
  constexpr int L = lanes<typename W::Number>;
  const int64_t vectors = vectors_of<W>(N);
  for (int64_t v = 0; v < vectors;) {
    const int S = group_of(vectors - v);
    for (int64_t k = 0; k < K; k++, b += S / W::vectors_a_word * L)
      for (int64_t j = 0; j < S * L && v * L + j < N; j++) W::put(b, j / L, j % L, weight(v * L + j, k));
    v += S;
  }
}

// S vectors of columns, from `column` on; b steps by `stride` words a k. start: what each row of c starts from.
template <class W, int M, int S, class T = typename W::Number>
INLINE void stream_tile(int64_t K, const T* const* a, int64_t K2, const T* const* a2, const typename W::Word* b,
                        int64_t stride, T* const* c, const T* const* start, int64_t column, int64_t N) {
  constexpr int L = lanes<T>;
  V<T> total[M][S];
  const bool full = column + S * L <= N;
  auto some = [&](int s) { return int(std::clamp<int64_t>(N - column - s * L, 0, L)); };
  for (int m = 0; m < M; m++)
    for (int s = 0; s < S; s++) {
      const T* from = start[m] + column + s * L;
      total[m][s] = full ? load(from) : some(s) ? load_some(from, some(s)) : V<T>{};
    }
  auto add = [&](int64_t depth, const T* const* left) {
    const T* row[M];
    for (int m = 0; m < M; m++) row[m] = left[m];
    for (int64_t from = 0; from < depth; from += depth_a_block) {
      V<T> sums[M][S] = {};
      const int64_t to = std::min(depth, from + depth_a_block);
#pragma GCC unroll 4
      for (int64_t k = from; k < to; k++, b += stride) {
        V<T> right[S];
        W::template load_all<S>(b, right);
        for (int m = 0; m < M; m++) {
          const V<T> x = all(row[m][k]);
          for (int s = 0; s < S; s++) sums[m][s] = fma(x, right[s], sums[m][s]);
        }
      }
      for (int m = 0; m < M; m++)
        for (int s = 0; s < S; s++) total[m][s] += sums[m][s];
    }
  };
  add(K, a);
  if (K2) add(K2, a2);
  for (int m = 0; m < M; m++)
    for (int s = 0; s < S; s++) {
      T* to = c[m] + column + s * L;
      if (full) store(to, total[m][s]);
      else if (some(s)) store_some(to, total[m][s], some(s));
    }
}

template <class W, int M, class T = typename W::Number>
__attribute__((noinline)) void stream_rows(int64_t N, int64_t K, const T* const* a, int64_t K2, const T* const* a2,
                                           const typename W::Word* b, T* const* c, const T* const* start,
                                           bool backwards, int64_t first, int64_t last) {
  // More rows take fewer columns at once: the sums must fit into the registers.
  constexpr int L = lanes<T>, widest = M == 1 ? 8 : M <= 3 ? 4 : 2, least = W::vectors_a_word;
  const int64_t vectors = vectors_of<W>(N), eights = vectors / 8;
  auto group = [&](int64_t v, int S) {
    const int64_t stride = S / least * L;
    const auto* block = b + v / least * L * (K + K2);
    for (int s = 0; s < S;) {
      const int64_t column = (v + s) * L;
      const auto* from = block + s / least * L;
#define SLICE(n)                                                                        \
  if (n <= widest && n >= least && S >= n && (S < 2 * n || n == widest)) {              \
    if constexpr (n <= widest && n >= least)                                            \
      stream_tile<W, M, n>(K, a, K2, a2, from, stride, c, start, column, N);            \
    s += n;                                                                             \
  } else
      SLICE(8) SLICE(4) SLICE(2) SLICE(1) __builtin_unreachable();
#undef SLICE
    }
  };
  const int64_t end = std::min(last, eights);
  for (int64_t g = first; g < end; g++) group(8 * (backwards ? end - 1 - (g - first) : g), 8);
  for (int64_t v = 8 * eights; last > eights && v < vectors;) {
    const int S = group_of(vectors - v);
    group(v, S);
    v += S;
  }
}

// c[m][0..N) = start[m] + a[m] b + a2[m] b2, b2 below b; start may be c. K2 0: without the second part. backwards: from
// the last columns to the first; weights that are too many for a cache are read in turns, so that the end of one step,
// which the cache still holds, is the beginning of the next. Groups [first, last) of 8 vectors only; what is left behind
// the last whole one counts as one more.
template <class W, class T = typename W::Number>
void stream_product(int64_t M, int64_t N, int64_t K, const T* const* a, int64_t K2, const T* const* a2,
                    const typename W::Word* b, T* const* c, const T* const* start, bool backwards, int64_t first = 0,
                    int64_t last = INT64_MAX) {
  constexpr int64_t most = 6;
  for (int64_t m = 0; m < M; m += most) {
    switch (std::min(most, M - m)) {
#define CASE(n) \
  case n: stream_rows<W, n>(N, K, a + m, K2, a2 + m, b, c + m, start + m, backwards, first, last); break;
      CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#undef CASE
    }
  }
}

}  // namespace storyline::STORYLINE_TARGET
