// What every program has besides its step: the sums behind an epoch's loss, and the search for NaN.
#pragma once

#include "losses.cuh"
#include "solvers.cuh"

constexpr int kSumThreads = 256;

// Sum over the block's threads, in thread 0: each warp by lanes, then the warps one after the other. A kernel
// does this once; a second sum would need a barrier before it writes per_warp again.
template <int kThreads>
__device__ double block_sum(double value, double* per_warp) {
  value = sum_over_lanes<32>(value);
  if (threadIdx.x % 32 == 0) per_warp[threadIdx.x / 32] = value;
  __syncthreads();
  double total = 0;
  if (threadIdx.x == 0) {
    for (int warp = 0; warp < kThreads / 32; ++warp) total += per_warp[warp];
  }
  return total;
}

struct SumStorage {
  double per_warp[kSumThreads / 32];
};

// Sum of the squares of all weights, biases apart, before step `step` changes them: one block's share each.
SHARED_BYTES(square_sums, sizeof(SumStorage));
extern "C" __global__ void __launch_bounds__(kSumThreads)
    square_sums(const real* parameters, double* penalties, int step) {
  auto& s = shared_storage<SumStorage>();
  double sum = 0;
  for (int l = 0; l < kLayers; ++l) {
    const real* W = parameters + layer_offset(l);
    const long long size = static_cast<long long>(units_in(l)) * units_out(l);
    for (long long i = blockIdx.x * kSumThreads + threadIdx.x; i < size; i += gridDim.x * kSumThreads) {
      sum += double(W[i]) * double(W[i]);
    }
  }
  sum = block_sum<kSumThreads>(sum, s.per_warp);
  if (threadIdx.x == 0) penalties[static_cast<long long>(step) * gridDim.x + blockIdx.x] = sum;
}

// The loss of minibatch `step`, by a block of kSumThreads, from its rows' losses and its shares of the L2
// term's sum; thread 0 writes it.
__device__ inline void sum_step_loss(const double* row_losses, const double* penalties, int penalty_shares,
                                     const StepConstants* steps, real alpha, double* losses, int batch_size,
                                     int rows, long long step, double* per_warp) {
  const long long first = step * batch_size;
  const int in_step = static_cast<int>(rows - first < batch_size ? rows - first : batch_size);
  double loss = 0, penalty = 0;
  for (int i = threadIdx.x; i < in_step; i += kSumThreads) loss += row_losses[first + i];
  for (int i = threadIdx.x; i < penalty_shares; i += kSumThreads)
    penalty += penalties[step * penalty_shares + i];
  loss = block_sum<kSumThreads>(loss + 0.5 * alpha * penalty, per_warp);
  if (threadIdx.x == 0) losses[step] = loss * steps[step].inverse_weight;
}

// The loss of each minibatch, one block a step.
SHARED_BYTES(step_losses, sizeof(SumStorage));
extern "C" __global__ void __launch_bounds__(kSumThreads)
    step_losses(const double* row_losses, const double* penalties, int penalty_shares,
                const StepConstants* steps, real alpha, double* losses, int batch_size, int rows) {
  auto& s = shared_storage<SumStorage>();
  sum_step_loss(row_losses, penalties, penalty_shares, steps, alpha, losses, batch_size, rows, blockIdx.x,
                s.per_warp);
}

// Sets *found where a parameter is NaN or infinite. Threads that find one all write the same.
SHARED_BYTES(find_nonfinite, 0);
extern "C" __global__ void __launch_bounds__(kSumThreads) find_nonfinite(const real* parameters, int* found) {
  for (long long i = blockIdx.x * kSumThreads + threadIdx.x; i < kParameters; i += gridDim.x * kSumThreads) {
    const real w = parameters[i];
    if (!(w - w == 0)) *found = 1;
  }
}
