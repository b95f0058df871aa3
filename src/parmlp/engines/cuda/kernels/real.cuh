// The type of all numbers of a network, float or double, and the functions of it.
#pragma once

using real = PARMLP_REAL;

__device__ inline float exp_of(float x) { return expf(x); }
__device__ inline double exp_of(double x) { return exp(x); }
__device__ inline float expm1_of(float x) { return expm1f(x); }
__device__ inline double expm1_of(double x) { return expm1(x); }
__device__ inline float tanh_of(float x) { return tanhf(x); }
__device__ inline double tanh_of(double x) { return tanh(x); }
__device__ inline float erfc_of(float x) { return erfcf(x); }
__device__ inline double erfc_of(double x) { return erfc(x); }
__device__ inline float sqrt_of(float x) { return sqrtf(x); }
__device__ inline double sqrt_of(double x) { return sqrt(x); }
__device__ inline float fma_of(float a, float b, float c) { return fmaf(a, b, c); }
__device__ inline double fma_of(double a, double b, double c) { return fma(a, b, c); }

template <class T>
inline constexpr T kEpsilon = T(1.1920928955078125e-07);  // FLT_EPSILON
template <>
inline constexpr double kEpsilon<double> = 2.220446049250313e-16;

template <class T>
inline constexpr T kLowest = T(-3.402823466385288598e+38);  // -FLT_MAX
template <>
inline constexpr double kLowest<double> = -1.797693134862315708e+308;

// How much dynamic shared memory a block of a kernel takes. The host asks by the kernel host_constants, which
// programs.py adds to every program.
#define SHARED_BYTES(kernel, bytes) constexpr int kernel##_shared = bytes

// The block's dynamic shared memory, as what a kernel makes of it.
template <class Storage>
__device__ inline Storage& shared_storage() {
#ifdef PARMLP_SIMULATED
  return *static_cast<Storage*>(simulated_shared(simulated_thread->cluster_rank));
#else
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  return *reinterpret_cast<Storage*>(shared_bytes);
#endif
}

__device__ inline constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
