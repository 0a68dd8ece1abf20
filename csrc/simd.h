// One vector of the machine: V<T> holds lanes<T> numbers. Legend: n power of two, r remainder, e exponential.
// The width is fixed by VECTOR_BYTES; one object file is compiled a width. Contraction is off (see CMakeLists.txt),
// so that a number is rounded the same way wherever it is computed: every fused multiply-add is written fma().
#pragma once
#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace storyline::STORYLINE_TARGET {

template <class T> struct Lanes;
template <> struct Lanes<float> {
  typedef float vector __attribute__((vector_size(VECTOR_BYTES), may_alias));
  typedef float loose __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
  typedef int32_t integer __attribute__((vector_size(VECTOR_BYTES), may_alias));
  typedef int32_t scalar_integer;
};
template <> struct Lanes<double> {
  typedef double vector __attribute__((vector_size(VECTOR_BYTES), may_alias));
  typedef double loose __attribute__((vector_size(VECTOR_BYTES), aligned(8), may_alias));
  typedef int64_t integer __attribute__((vector_size(VECTOR_BYTES), may_alias));
  typedef int64_t scalar_integer;
};
template <class T> using V = typename Lanes<T>::vector;
template <class T> inline constexpr int lanes = VECTOR_BYTES / sizeof(T);

#define INLINE inline __attribute__((always_inline))

template <class T> INLINE V<T> load(const T* p) { return *reinterpret_cast<const typename Lanes<T>::loose*>(p); }
template <class T> INLINE void store(T* p, V<T> v) { *reinterpret_cast<typename Lanes<T>::loose*>(p) = v; }
template <class T> INLINE V<T> all(T x) { return x - V<T>{}; }

// The first n lanes; the others are 0. Never touches memory beyond them.
template <class T> INLINE V<T> load_some(const T* p, int n) {
  if (n >= lanes<T>) return load(p);
  T full[lanes<T>] = {};
  std::memcpy(full, p, n * sizeof(T));
  return load(full);
}
template <class T> INLINE void store_some(T* p, V<T> v, int n) {
  if (n >= lanes<T>) return store(p, v);
  T full[lanes<T>];
  store(full, v);
  std::memcpy(p, full, n * sizeof(T));
}

INLINE V<float> fma(V<float> a, V<float> b, V<float> c) {
#if VECTOR_BYTES == 64
  return _mm512_fmadd_ps(a, b, c);
#elif VECTOR_BYTES == 32
  return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
  return vfmaq_f32(c, a, b);
#else
  return a * b + c;
#endif
}
INLINE V<double> fma(V<double> a, V<double> b, V<double> c) {
#if VECTOR_BYTES == 64
  return _mm512_fmadd_pd(a, b, c);
#elif VECTOR_BYTES == 32
  return _mm256_fmadd_pd(a, b, c);
#elif defined(__aarch64__)
  return vfmaq_f64(c, a, b);
#else
  return a * b + c;
#endif
}

// Whether a comparison holds anywhere.
template <class T> INLINE bool any(typename Lanes<T>::integer holds) {
  int64_t words[VECTOR_BYTES / 8], one = 0;
  std::memcpy(words, &holds, sizeof words);
  for (int64_t word : words) one |= word;
  return one != 0;
}

// Lanes of a and b in turn: of their lower halves, or of their upper ones.
template <class T> INLINE V<T> zip(V<T> a, V<T> b, bool upper) {
  constexpr int L = lanes<T>;
  typename Lanes<T>::integer order{};
  for (int i = 0; i < L; i++) order[i] = i / 2 + (upper ? L / 2 : 0) + (i % 2 ? L : 0);
  return __builtin_shuffle(a, b, order);
}

// A square of vectors, rows for columns: one round of zips for each power of two.
template <class T> INLINE void transpose(V<T>* rows) {
  constexpr int L = lanes<T>;
  for (int round = 1; round < L; round *= 2) {
    V<T> next[L];
    for (int i = 0; i < L / 2; i++) {
      next[2 * i] = zip<T>(rows[i], rows[i + L / 2], false);
      next[2 * i + 1] = zip<T>(rows[i], rows[i + L / 2], true);
    }
    for (int i = 0; i < L; i++) rows[i] = next[i];
  }
}

template <class T> INLINE T sum(V<T> v) {
  T s = 0;
  for (int i = 0; i < lanes<T>; i++) s += v[i];
  return s;
}

// e^r - 1 for |r| <= ln 2 / 2, by the series; the first term left out is below half a unit in the last place.
INLINE V<float> small_expm1(V<float> r) {
  V<float> p = all(1.0f / 5040);
  p = fma(p, r, all(1.0f / 720));
  p = fma(p, r, all(1.0f / 120));
  p = fma(p, r, all(1.0f / 24));
  p = fma(p, r, all(1.0f / 6));
  p = fma(p, r, all(0.5f));
  return fma(r * r, p, r);
}
INLINE V<double> small_expm1(V<double> r) {
  constexpr double inverse[] = {1.0 / 87178291200, 1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800,
                                1.0 / 362880,      1.0 / 40320,      1.0 / 5040,      1.0 / 720,      1.0 / 120,
                                1.0 / 24,          1.0 / 6,          0.5};
  V<double> p = all(inverse[0]);
  for (int i = 1; i < 13; i++) p = fma(p, r, all(inverse[i]));
  return fma(r * r, p, r);
}

template <class T> struct Reduced {
  V<T> power, rest;  // x = n ln 2 + r: 2^n and e^r - 1
};

template <class T> struct Range;
template <> struct Range<float> {
  static constexpr float magic = 0x1.8p23f, ln2_high = 0x1.62e400p-1f, ln2_low = 0x1.7f7d1cp-20f;
  static constexpr float least = -87.0f, most = 88.0f, tanh_is_one = 9.1f;
  static constexpr int bias = 127, mantissa = 23;
};
template <> struct Range<double> {
  static constexpr double magic = 0x1.8p52, ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
  static constexpr double least = -708.0, most = 709.0, tanh_is_one = 20.0;
  static constexpr int bias = 1023, mantissa = 52;
};

template <class T> INLINE V<T> clamp(V<T> x, T low, T high) {  // NaN stays NaN
  x = x < all(low) ? all(low) : x;
  return x > all(high) ? all(high) : x;
}

template <class T> INLINE Reduced<T> reduce(V<T> x) {
  using R = Range<T>;
  using I = typename Lanes<T>::integer;
  using N = typename Lanes<T>::scalar_integer;
  const V<T> shifted = fma(x, all(T(1.442695040888963407)), all(R::magic));
  const V<T> n = shifted - R::magic;
  const V<T> r = fma(n, all(-R::ln2_low), fma(n, all(-R::ln2_high), x));
  T magic = R::magic;
  N magic_bits;
  std::memcpy(&magic_bits, &magic, sizeof magic);
  const I bits = (reinterpret_cast<I>(shifted) - magic_bits + R::bias) << R::mantissa;
  return {reinterpret_cast<V<T>>(bits), small_expm1(r)};
}

template <class T> INLINE V<T> exp(V<T> x) {
  const auto e = reduce<T>(clamp<T>(x, Range<T>::least, Range<T>::most));
  return fma(e.power, e.rest, e.power);
}
template <class T> INLINE V<T> sigmoid(V<T> x) { return T(1) / (T(1) + exp<T>(-x)); }

// (e^2x - 1) / (e^2x + 1), by e^2x - 1: keeps all relative accuracy near 0.
template <class T> INLINE V<T> tanh(V<T> x) {
  const auto e = reduce<T>(T(2) * clamp<T>(x, -Range<T>::tanh_is_one, Range<T>::tanh_is_one));
  const V<T> m = fma(e.power, e.rest, e.power - T(1));
  return m / (m + T(2));
}

// log(1 + y) for 0 <= y <= 1: 2 artanh(y / (2 + y)), by the series.
template <class T> INLINE V<T> small_log1p(V<T> y) {
  constexpr int terms = sizeof(T) == 4 ? 9 : 18;
  const V<T> s = y / (y + T(2)), q = s * s;
  V<T> p = all(T(1) / (2 * terms + 1));
  for (int k = terms - 1; k >= 0; k--) p = fma(p, q, all(T(1) / (2 * k + 1)));
  return T(2) * s * p;
}
template <class T> INLINE V<T> log_sigmoid(V<T> x) {
  const V<T> less = x < V<T>{} ? x : V<T>{};
  return (x != x) ? x : less - small_log1p<T>(exp<T>(x < V<T>{} ? x : -x));
}

// Numbers below 1e-38 are taken for 0 while one of these lives: denormal operands cost a hundred times the rest.
struct FlushDenormals {
#if defined(__x86_64__)
  unsigned saved = _mm_getcsr();
  FlushDenormals() { _mm_setcsr(saved | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(saved); }
#elif defined(__aarch64__)
  uint64_t saved;
  FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(saved));
    asm volatile("msr fpcr, %0" ::"r"(saved | (1ull << 24)));
  }
  ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(saved)); }
#endif
};

}  // namespace storyline::STORYLINE_TARGET
