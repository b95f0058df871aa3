// Products of small matrices by the 32 threads of a warp, in three precisions: on tensor cores with operands
// rounded to tf32 or bf16, and in plain float32 arithmetic. All three leave the result in the same places,
// those of PTX's mma.m16n8: of a 16 x 8 result thread (g, t) = (lane / 4, lane % 4) has rows g and g + 8,
// columns 2t and 2t + 1.
//
// accumulate(sums, a, b) adds the product of a (16 kRows x kDepth) and b (kDepth x 8 kColumns), which are
// functions a(row, k) and b(k, column) that read shared memory.
#pragma once

#include "real.cuh"

template <int kRows, int kColumns>
struct Sums {
  float at[kRows][kColumns][4];  // (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1) of each 16 x 8
};

// Operands as they are: every product and sum in float32.
struct Full {
  static constexpr int kDepth = 1;
  static __device__ float round(float x) { return x; }

  template <int kRows, int kColumns, class A, class B>
  static __device__ __forceinline__ void accumulate(Sums<kRows, kColumns>& sums, A a, B b) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    float left[kRows][2], right[kColumns][2];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      for (int h = 0; h < 2; ++h) left[i][h] = a(16 * i + g + 8 * h, 0);
    }
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      for (int h = 0; h < 2; ++h) right[j][h] = b(0, 8 * j + 2 * t + h);
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        for (int q = 0; q < 4; ++q) {
          sums.at[i][j][q] = fmaf(left[i][q / 2], right[j][q % 2], sums.at[i][j][q]);
        }
      }
    }
  }
};

#ifdef PARMLP_SIMULATED
// One mma of the warp, from the fragments that its lanes hold; a_at and b_at say who holds which number.
template <int kDepth, class AAt, class BAt>
inline void simulated_mma(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], AAt a_at, BAt b_at) {
  struct Fragments {
    unsigned a[4], b[2];
  } own;
  for (int i = 0; i < 4; ++i) own.a[i] = a[i];
  for (int i = 0; i < 2; ++i) own.b[i] = b[i];
  const auto* all = static_cast<const Fragments*>(simulated_exchange(&own, sizeof(own)));
  const int g = static_cast<int>(threadIdx.x % 32 / 4), t = static_cast<int>(threadIdx.x % 4);
  for (int q = 0; q < 4; ++q) {
    for (int k = 0; k < kDepth; ++k) c[q] += a_at(all, g + q / 2 * 8, k) * b_at(all, k, 2 * t + q % 2);
  }
}

inline float float_of(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

inline unsigned bits_of(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}
#endif

// Operands with 10 bits of fraction, to nearest, ties away from zero.
struct Tf32 {
  static constexpr int kDepth = 8;

  static __device__ unsigned bits(float x) {
#ifdef PARMLP_SIMULATED
    const unsigned all = bits_of(x);
    return x - x == 0 ? (all + 0x1000u) & ~0x1fffu : all;  // NaN and infinity stay
#else
    unsigned rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
    return rounded;
#endif
  }
  static __device__ float round(float x) {
#ifdef PARMLP_SIMULATED
    return float_of(bits(x));
#else
    return __uint_as_float(bits(x));
#endif
  }

  static __device__ __forceinline__ void mma(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#ifdef PARMLP_SIMULATED
    simulated_mma<8>(
        c, a, b,
        [](auto* all, int m, int k) { return float_of(all[m % 8 * 4 + k % 4].a[m / 8 + k / 4 * 2]); },
        [](auto* all, int k, int n) { return float_of(all[n * 4 + k % 4].b[k / 4]); });
#else
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
  }

  template <int kRows, int kColumns, class A, class B>
  static __device__ __forceinline__ void accumulate(Sums<kRows, kColumns>& sums, A a, B b) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    unsigned left[kRows][4], right[kColumns][2];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      for (int q = 0; q < 4; ++q) left[i][q] = bits(a(16 * i + g + q % 2 * 8, t + q / 2 * 4));
    }
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      for (int q = 0; q < 2; ++q) right[j][q] = bits(b(t + 4 * q, 8 * j + g));
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < kColumns; ++j) mma(sums.at[i][j], left[i], right[j]);
    }
  }
};

// Operands with 7 bits of fraction, to nearest even.
struct Bf16 {
  static constexpr int kDepth = 16;

  // low in the low half
  static __device__ unsigned pair(float low, float high) {
#ifdef PARMLP_SIMULATED
    const auto half = [](float x) {
      const unsigned all = bits_of(x);
      return x == x ? (all + 0x7fffu + (all >> 16 & 1)) >> 16 : 0x7fffu;
    };
    return half(low) | half(high) << 16;
#else
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
#endif
  }
  static __device__ float round(float x) {
#ifdef PARMLP_SIMULATED
    return float_of(pair(x, 0) << 16);
#else
    return __uint_as_float(pair(x, 0) << 16);
#endif
  }

  static __device__ __forceinline__ void mma(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#ifdef PARMLP_SIMULATED
    const auto half = [](unsigned both, int k) { return float_of(k % 2 ? both & 0xffff0000u : both << 16); };
    simulated_mma<16>(
        c, a, b,
        [&](auto* all, int m, int k) { return half(all[m % 8 * 4 + k % 8 / 2].a[m / 8 + k / 8 * 2], k); },
        [&](auto* all, int k, int n) { return half(all[n * 4 + k % 8 / 2].b[k / 8], k); });
#else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
  }

  template <int kRows, int kColumns, class A, class B>
  static __device__ __forceinline__ void accumulate(Sums<kRows, kColumns>& sums, A a, B b) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    unsigned left[kRows][4], right[kColumns][2];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      for (int q = 0; q < 4; ++q) {
        const int m = 16 * i + g + q % 2 * 8, k = 2 * t + q / 2 * 8;
        left[i][q] = pair(a(m, k), a(m, k + 1));
      }
    }
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      for (int q = 0; q < 2; ++q) {
        const int k = 2 * t + 8 * q;
        right[j][q] = pair(b(k, 8 * j + g), b(k + 1, 8 * j + g));
      }
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < kColumns; ++j) mma(sums.at[i][j], left[i], right[j]);
    }
  }
};
