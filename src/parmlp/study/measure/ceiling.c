/* What one core can do at most: fused multiply-adds from registers, and reading memory.
   Compiled at run time for this machine by ceiling.py; uses GCC/Clang vector extensions. */
#include <stddef.h>
#include <time.h>

typedef float v8 __attribute__((vector_size(32)));
typedef float v16 __attribute__((vector_size(64)));

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* 12 independent accumulators: two FMA pipes of latency 4 to 5 need 8 to 10, and 12 with two operands
   still fit the 16 registers of AVX2. `a` is 1 - 2^-20, so values stay near 1: no denormals. */
#define PEAK(NAME, V)                                                                   \
  double NAME(long repeats, double* begin, double* end, float* sink) {                  \
    V acc[12], a, b;                                                                    \
    const int lanes = (int)(sizeof(V) / sizeof(float));                                 \
    for (int j = 0; j < lanes; ++j) {                                                   \
      a[j] = 1.0f - 0x1p-20f;                                                           \
      b[j] = 0x1p-20f;                                                                  \
      for (int i = 0; i < 12; ++i) acc[i][j] = 1.0f + 0x1p-10f * (float)i;              \
    }                                                                                   \
    V a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3], a4 = acc[4], a5 = acc[5];     \
    V a6 = acc[6], a7 = acc[7], a8 = acc[8], a9 = acc[9], a10 = acc[10], a11 = acc[11]; \
    *begin = now();                                                                     \
    for (long r = 0; r < repeats; ++r) {                                                \
      a0 = a0 * a + b; a1 = a1 * a + b; a2 = a2 * a + b; a3 = a3 * a + b;               \
      a4 = a4 * a + b; a5 = a5 * a + b; a6 = a6 * a + b; a7 = a7 * a + b;               \
      a8 = a8 * a + b; a9 = a9 * a + b; a10 = a10 * a + b; a11 = a11 * a + b;           \
    }                                                                                   \
    *end = now();                                                                       \
    V all = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11;                \
    float sum = 0;                                                                      \
    for (int j = 0; j < lanes; ++j) sum += all[j];                                      \
    *sink = sum; /* read by the caller, or the loop would be removed */                 \
    return 2.0 * 12.0 * lanes * (double)repeats;                                        \
  }

PEAK(fma_256, v8)
#ifdef __AVX512F__
PEAK(fma_512, v16)
#endif

/* Bytes read: 8 independent sums over an array larger than any cache. */
double read_memory(const float* x, long floats, double* begin, double* end, float* sink) {
  v8 s[8] = {0};
  *begin = now();
  for (long i = 0; i + 64 <= floats; i += 64)
    for (int j = 0; j < 8; ++j) s[j] += *(const v8*)(x + i + 8 * j);
  *end = now();
  float sum = 0;
  for (int j = 0; j < 8; ++j)
    for (int k = 0; k < 8; ++k) sum += s[j][k];
  *sink = sum;
  return (double)(floats / 64 * 64) * sizeof(float);
}
