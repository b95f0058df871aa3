// exp, tanh, sigmoid, erf on vectors. Polynomials and rational forms are those of the Cephes library
// (Moshier); relative error at most 3e-7 in float and 5e-16 in double (tests/native/test_vector_math.py).
// NaN passes through every function: no clamp, comparison or select drops it.

namespace parmlp::PARMLP_TARGET {

template <class V, class T>
PARMLP_INLINE V horner(V, T c0) {
  return V{} + c0;
}
// c0 x^n + c1 x^(n-1) + ... , highest power first.
template <class V, class T, class... Rest>
PARMLP_INLINE V horner_from(V sum, V x, T c, Rest... rest) {
  V next = fma(sum, x, V{} + c);
  if constexpr (sizeof...(rest) == 0) {
    return next;
  } else {
    return horner_from(next, x, rest...);
  }
}
template <class V, class T, class... Rest>
PARMLP_INLINE V horner(V x, T c0, Rest... rest) {
  return horner_from(V{} + c0, x, rest...);
}

// x 2^n in two factors, so that n = 128 (1024) does not overflow. Unsigned arithmetic, since NaN makes n
// arbitrary; n is made positive before it is halved.
PARMLP_INLINE Vec<float> scale_by_power_of_two(Vec<float> x, Simd<float>::U n) {
  const Simd<float>::U half = ((n + 1024) >> 1) - 512;
  const Simd<float>::U rest = n - half;
  return x * reinterpret_cast<Vec<float>>((half + 127) << 23) *
         reinterpret_cast<Vec<float>>((rest + 127) << 23);
}
PARMLP_INLINE Vec<double> scale_by_power_of_two(Vec<double> x, Simd<double>::U n) {
  const Simd<double>::U half = ((n + 4096) >> 1) - 2048;
  const Simd<double>::U rest = n - half;
  return x * reinterpret_cast<Vec<double>>((half + 1023) << 52) *
         reinterpret_cast<Vec<double>>((rest + 1023) << 52);
}

// exp(x) = p 2^n, p in [0.70, 1.42]. `shifted` is n + magic: adding the magic number, 1.5 * 2^23 + 127,
// rounds to an integer and leaves n + 127, the exponent field of 2^n, in the lowest bits.
constexpr float kExpMagic = 12582912.0f + 127.0f;

PARMLP_INLINE Vec<float> power_of_two(Vec<float> shifted) {
  return reinterpret_cast<Vec<float>>(reinterpret_cast<Simd<float>::U>(shifted) << 23);
}

// One vector's exp is a chain of 50 cycles, of which a core's schedulers hold too few to keep its pipes busy:
// step by step for N vectors, as here, a sigmoid takes 9 cycles a vector on Zen 4 in place of 14. The
// polynomial is the minimax one that ends in 1 + r, within 3.1e-9.
template <int N>
PARMLP_INLINE void exp_parts(const Vec<float> (&x)[N], Vec<float> (&p)[N], Vec<float> (&shifted)[N]) {
  constexpr float kCoefficients[] = {4.166839079e-2f, 1.666652040e-1f, 4.999999343e-1f, 1.0f, 1.0f};
  Vec<float> r[N];
  for (int i = 0; i < N; ++i) shifted[i] = fma(x[i], splat(1.44269504088896341f), splat(kExpMagic));
  for (int i = 0; i < N; ++i) p[i] = shifted[i] - kExpMagic;
  for (int i = 0; i < N; ++i) r[i] = fma(p[i], splat(-0.693359375f), x[i]);
  for (int i = 0; i < N; ++i) r[i] = fma(p[i], splat(2.12194440e-4f), r[i]);
  for (int i = 0; i < N; ++i) p[i] = fma(r[i], splat(1.381454006e-3f), splat(8.368745109e-3f));
  for (const float c : kCoefficients) {
    for (int i = 0; i < N; ++i) p[i] = fma(p[i], r[i], splat(c));
  }
}

PARMLP_INLINE Vec<float> exp(Vec<float> x) {
  // Outside these the result is inf or below the smallest denormal.
  x = at_most(at_least(x, -104.0f), 89.0f);
  Vec<float> p[1], shifted[1];
  exp_parts({x}, p, shifted);
  return scale_by_power_of_two(p[0], reinterpret_cast<Simd<float>::U>(shifted[0]) -
                                         reinterpret_cast<Simd<float>::U>(splat(kExpMagic)));
}

// exp for |x| <= 87, where 2^n is a normal number; NaN stays NaN through p.
PARMLP_INLINE Vec<float> exp_in_range(Vec<float> x) {
  Vec<float> p[1], shifted[1];
  exp_parts({x}, p, shifted);
  return p[0] * power_of_two(shifted[0]);
}

PARMLP_INLINE Vec<double> exp(Vec<double> x) {
  using V = Vec<double>;
  x = at_most(at_least(x, -746.0), 710.0);
  const V magic = splat(6755399441055744.0);  // 1.5 * 2^52
  const V shifted = fma(x, splat(1.4426950408889634073599), magic);
  const V n = shifted - magic;
  V r = fma(n, splat(-6.93145751953125e-1), x);
  r = fma(n, splat(-1.42860682030941723212e-6), r);
  const V rr = r * r;
  const V p = r * horner(rr, 1.26177193074810590878e-4, 3.02994407707441961300e-2, 9.99999999999999999910e-1);
  const V q = horner(rr, 3.00198505138664455042e-6, 2.52448340349684104192e-3, 2.27265548208155028766e-1,
                     2.00000000000000000009e0);
  const V e = 1.0 + 2.0 * (p / (q - p));
  return scale_by_power_of_two(
      e, reinterpret_cast<Simd<double>::U>(shifted) - reinterpret_cast<Simd<double>::U>(magic));
}

// log of positive normal numbers. x = m 2^n with m in [sqrt(1/2), sqrt 2), and log m from s = f / (2 + f), f
// = m - 1, by the polynomial of fdlibm's e_log.c.
PARMLP_INLINE Vec<double> log(Vec<double> x) {
  using V = Vec<double>;
  using U = Simd<double>::U;
  // Adding this to the exponent and first bits of the mantissa carries into n where m would be over sqrt 2.
  constexpr unsigned long kCarry = 0x3ff0000000000000UL - 0x3fe6a09e667f3bcdUL;
  const U bits = reinterpret_cast<U>(x) + kCarry;
  const U exponent = bits >> 52;
  const V m = reinterpret_cast<V>((bits & 0x000fffffffffffffUL) + 0x3fe6a09e667f3bcdUL);
  // exponent (n + 1023) in the low bits of 2^52 makes it a double without a conversion, which AVX2 lacks.
  const V n = reinterpret_cast<V>(exponent | 0x4330000000000000UL) - (4503599627370496.0 + 1023.0);
  const V f = m - 1.0;
  const V s = f / (f + 2.0);
  const V z = s * s;
  const V r = z * horner(z, 1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01,
                         2.222219843214978396e-01, 2.857142874366239149e-01, 3.999999999940941908e-01,
                         6.666666666666735130e-01);
  const V half = 0.5 * f * f;
  const V result =
      n * 6.93147180369123816490e-01 - ((half - (s * (half + r) + n * 1.90821492927058770002e-10)) - f);
  return x == x ? result : x;
}

// 1 / (1 + exp(-x)) of N vectors in place.
// Below -87 a float's sigmoid is under the smallest normal number, and stays at 1.6e-38.
template <int N>
PARMLP_INLINE void sigmoid(Vec<float> (&x)[N]) {
  Vec<float> p[N], shifted[N];
  for (int i = 0; i < N; ++i) x[i] = -at_most(at_least(x[i], -87.0f), 87.0f);
  exp_parts(x, p, shifted);
  for (int i = 0; i < N; ++i) x[i] = 1.0f / fma(p[i], power_of_two(shifted[i]), splat(1.0f));
}
template <int N>
PARMLP_INLINE void sigmoid(Vec<double> (&x)[N]) {
  for (Vec<double>& value : x) value = 1.0 / (1.0 + exp(-value));
}

// Near zero x + x^3 p(x^2), which keeps the relative accuracy; elsewhere 1 - 2 / (exp(2x) + 1).
PARMLP_INLINE Vec<float> tanh(Vec<float> x) {
  using V = Vec<float>;
  const V s = x * x;
  const V p = horner(s, -5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f,
                     -3.33332819422e-1f);
  const V near = fma(p * s, x, x);
  // tanh is 1 in float from 9.01 on.
  const V far = 1.0f - 2.0f / (exp_in_range(at_most(at_least(x + x, -87.0f), 87.0f)) + 1.0f);
  return s < 0.625f * 0.625f ? near : far;
}

PARMLP_INLINE Vec<double> tanh(Vec<double> x) {
  using V = Vec<double>;
  const V s = x * x;
  const V p = horner(s, -9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3);
  const V q = horner(s, 1.0, 1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3);
  const V near = x + x * s * (p / q);
  const V far = 1.0 - 2.0 / (exp(x + x) + 1.0);
  return s < 0.625 * 0.625 ? near : far;
}

// exp(x) - 1 through tanh(x/2), which has the relative accuracy near zero that the difference lacks.
template <class V>
PARMLP_INLINE V expm1_of_negative(V x) {
  const V t = tanh(x / 2);
  return 2 * t / (1 - t);
}

// erfc(x) for x >= 1, the only range it is used on.
template <class V>
PARMLP_INLINE V erfc_tail(V x) {
  using T = decltype(x[0] + 0);
  const V p =
      horner(x, T(2.46196981473530512524e-10), T(5.64189564831068821977e-1), T(7.46321056442269912687e0),
             T(4.86371970985681366614e1), T(1.96520832956077098242e2), T(5.26445194995477358631e2),
             T(9.34528527171957607540e2), T(1.02755188689515710272e3), T(5.57535335369399327526e2));
  const V q = horner(x, T(1.0), T(1.32281951154744992508e1), T(8.67072140885989742329e1),
                     T(3.54937778887819891062e2), T(9.75708501743205489753e2), T(1.82390916687909736289e3),
                     T(2.24633760818710981792e3), T(1.65666309194161350182e3), T(5.57535340817727675546e2));
  return exp(-x * x) * (p / q);
}

// The standard normal distribution function, Phi(x) = erfc(-x / sqrt 2) / 2.
template <class V>
PARMLP_INLINE V normal_cdf(V x) {
  using T = decltype(x[0] + 0);
  const V u = x * T(0.70710678118654752440);
  const V s = u * u;
  const V t = horner(s, T(9.60497373987051638749e0), T(9.00260197203842689217e1), T(2.23200534594684319226e3),
                     T(7.00332514112805075473e3), T(5.55923013010394962768e4));
  const V w = horner(s, T(1.0), T(3.35617141647503099647e1), T(5.21357949780152679795e2),
                     T(4.59432382970980127987e3), T(2.26290000613890934246e4), T(4.92673942608635921086e4));
  const V near = T(0.5) + T(0.5) * (u * (t / w));
  // Beyond 27.5 erfc is zero in either precision; the bound keeps p / q from becoming inf / inf.
  const V size = at_most(u < 0 ? -u : u, T(27.5));
  const V half_tail = T(0.5) * erfc_tail(size);
  const V far = u < 0 ? half_tail : 1 - half_tail;
  return s < T(1) ? near : far;
}

}  // namespace parmlp::PARMLP_TARGET
