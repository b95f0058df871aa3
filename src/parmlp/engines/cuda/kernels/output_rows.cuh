// The last layer, a warp a row: for programs that have its z of the whole minibatch in global memory.
#pragma once

#include "sums.cuh"

constexpr int kRowThreads = 128;  // of kernels that give a warp to each row

// Output activations, deltas and losses: one warp a row.
SHARED_BYTES(output_rows, 0);
extern "C" __global__ void __launch_bounds__(kRowThreads)
    output_rows(Samples samples, long long first, real* z, real* delta, double* row_losses, int rows) {
  const int i = (blockIdx.x * kRowThreads + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (i >= rows) return;
  const long long at = static_cast<long long>(i) * kOutputs;
  const double loss = output_row<32>(samples, first + i, z + at, delta + at, 1, lane);
  if (lane == 0) row_losses[first + i] = loss;
}

// The same without targets, for predictions.
SHARED_BYTES(activate_rows, 0);
extern "C" __global__ void __launch_bounds__(kRowThreads) activate_rows(real* z, int rows) {
  const int i = (blockIdx.x * kRowThreads + threadIdx.x) / 32;
  if (i < rows) activate_row<32>(z + static_cast<long long>(i) * kOutputs, 1, threadIdx.x % 32);
}
