// The packed matrix product. Legend: a rows of the left factor, b packed right factor, c result; M rows, N columns,
// K depth; m, n, k run over them.
//
// The right factor is packed into panels of `panel_width` columns, [panel][k][column], the last one filled up with 0.
// Rows of a and c are given by pointers, so that ragged, reversed and strided batches cost nothing extra. Every
// number of c is its start value, plus one chain of fused multiply-adds from 0 for each block of the depth, in the
// order of k, whatever the rows beside it: a row's result does not depend on its batch. A chain that began at the start
// value would be rounded to the last place of that one at every k, and gradients of states would be off several times
// as much.
#pragma once
#include <algorithm>

#include "simd.h"

namespace storyline::STORYLINE_TARGET {

inline constexpr int vectors_a_panel = 2;
#if VECTOR_BYTES == 64 || defined(__aarch64__)
inline constexpr int rows_a_tile = 12;  // 32 registers: 24 sums
#else
inline constexpr int rows_a_tile = 6;  // 16 registers: 12 sums
#endif
inline constexpr int depth_a_block = 256;  // a panel of this depth stays in the first cache

template <class T> inline constexpr int panel_width = vectors_a_panel* lanes<T>;

inline int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }
template <class T> int64_t panels_of(int64_t N) { return (N + panel_width<T> - 1) / panel_width<T>; }
template <class T> int64_t packed_size(int64_t N, int64_t K) { return panels_of<T>(N) * panel_width<T> * K; }

// What the sums of a product are added to.
enum class Start { zero, add, bias };

// P panels, M rows: c = start + a b, over k in [0, K). stride: numbers from one panel to the next; ahead: to the one
// that will be read after these.
template <class T, int M, int P>
INLINE void tile(int64_t K, const T* const* a, const T* b, int64_t stride, int64_t ahead, T* const* c, int64_t column,
                 int64_t N, Start start, const T* bias) {
  constexpr int S = P * vectors_a_panel;
  V<T> sums[M][S];
  const T* row[M];
  for (int m = 0; m < M; m++) row[m] = a[m];
  for (int m = 0; m < M; m++)
    for (int s = 0; s < S; s++) sums[m][s] = V<T>{};
#pragma GCC unroll 4
  for (int64_t k = 0; k < K; k++) {
    if (P == 1) __builtin_prefetch(b + ahead + k * panel_width<T>, 0, 2);
    V<T> right[S];
    for (int p = 0; p < P; p++)
      for (int v = 0; v < vectors_a_panel; v++)
        right[p * vectors_a_panel + v] = load(b + p * stride + k * panel_width<T> + v * lanes<T>);
    for (int m = 0; m < M; m++) {
      const V<T> left = all(row[m][k]);
      for (int s = 0; s < S; s++) sums[m][s] = fma(left, right[s], sums[m][s]);
    }
  }
  for (int s = 0; s < S; s++) {
    const int64_t at = column + s * lanes<T>;
    const int some = int(std::min<int64_t>(lanes<T>, N - at));
    if (some <= 0) continue;
    for (int m = 0; m < M; m++) {
      if (start != Start::zero) sums[m][s] += load_some(start == Start::add ? c[m] + at : bias + at, some);
      store_some(c[m] + at, sums[m][s], some);
    }
  }
}

// Few rows take several panels at once: eight sums or more are under way, which hides the latency of one.
template <int M> inline constexpr int panels_a_tile = M == 1 ? 4 : M <= 3 ? 2 : 1;

// All K of a tile's depth, block by block. depth: of b, from panel to panel.
template <class T, int M, int P>
INLINE void whole_tile(int64_t K, int64_t depth, const T* const* a, const T* b, T* const* c, int64_t panel, int64_t N,
                       Start start, const T* bias, bool backwards) {
  const int64_t stride = depth * panel_width<T>;
  const T* shifted[M];
  for (int64_t k = 0; k < K; k += depth_a_block) {
    for (int m = 0; m < M; m++) shifted[m] = a[m] + k;
    tile<T, M, P>(std::min<int64_t>(depth_a_block, K - k), shifted, b + (panel * depth + k) * panel_width<T>,
                  stride, backwards ? -stride : stride, c, panel * panel_width<T>, N, k == 0 ? start : Start::add, bias);
  }
}

template <class T, int M>
__attribute__((noinline)) void rows(int64_t K, int64_t depth, const T* const* a, const T* b, T* const* c,
                                    int64_t first, int64_t last, int64_t N, Start start, const T* bias, bool backwards) {
  constexpr int P = panels_a_tile<M>;
  const int64_t groups = (last - first) / P;
  for (int64_t g = 0; g < groups; g++)
    whole_tile<T, M, P>(K, depth, a, b, c, first + P * (backwards ? groups - 1 - g : g), N, start, bias, backwards);
  if constexpr (P > 1)
    for (int64_t panel = first + P * groups; panel < last; panel++)
      whole_tile<T, M, 1>(K, depth, a, b, c, panel, N, start, bias, backwards);
}

template <class T>
void some_rows(int M, int64_t K, int64_t depth, const T* const* a, const T* b, T* const* c, int64_t first,
               int64_t last, int64_t N, Start start, const T* bias, bool backwards) {
  switch (M) {
#define CASE(m) \
  case m: return rows<T, m>(K, depth, a, b, c, first, last, N, start, bias, backwards);
    CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#if VECTOR_BYTES == 64 || defined(__aarch64__)
    CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#endif
#undef CASE
  }
}

// c[m][0..N) = start + sum_k a[m][k] b[k][0..N). Panels [first, last) only; b packed with depth K. backwards: the last
// panels first: of weights that are too many for a cache, and read again and again, the end of one product is the
// beginning of the next, and still at hand.
template <class T>
void product(int64_t M, int64_t N, int64_t K, const T* const* a, const T* b, T* const* c, Start start, const T* bias,
             int64_t first, int64_t last, bool backwards = false) {
  constexpr int64_t most = 512;  // rows at a time, so that their pointers fit on the stack
  constexpr int64_t few_bytes = 1 << 17;  // of the left factor, which the second cache holds beside panels
  const T* shifted[most];
  for (int64_t m0 = 0; m0 < M; m0 += most) {
    const int64_t count = std::min<int64_t>(most, M - m0), tiles = (count + rows_a_tile - 1) / rows_a_tile;
    if (tiles == 1) {  // a panel is read once, whatever the order
      some_rows<T>(int(count), K, K, a + m0, b, c + m0, first, last, N, start, bias, backwards);
      continue;
    }
    // With more, a block of a panel shall stay in the first cache for all of them.
    const int64_t together = count / tiles <= 3 ? 2 : 1, groups = (last - first + together - 1) / together;
    auto block = [&](int64_t g, int64_t k) {
      const int64_t panel = first + together * (backwards ? groups - 1 - g : g);
      for (int64_t m = 0; m < count; m++) shifted[m] = a[m0 + m] + k;
      for (int64_t t = 0; t < tiles; t++) {  // rows shared out evenly: 16 are 5, 5, 6
        const int64_t from = count * t / tiles, to = count * (t + 1) / tiles;
        some_rows<T>(int(to - from), std::min<int64_t>(depth_a_block, K - k), K, shifted + from, b + k * panel_width<T>,
                     c + m0 + from, panel, std::min(panel + together, last), N, k == 0 ? start : Start::add, bias, backwards);
      }
    };
    if (count * K * int64_t(sizeof(T)) <= few_bytes) {
      for (int64_t g = 0; g < groups; g++)
        for (int64_t k = 0; k < K; k += depth_a_block) block(g, k);
    } else {
      for (int64_t k = 0; k < K; k += depth_a_block)
        for (int64_t g = 0; g < groups; g++) block(g, k);
    }
  }
}

template <class T>
void product(int64_t M, int64_t N, int64_t K, const T* const* a, const T* b, T* const* c, Start start,
             const T* bias = nullptr) {
  product<T>(M, N, K, a, b, c, start, bias, 0, panels_of<T>(N));
}

// sum += more, for a number or a vector. `lost` starts as 0: what this addition rounds away, which the next one gives
// back (Kahan 1965). Without it a sum over a hundred thousand slots loses two digits of float32.
template <class N> INLINE void add_up(N& sum, N& lost, N more) {
  const N was = sum, all_of_it = more - lost;
  sum = was + all_of_it;
  lost = (sum - was) - all_of_it;
}

// The other product, of two tall factors: c[m][n] += sum_k a[k][m] b[k][n], both packed: a as [k][M] (M columns of
// the tall factor side by side), b as one panel [k][panel_width]; `lost` lies as c does, see add_up. only: c = the sum,
// since c and lost would have been 0, and nothing is added afterwards.
template <class T, int M>
__attribute__((noinline)) void outer_rows(int64_t K, const T* a, const T* b, T* c, T* lost, int64_t c_stride, bool only) {
  V<T> sums[M][vectors_a_panel];
  for (int m = 0; m < M; m++)
    for (int v = 0; v < vectors_a_panel; v++) sums[m][v] = V<T>{};
#pragma GCC unroll 4
  for (int64_t k = 0; k < K; k++) {
    V<T> right[vectors_a_panel];
    for (int v = 0; v < vectors_a_panel; v++) right[v] = load(b + k * panel_width<T> + v * lanes<T>);
    for (int m = 0; m < M; m++) {
      const V<T> left = all(a[k * M + m]);
      for (int v = 0; v < vectors_a_panel; v++) sums[m][v] = fma(left, right[v], sums[m][v]);
    }
  }
  for (int m = 0; m < M; m++)
    for (int v = 0; v < vectors_a_panel; v++) {
      const int64_t at = m * c_stride + v * lanes<T>;
      if (only) {
        store(c + at, sums[m][v] + V<T>{});  // 0, where it is -0
        continue;
      }
      V<T> sum = load(c + at), rest = load(lost + at);
      add_up(sum, rest, sums[m][v]);
      store(c + at, sum);
      store(lost + at, rest);
    }
}

}  // namespace storyline::STORYLINE_TARGET
