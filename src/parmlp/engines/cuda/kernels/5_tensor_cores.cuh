// Rung 5: wide nets, bound by arithmetic. Each operation is a product of two matrices by large tiles:
// operands come to shared memory by asynchronous copies some stages ahead, each warp keeps a part of the
// result in registers and multiplies by mma (or plain FMAs), and bias, activation, derivative or the solver's
// step are applied to the sums where they are. An epoch of these launches is one CUDA graph.
#pragma once

#include "copy_async.cuh"
#include "matrix_fragments.cuh"
#include "output_rows.cuh"

using Precision = PARMLP_PRECISION;

constexpr int kTile = PARMLP_TILE;  // rows and columns of a block's part of the result
constexpr int kDepth = 32;          // of a stage
constexpr int kStages = 3;
constexpr int kWarpRows = kTile / 2, kWarpColumns = kTile / 4;  // 2 x 4 warps
constexpr int kThreads = 256;

// Rows of shared memory are padded so that the reads of a fragment fall into different banks: tf32 reads k =
// 0..3 and bf16 k = 0, 2, 4, 6 of eight rows at a time.
constexpr bool kPairs = Precision::kDepth == 16;
constexpr int kStrideByK = kDepth + (kPairs ? 8 : 4), kStrideByResult = kTile + (kPairs ? 4 : 8);
constexpr int kStageOperand =
    kTile * kStrideByK > kDepth* kStrideByResult ? kTile * kStrideByK : kDepth * kStrideByResult;

struct StageStorage {
  alignas(16) float a[kStages][kStageOperand], b[kStages][kStageOperand];
};

using WarpSums = Sums<kWarpRows / 16, kWarpColumns / 8>;

// An operand in global memory: row(o) points to row o of a matrix, or is null outside of it; a row has
// `length` numbers. kByK: rows are the result's and lie along k; otherwise rows are k's and lie along the
// result.
template <bool kByK_, class Row>
struct Operand {
  static constexpr bool kByK = kByK_;
  Row row;
  int length;
  bool by_vectors;  // all rows begin at multiples of 16 bytes, and their lengths are such

  // Starts to copy the tile whose first row is `outer` and whose first column is `inner`.
  __device__ __forceinline__ void fetch(float* to, int outer, int inner, const float* somewhere) const {
    constexpr int kOuter = kByK ? kTile : kDepth, kInner = kByK ? kDepth : kTile;
    constexpr int kStride = kByK ? kStrideByK : kStrideByResult;
    for (int i = threadIdx.x; i < kOuter * kInner / 4; i += kThreads) {
      const int o = i / (kInner / 4), c = i % (kInner / 4) * 4;
      const float* const from = row(outer + o);
      float* const place = to + o * kStride + c;
      if (by_vectors) {
        const bool exists = from && inner + c < length;
        copy_async<16>(place, exists ? from + inner + c : somewhere, exists);
      } else {
        for (int q = 0; q < 4; ++q) {
          const bool exists = from && inner + c + q < length;
          copy_async<4>(place + q, exists ? from + inner + c + q : somewhere, exists);
        }
      }
    }
  }

  static __device__ __forceinline__ float read(const float* tile, int result, int k) {
    return kByK ? tile[result * kStrideByK + k] : tile[k * kStrideByResult + result];
  }
};

template <bool kByK, class Row>
__device__ Operand<kByK, Row> operand(Row row, const float* base, int length) {
  const bool by_vectors = length % 4 == 0 && reinterpret_cast<unsigned long long>(base) % 16 == 0;
  return {row, length, by_vectors};
}

// Sums of the block's tile of the result of `depth` products each. on_stage(b) sees each stage of b in shared
// memory.
template <class A, class B, class OnStage>
__device__ __forceinline__ void tile_product(WarpSums& sums, const A& a, const B& b, int depth,
                                             const float* somewhere, OnStage on_stage) {
  auto& s = shared_storage<StageStorage>();
  const int row = blockIdx.x * kTile, column = blockIdx.y * kTile, stages = ceil_div(depth, kDepth);
  const int warp = threadIdx.x / 32, warp_row = warp / 4 * kWarpRows, warp_column = warp % 4 * kWarpColumns;
  for (auto& of_rows : sums.at) {
    for (auto& of_fragment : of_rows) {
      for (float& sum : of_fragment) sum = 0;
    }
  }
  const auto fetch = [&](int stage) {
    if (stage < stages) {
      const int k = stage * kDepth;
      a.fetch(s.a[stage % kStages], A::kByK ? row : k, A::kByK ? k : row, somewhere);
      b.fetch(s.b[stage % kStages], B::kByK ? column : k, B::kByK ? k : column, somewhere);
    }
    copy_async_commit();  // an empty group at the end, so that the count below stays right
  };
  for (int stage = 0; stage < kStages - 1; ++stage) fetch(stage);
  for (int stage = 0; stage < stages; ++stage) {
    copy_async_wait<kStages - 2>();
    __syncthreads();  // everybody's copies are here, and nobody reads the stage that is fetched into next
    fetch(stage + kStages - 1);
    const float* const tile_a = s.a[stage % kStages];
    const float* const tile_b = s.b[stage % kStages];
#pragma unroll
    for (int k = 0; k < kDepth; k += Precision::kDepth) {
      Precision::accumulate(
          sums, [&](int m, int q) { return A::read(tile_a, warp_row + m, k + q); },
          [&](int q, int n) { return B::read(tile_b, warp_column + n, k + q); });
    }
    on_stage(tile_b);
  }
}

// Calls result(row, column, sum) for the sums this thread has, inside rows x columns.
template <class Result>
__device__ __forceinline__ void for_each_sum(const WarpSums& sums, int rows, int columns, Result result) {
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const int row = blockIdx.x * kTile + warp / 4 * kWarpRows,
            column = blockIdx.y * kTile + warp % 4 * kWarpColumns;
#pragma unroll
  for (int i = 0; i < kWarpRows / 16; ++i) {
#pragma unroll
    for (int j = 0; j < kWarpColumns / 8; ++j) {
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        const int m = row + 16 * i + g + q / 2 * 8, n = column + 8 * j + 2 * t + q % 2;
        if (m < rows && n < columns) result(m, n, sums.at[i][j][q]);
      }
    }
  }
}

// Rows of one layer's activations: of x by row id, or of a matrix.
struct LayerRows {
  Samples samples;
  long long first;
  const float* below;
  int rows, units;
  __device__ const float* operator()(int i) const {
    if (i >= rows) return nullptr;
    return below ? below + static_cast<long long>(i) * units : samples.row(first + i);
  }
};

struct MatrixRows {
  const float* matrix;
  int rows, columns;
  __device__ const float* operator()(int i) const {
    return i < rows ? matrix + static_cast<long long>(i) * columns : nullptr;
  }
};

// z = a W + b and f(z), for all rows. The first layer's a is x, by row id; the last one's f is output_rows'.
SHARED_BYTES(forward, sizeof(StageStorage));
extern "C" __global__ void __launch_bounds__(kThreads)
    forward(Samples samples, long long first, const float* below, const float* W, float* z, float* a,
            int rows, int n_in, int n_out) {
  const float* const base = below ? below : samples.x;
  WarpSums sums;
  tile_product(sums, operand<true>(LayerRows{samples, first, below, rows, n_in}, base, n_in),
               operand<false>(MatrixRows{W, n_in, n_out}, W, n_out), n_in, base, [](const float*) {});
  for_each_sum(sums, rows, n_out, [&](int i, int j, float sum) {
    const long long at = static_cast<long long>(i) * n_out + j;
    const float with_bias = sum + W[static_cast<long long>(n_in) * n_out + j];
    if (!a || Hidden::kNeedsZ) z[at] = with_bias;
    if (a) a[at] = Hidden::value(with_bias);
  });
}

// delta of the layer below = (delta W^T) f'(z), z and a being that layer's.
SHARED_BYTES(backward, sizeof(StageStorage));
extern "C" __global__ void __launch_bounds__(kThreads)
    backward(const float* delta, const float* W, const float* z, const float* a, float* delta_below, int rows,
             int n_in, int n_out) {
  WarpSums sums;
  tile_product(sums, operand<true>(MatrixRows{delta, rows, n_out}, delta, n_out),
               operand<true>(MatrixRows{W, n_in, n_out}, W, n_out), n_out, delta, [](const float*) {});
  for_each_sum(sums, rows, n_in, [&](int i, int k, float sum) {
    const long long at = static_cast<long long>(i) * n_in + k;
    delta_below[at] = sum * Hidden::derivative(a[at], Hidden::kNeedsZ ? z[at] : 0);
  });
}

// Gradients of weights and their steps. The blocks of the first rows of W also sum the deltas themselves,
// stage by stage, which is the gradient of the bias. `offset` is the layer's in the arena.
SHARED_BYTES(update, sizeof(StageStorage));
extern "C" __global__ void __launch_bounds__(kThreads)
    update(Samples samples, long long first, const float* below, const float* delta, Parameters parameters,
           long long offset, SolverSettings settings, const StepConstants* steps, int step, int rows,
           int n_in, int n_out) {
  const float* const base = below ? below : samples.x;
  const bool has_bias = blockIdx.x == 0 && threadIdx.x < kTile;
  float bias_sum = 0;
  WarpSums sums;
  tile_product(sums, operand<false>(LayerRows{samples, first, below, rows, n_in}, base, n_in),
               operand<false>(MatrixRows{delta, rows, n_out}, delta, n_out), rows, base,
               [&](const float* deltas) {
                 if (!has_bias) return;
                 for (int i = 0; i < kDepth; ++i) {
                   bias_sum += Precision::round(deltas[i * kStrideByResult + threadIdx.x]);
                 }
               });
  const StepConstants constants = steps[step];
  for_each_sum(sums, n_in, n_out, [&](int k, int j, float sum) {
    take_step(parameters, settings, constants, offset + static_cast<long long>(k) * n_out + j, sum, false);
  });
  const int j = blockIdx.y * kTile + threadIdx.x;
  if (has_bias && j < n_out) {
    take_step(parameters, settings, constants, offset + static_cast<long long>(n_in) * n_out + j, bias_sum,
              true);
  }
}
