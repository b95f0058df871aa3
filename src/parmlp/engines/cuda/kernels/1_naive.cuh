// Rung 1: one thread an output, straight from the equations. Every operand comes from global memory, once
// for each product it takes part in: 2 loads for a multiply and an add.
#pragma once

#include "sums.cuh"

constexpr int kThreads = 128;

// z = a W + b and f(z), for all rows. The first layer's a is x, by row id; the last one's f is output_rows'.
SHARED_BYTES(forward, 0);
extern "C" __global__ void __launch_bounds__(kThreads)
    forward(Samples samples, long long first, const real* below, const real* W, real* z, real* a, int rows,
            int n_in, int n_out) {
  const int i = blockIdx.x, j = blockIdx.y * kThreads + threadIdx.x;
  if (i >= rows || j >= n_out) return;
  const real* row = below ? below + static_cast<long long>(i) * n_in : samples.row(first + i);
  real sum = W[static_cast<long long>(n_in) * n_out + j];
  for (int k = 0; k < n_in; ++k) sum = fma_of(row[k], W[static_cast<long long>(k) * n_out + j], sum);
  const long long at = static_cast<long long>(i) * n_out + j;
  z[at] = sum;
  if (a) a[at] = Hidden::value(sum);
}

// Output activations, deltas and losses: one thread a row.
SHARED_BYTES(output_rows, 0);
extern "C" __global__ void __launch_bounds__(kThreads)
    output_rows(Samples samples, long long first, real* z, real* delta, double* row_losses, int rows) {
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= rows) return;
  const long long at = static_cast<long long>(i) * kOutputs;
  row_losses[first + i] = output_row<1>(samples, first + i, z + at, delta + at, 1, 0);
}

// The same without targets, for predictions.
SHARED_BYTES(activate_rows, 0);
extern "C" __global__ void __launch_bounds__(kThreads) activate_rows(real* z, int rows) {
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (i < rows) activate_row<1>(z + static_cast<long long>(i) * kOutputs, 1, 0);
}

// delta of the layer below = (delta W^T) f'(z), z and a being that layer's.
SHARED_BYTES(backward, 0);
extern "C" __global__ void __launch_bounds__(kThreads)
    backward(const real* delta, const real* W, const real* z, const real* a, real* delta_below, int rows,
             int n_in, int n_out) {
  const int i = blockIdx.x, k = blockIdx.y * kThreads + threadIdx.x;
  if (i >= rows || k >= n_in) return;
  real sum = 0;
  for (int j = 0; j < n_out; ++j) {
    sum = fma_of(delta[static_cast<long long>(i) * n_out + j], W[static_cast<long long>(k) * n_out + j], sum);
  }
  const long long at = static_cast<long long>(i) * n_in + k;
  delta_below[at] = sum * Hidden::derivative(a[at], z[at]);
}

// Gradient of one weight, or of a bias (the last row of W), and its step. `offset` is the layer's in the
// arena.
SHARED_BYTES(update, 0);
extern "C" __global__ void __launch_bounds__(kThreads)
    update(Samples samples, long long first, const real* below, const real* delta, Parameters parameters,
           long long offset, SolverSettings settings, const StepConstants* steps, int step, int rows,
           int n_in, int n_out) {
  const int k = blockIdx.x, j = blockIdx.y * kThreads + threadIdx.x;
  if (j >= n_out) return;
  const bool is_bias = k == n_in;
  real sum = 0;
  for (int i = 0; i < rows; ++i) {
    const real* row = below ? below + static_cast<long long>(i) * n_in : samples.row(first + i);
    const real d = delta[static_cast<long long>(i) * n_out + j];
    sum = is_bias ? sum + d : fma_of(row[k], d, sum);
  }
  take_step(parameters, settings, steps[step], offset + static_cast<long long>(k) * n_out + j, sum, is_bias);
}
