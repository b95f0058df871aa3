// One functor a loss: the term of one output of one row, in double, and the delta of the output's z.
#pragma once

#include "network.cuh"

// Probabilities are kept away from 0 and 1 as scikit-learn does before the logarithm; NaN stays NaN.
__device__ inline real clip_probability(real p) {
  p = p < kEpsilon<real> ? kEpsilon<real> : p;
  return p > 1 - kEpsilon<real> ? 1 - kEpsilon<real> : p;
}

// x log y with 0 log y = 0, as scipy.special.xlogy: NaN is not hidden by x = 0.
__device__ inline double x_log_y(double x, double y) { return x == 0 && y == y ? 0.0 : x * log(y); }

template <class Out>
struct LogLoss {
  static __device__ double term(real a, real y) {
    const real p = clip_probability(a);
    double loss = -x_log_y(y, p);
    if (!kIsSoftmax<Out>) loss -= x_log_y(1 - y, 1 - p);
    return loss;
  }
  static __device__ real delta(real a, real y) { return a - y; }
};

// The paper's, 1/2 ||y - a||^2, whose delta is (a - y) f'(z).
template <class Out>
struct Mse {
  static __device__ double term(real a, real y) { return 0.5 * double(y - a) * double(y - a); }
  static __device__ real delta(real a, real y) { return (a - y) * Out::derivative(a, 0); }
};

// scikit-learn's: averaged over the outputs, and its delta is not.
template <class>
struct SquaredError {
  static __device__ double term(real a, real y) { return 0.5 * double(y - a) * double(y - a) / kOutputs; }
  static __device__ real delta(real a, real y) { return a - y; }
};

template <class>
struct Poisson {
  static __device__ double term(real a, real y) { return x_log_y(y, double(y) / double(a)) - y + a; }
  static __device__ real delta(real a, real y) { return a - y; }
};

using Loss = PARMLP_LOSS<Output>;

// What a network is trained on. Rows are visited by id; the other arrays have a row for each of x's.
struct Samples {
  const real* x;        // (n, features)
  const int* row_ids;   // of the rows to visit, in order; null: 0, 1, ...
  const real* y;        // (n, outputs), or null where there are labels
  const int* labels;    // (n,)
  const real* weights;  // (n,), or null for 1
  __device__ long long id(long long position) const { return row_ids ? row_ids[position] : position; }
  __device__ const real* row(long long position) const { return x + id(position) * kFeatures; }
  __device__ real target(long long id, int output) const {
    return y ? y[id * kOutputs + output] : real(labels[id] == output);
  }
};

// Sum or maximum over kLanes neighbouring threads, always in the same order. NaN is the largest.
template <int kLanes, class T>
__device__ T sum_over_lanes(T value) {
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  }
  return value;
}

__device__ inline real larger(real a, real b) { return a > b || a != a ? a : b; }

template <int kLanes>
__device__ real max_over_lanes(real value) {
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    value = larger(value, __shfl_xor_sync(0xffffffffu, value, distance));
  }
  return value;
}

// Output activations of one row, in place of its z, by kLanes neighbouring threads of which this is `lane`. A
// row's numbers are `stride` apart; a thread touches those of its own lane only.
template <int kLanes>
__device__ void activate_row(real* z, int stride, int lane) {
  if constexpr (kIsSoftmax<Output>) {
    real largest = lane < kOutputs ? z[lane * stride] : kLowest<real>;
    for (int j = lane + kLanes; j < kOutputs; j += kLanes) largest = larger(largest, z[j * stride]);
    largest = max_over_lanes<kLanes>(largest);
    real total = 0;
    for (int j = lane; j < kOutputs; j += kLanes) {
      z[j * stride] = Output::value(z[j * stride] - largest);
      total += z[j * stride];
    }
    total = sum_over_lanes<kLanes>(total);
    for (int j = lane; j < kOutputs; j += kLanes) z[j * stride] /= total;
  } else {
    for (int j = lane; j < kOutputs; j += kLanes) z[j * stride] = Output::value(z[j * stride]);
  }
}

// The last layer of one row: from z to activations (in place) and deltas. Returns the row's loss, times its
// weight, in every lane.
template <int kLanes>
__device__ double output_row(const Samples& samples, long long position, real* z, real* delta, int stride,
                             int lane) {
  activate_row<kLanes>(z, stride, lane);
  const long long id = samples.id(position);
  const real weight = samples.weights ? samples.weights[id] : real(1);
  double loss = 0;
  for (int j = lane; j < kOutputs; j += kLanes) {
    const real a = z[j * stride], y = samples.target(id, j);
    loss += Loss::term(a, y);
    delta[j * stride] = weight * Loss::delta(a, y);
  }
  return weight * sum_over_lanes<kLanes>(loss);
}
