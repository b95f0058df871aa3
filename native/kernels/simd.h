// One vector of 32 bytes on every target, and the few operations on it that need a rule.
// Included once per target, inside that target's namespace.

#if defined(__FMA__)
#include <immintrin.h>
#endif

namespace parmlp::PARMLP_TARGET {

// 32 bytes everywhere, AVX-512 included: with AVX-512VL the kernels have 32 registers of 256 bits, which
// reached 110 of 118 GFLOP/s on Zen 4, and 100 or 10 units waste less than with 16 lanes. One width
// on all targets also gives row sums (softmax, loss) one order, so AVX2 and AVX-512 agree bit for bit.
constexpr int kVectorBytes = 32;

template <class T>
struct Simd;

template <>
struct Simd<float> {
  using Sum = float;  // what products of it are added up in
  typedef float V __attribute__((vector_size(kVectorBytes)));
  typedef float Unaligned __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
  typedef int I __attribute__((vector_size(kVectorBytes)));
  typedef unsigned U __attribute__((vector_size(kVectorBytes)));
  static constexpr int kLength = 8;
  static constexpr float kEpsilon = 1.1920928955078125e-07f;
};

template <>
struct Simd<double> {
  using Sum = double;
  typedef double V __attribute__((vector_size(kVectorBytes)));
  typedef double Unaligned __attribute__((vector_size(kVectorBytes), aligned(8), may_alias));
  typedef long I __attribute__((vector_size(kVectorBytes)));
  typedef unsigned long U __attribute__((vector_size(kVectorBytes)));
  static constexpr int kLength = 4;
  static constexpr double kEpsilon = 2.220446049250313e-16;
};

#if defined(__AVX512BF16__)
template <>
struct Simd<Bf16Pair> {
  using Sum = float;
  typedef unsigned V __attribute__((vector_size(kVectorBytes)));
  typedef unsigned Unaligned __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
  static constexpr int kLength = 8;
};
#endif

template <class T>
using Vec = typename Simd<T>::V;

template <class T>
using Sum = typename Simd<T>::Sum;

template <class T>
PARMLP_INLINE Vec<T> load(const T* p) {
  return *reinterpret_cast<const typename Simd<T>::Unaligned*>(p);
}

template <class T>
PARMLP_INLINE void store(T* p, Vec<T> v) {
  *reinterpret_cast<typename Simd<T>::Unaligned*>(p) = v;
}

template <class T>
PARMLP_INLINE Vec<T> splat(T x) {
  if constexpr (sizeof(T) == 4) {
    return Vec<T>{x, x, x, x, x, x, x, x};
  } else {
    return Vec<T>{x, x, x, x};
  }
}

// a * b + c in one rounding where the target has FMA, in two where it has not (baseline has its own bits).
// Explicit, and with -ffp-contract=off nothing else fuses: a compiler may choose differently in
// another tile or target.
PARMLP_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
#if defined(__FMA__)
  return reinterpret_cast<Vec<float>>(
      _mm256_fmadd_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), reinterpret_cast<__m256>(c)));
#else
  return a * b + c;
#endif
}

PARMLP_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
#if defined(__FMA__)
  return reinterpret_cast<Vec<double>>(_mm256_fmadd_pd(
      reinterpret_cast<__m256d>(a), reinterpret_cast<__m256d>(b), reinterpret_cast<__m256d>(c)));
#else
  return a * b + c;
#endif
}

#if defined(__AVX512BF16__)
PARMLP_INLINE Vec<Bf16Pair> splat(Bf16Pair x) {
  return Vec<Bf16Pair>{x.bits, x.bits, x.bits, x.bits, x.bits, x.bits, x.bits, x.bits};
}

// c + the two products of each pair.
PARMLP_INLINE Vec<float> fma(Vec<Bf16Pair> a, Vec<Bf16Pair> b, Vec<float> c) {
  return reinterpret_cast<Vec<float>>(_mm256_dpbf16_ps(
      reinterpret_cast<__m256>(c), reinterpret_cast<__m256bh>(a), reinterpret_cast<__m256bh>(b)));
}
#endif

PARMLP_INLINE Vec<float> sqrt(Vec<float> a) {
#if defined(__FMA__)
  return reinterpret_cast<Vec<float>>(_mm256_sqrt_ps(reinterpret_cast<__m256>(a)));
#else
  for (int i = 0; i < 8; ++i) a[i] = __builtin_sqrtf(a[i]);
  return a;
#endif
}

PARMLP_INLINE Vec<double> sqrt(Vec<double> a) {
#if defined(__FMA__)
  return reinterpret_cast<Vec<double>>(_mm256_sqrt_pd(reinterpret_cast<__m256d>(a)));
#else
  for (int i = 0; i < 4; ++i) a[i] = __builtin_sqrt(a[i]);
  return a;
#endif
}

// NaN in x passes through both: a comparison with it is false and x itself is returned. The instructions
// return their second operand when either is NaN.
PARMLP_INLINE Vec<float> at_least(Vec<float> x, float low) {
#if defined(__FMA__)
  return reinterpret_cast<Vec<float>>(
      _mm256_max_ps(reinterpret_cast<__m256>(splat(low)), reinterpret_cast<__m256>(x)));
#else
  return x < low ? splat(low) : x;
#endif
}
PARMLP_INLINE Vec<double> at_least(Vec<double> x, double low) {
#if defined(__FMA__)
  return reinterpret_cast<Vec<double>>(
      _mm256_max_pd(reinterpret_cast<__m256d>(splat(low)), reinterpret_cast<__m256d>(x)));
#else
  return x < low ? splat(low) : x;
#endif
}
PARMLP_INLINE Vec<float> at_most(Vec<float> x, float high) {
#if defined(__FMA__)
  return reinterpret_cast<Vec<float>>(
      _mm256_min_ps(reinterpret_cast<__m256>(splat(high)), reinterpret_cast<__m256>(x)));
#else
  return x > high ? splat(high) : x;
#endif
}
PARMLP_INLINE Vec<double> at_most(Vec<double> x, double high) {
#if defined(__FMA__)
  return reinterpret_cast<Vec<double>>(
      _mm256_min_pd(reinterpret_cast<__m256d>(splat(high)), reinterpret_cast<__m256d>(x)));
#else
  return x > high ? splat(high) : x;
#endif
}

// Lanes added from the first to the last.
template <class T>
PARMLP_INLINE double sum_lanes(Vec<T> v) {
  double total = 0;
  for (int i = 0; i < Simd<T>::kLength; ++i) total += static_cast<double>(v[i]);
  return total;
}

template <class T>
PARMLP_INLINE typename Simd<T>::I lane_ids() {
  if constexpr (sizeof(T) == 4) {
    return typename Simd<T>::I{0, 1, 2, 3, 4, 5, 6, 7};
  } else {
    return typename Simd<T>::I{0, 1, 2, 3};
  }
}

}  // namespace parmlp::PARMLP_TARGET
