// One functor an activation: its value f(z), and its derivative from a = f(z) (and z where a does not
// determine it). This is the only place that knows them. Comparisons are written so that NaN stays NaN.
#pragma once

#include "real.cuh"

struct Identity {
  static constexpr bool kNeedsZ = false;
  static __device__ real value(real z) { return z; }
  static __device__ real derivative(real, real) { return 1; }
};

struct Sigmoid {
  static constexpr bool kNeedsZ = false;
  static __device__ real value(real z) { return 1 / (1 + exp_of(-z)); }
  static __device__ real derivative(real a, real) { return a * (1 - a); }
};

struct Tanh {
  static constexpr bool kNeedsZ = false;
  static __device__ real value(real z) { return tanh_of(z); }
  static __device__ real derivative(real a, real) { return 1 - a * a; }
};

struct Relu {
  static constexpr bool kNeedsZ = false;
  static __device__ real value(real z) { return z < 0 ? 0 : z; }
  static __device__ real derivative(real a, real) { return a == 0 ? 0 : 1; }
};

struct LeakyRelu {
  static constexpr bool kNeedsZ = false;
  static constexpr real kSlope = PARMLP_LEAKY_RELU_SLOPE;  // >= 0, so a has the sign of z
  static __device__ real value(real z) { return z < 0 ? z * kSlope : z; }
  static __device__ real derivative(real a, real) { return a > 0 ? 1 : kSlope; }
};

struct Elu {
  static constexpr bool kNeedsZ = false;
  static __device__ real value(real z) { return z < 0 ? expm1_of(z) : z; }
  static __device__ real derivative(real a, real) { return a < 0 ? a + 1 : 1; }
};

// z Phi(z), Hendrycks & Gimpel, arXiv:1606.08415.
struct Gelu {
  static constexpr bool kNeedsZ = true;
  static __device__ real normal_cdf(real z) { return real(0.5) * erfc_of(z * real(-0.70710678118654752440)); }
  static __device__ real value(real z) { return z * normal_cdf(z); }
  static __device__ real derivative(real, real z) {
    return normal_cdf(z) + z * real(0.39894228040143267794) * exp_of(z * z * real(-0.5));
  }
};

// The same paper's approximation, z/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))).
struct GeluTanh {
  static constexpr bool kNeedsZ = true;
  static constexpr real kScale = 0.79788456080286535588, kCubic = 0.044715;
  static __device__ real value(real z) {
    return real(0.5) * z * (1 + tanh_of(kScale * (z + kCubic * z * z * z)));
  }
  static __device__ real derivative(real, real z) {
    // z^2 must not overflow; the derivative is 0 or 1 long before these limits
    z = z < real(-1e4) ? real(-1e4) : z;
    z = z > real(1e4) ? real(1e4) : z;
    const real t = tanh_of(kScale * (z + kCubic * z * z * z));
    return real(0.5) * (1 + t) + real(0.5) * z * (1 - t * t) * kScale * (1 + 3 * kCubic * z * z);
  }
};

// z sigmoid(z), also called swish.
struct Silu {
  static constexpr bool kNeedsZ = true;
  static __device__ real value(real z) { return z / (1 + exp_of(-z)); }
  static __device__ real derivative(real, real z) {
    const real s = 1 / (1 + exp_of(-z));
    return s * (1 + z * (1 - s));
  }
};

// Output activations besides Identity and Sigmoid. Their losses cancel the derivative.
struct Exp {
  static constexpr bool kNeedsZ = false;
  static __device__ real value(real z) { return exp_of(z); }
};

// Not element-wise: output_row() divides by the row's sum, and subtracts its largest z beforehand.
struct Softmax {
  static constexpr bool kNeedsZ = false;
  static __device__ real value(real z) { return exp_of(z); }
};

template <class F>
inline constexpr bool kIsSoftmax = false;
template <>
inline constexpr bool kIsSoftmax<Softmax> = true;
