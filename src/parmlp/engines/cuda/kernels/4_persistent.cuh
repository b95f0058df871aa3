// Rung 4: many steps a launch. Weights and moments stay in the shared memory of one block, or of the blocks
// of one cluster, for all steps; only rows are read and row losses written. Clusters know nothing of each
// other, so a launch has as many as there are networks to train side by side.
//
// Block b of the cluster owns a slice of every layer's *inputs*: those rows of W, and those columns of a. So
//   forward    each block multiplies its slice of a by its rows of W: a part of z for every unit. After a
//   barrier
//              block b adds the parts of the units of its next slice, which gives it its slice of the next a.
//   output     block b adds the parts of all outputs for its share of the minibatch's rows, and makes their
//   deltas. backward   with all deltas of a layer's outputs at hand a block makes those of its slice of
//   inputs; the others
//              collect them after a barrier. Gradients of its rows of W need nothing else.
// Parts are added in the order of the blocks, so the sums' order is fixed. Biases are in every block.
//
// Blocks talk through `exchange`: what is written before a barrier is read after it. There are two, used in
// turns, so that the next round's writes leave alone what slower blocks still read.
#pragma once

#include "cluster.cuh"
#include "copy_async.cuh"
#include "matrix_fragments.cuh"
#include "sums.cuh"

using Precision = PARMLP_PRECISION;

constexpr int kBlocks = PARMLP_CLUSTER_BLOCKS;
constexpr int kBatch = PARMLP_BATCH_ROWS;  // the most rows of a minibatch; a short one is padded with zeros
constexpr int kThreads = PARMLP_BLOCK_THREADS;

__device__ inline constexpr int odd(int n) { return n | 1; }  // strides that spread a column over the banks

__device__ inline constexpr int slice_of(int l) { return ceil_div(units_in(l), kBlocks); }

// Where a block keeps its rows of W of layer l, then its copy of the bias; moments are laid out the same.
__device__ inline constexpr int slice_offset(int layer) {
  int offset = 0;
  for (int l = 0; l < layer; ++l) offset += (slice_of(l) + 1) * odd(units_out(l));
  return offset;
}

// Where a block keeps its slice of the inputs of layer l > 0, for all rows of the minibatch.
__device__ inline constexpr int activation_offset(int layer) {
  int offset = 0;
  for (int l = 1; l < layer; ++l) offset += kBatch * odd(slice_of(l));
  return offset;
}

constexpr int kSliceParameters = slice_offset(kLayers);
constexpr int kSliceActivations = activation_offset(kLayers);
constexpr int kRowShare = ceil_div(kBatch, kBlocks);

struct ClusterStorage {
  real parameters[(1 + Solver::kMoments) * kSliceParameters];
  real x[2][kBatch * odd(slice_of(0))];  // this step's rows and the next one's
  real a[kSliceActivations + 1];
  real z[Hidden::kNeedsZ ? kSliceActivations + 1 : 1];
  real delta[kBatch * odd(kWidest)];
  real exchange[2][kBatch * kWidest];
};

// result(m, n) = sum over k of left(m, k) right(k, n), for all m < kM and n < kN: 4 x 4 results a thread at a
// time, which lie apart so that neighbouring threads read neighbouring numbers.
template <int kM, int kN, int kK, class Left, class Right, class Result>
__device__ __forceinline__ void product_by_threads(Left left, Right right, Result result) {
  constexpr int kSide = 4, kRowsApart = ceil_div(kM, kSide), kColumnsApart = ceil_div(kN, kSide);
  for (int item = threadIdx.x; item < kRowsApart * kColumnsApart; item += kThreads) {
    const int row = item / kColumnsApart, column = item % kColumnsApart;
    int m[kSide], n[kSide];
    for (int q = 0; q < kSide; ++q) {
      // past the end: any place will do, the result is dropped
      m[q] = row + q * kRowsApart < kM ? row + q * kRowsApart : 0;
      n[q] = column + q * kColumnsApart < kN ? column + q * kColumnsApart : 0;
    }
    real sums[kSide][kSide] = {};
#pragma unroll 4
    for (int k = 0; k < kK; ++k) {
      real l[kSide], r[kSide];
      for (int q = 0; q < kSide; ++q) l[q] = left(m[q], k);
      for (int q = 0; q < kSide; ++q) r[q] = right(k, n[q]);
      for (int p = 0; p < kSide; ++p) {
        for (int q = 0; q < kSide; ++q) sums[p][q] = fma_of(l[p], r[q], sums[p][q]);
      }
    }
    for (int p = 0; p < kSide; ++p) {
      for (int q = 0; q < kSide; ++q) {
        if (row + p * kRowsApart < kM && column + q * kColumnsApart < kN) result(m[p], n[q], sums[p][q]);
      }
    }
  }
}

// The same on tensor cores, 16 x 32 results a warp at a time; zeros where a fragment sticks out.
template <int kM, int kN, int kK, class Left, class Right, class Result>
__device__ __forceinline__ void product_by_warps(Left left, Right right, Result result) {
  constexpr int kColumns = 4, kRowTiles = ceil_div(kM, 16), kColumnTiles = ceil_div(kN, 8 * kColumns);
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  for (int tile = threadIdx.x / 32; tile < kRowTiles * kColumnTiles; tile += kThreads / 32) {
    const int row = tile / kColumnTiles * 16, column = tile % kColumnTiles * 8 * kColumns;
    Sums<1, kColumns> sums = {};
    for (int k = 0; k < kK; k += Precision::kDepth) {
      Precision::accumulate(
          sums, [&](int m, int q) { return row + m < kM && k + q < kK ? left(row + m, k + q) : 0; },
          [&](int q, int n) { return column + n < kN && k + q < kK ? right(k + q, column + n) : 0; });
    }
    for (int j = 0; j < kColumns; ++j) {
      for (int q = 0; q < 4; ++q) {
        const int m = row + g + q / 2 * 8, n = column + 8 * j + 2 * t + q % 2;
        if (m < kM && n < kN) result(m, n, sums.at[0][j][q]);
      }
    }
  }
}

template <int kM, int kN, int kK, class Left, class Right, class Result>
__device__ __forceinline__ void block_product(Left left, Right right, Result result) {
  if constexpr (Precision::kDepth == 1) {
    product_by_threads<kM, kN, kK>(left, right, result);
  } else {
    product_by_warps<kM, kN, kK>(left, right, result);
  }
}

// Copies this block's slice of all parameters and moments from the arenas (kLoad), or back to them.
template <bool kLoad>
__device__ void copy_slices(const Parameters& parameters, real* own, int rank) {
  real* const arenas[] = {parameters.values, parameters.moment_0, parameters.moment_1};
  for_each_layer<0, kLayers>([&](auto layer) {
    constexpr int l = layer, n_in = units_in(l), n_out = units_out(l), slice = slice_of(l);
    for (int i = threadIdx.x; i < (slice + 1) * n_out; i += kThreads) {
      const int k = i / n_out, j = i % n_out;
      const int from = k == slice ? n_in : rank * slice + k;  // row of W; the last is the bias
      const bool exists = k == slice || from < n_in;
      const int at = slice_offset(l) + k * odd(n_out) + j;
      const long long index = layer_offset(l) + static_cast<long long>(from) * n_out + j;
      for (int m = 0; m <= Solver::kMoments; ++m) {
        if (kLoad) {
          own[m * kSliceParameters + at] = exists ? arenas[m][index] : real(0);
        } else if (exists && (k < slice || rank == 0)) {
          arenas[m][index] = own[m * kSliceParameters + at];
        }
      }
    }
  });
}

// Starts to copy this block's columns of a step's rows.
__device__ inline void fetch_rows(const Samples& samples, long long first, int rows, int rank, real* x) {
  constexpr int slice = slice_of(0);
  for (int i = threadIdx.x; i < kBatch * slice; i += kThreads) {
    const int r = i / slice, k = i % slice;
    const bool exists = r < rows && rank * slice + k < kFeatures;
    const real* const from = exists ? samples.row(first + r) + rank * slice + k : samples.x;
    copy_async<sizeof(real)>(x + r * odd(slice) + k, from, exists);
  }
  copy_async_commit();
}

// The steps of one network, for one cluster; an array of them lies on the device. programs.py fills it in.
struct NetworkSteps {
  Samples samples;
  Parameters parameters;
  const StepConstants* steps;
  double *row_losses, *penalties, *losses;  // one a row; one a step and warp; one a step
  int first_step, end_step, batch_size, total_rows;
  SolverSettings settings;
};

constexpr int kPenaltyShares = kBlocks * (kThreads / 32);  // of a step

SHARED_BYTES(train_steps, sizeof(ClusterStorage));
extern "C" __global__ void __launch_bounds__(kThreads, 1) train_steps(const NetworkSteps* networks) {
  auto& s = shared_storage<ClusterStorage>();
  const NetworkSteps network = networks[blockIdx.x / kBlocks];
  const int rank = cluster_rank<kBlocks>(), warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const Parameters own = {s.parameters, s.parameters + kSliceParameters, s.parameters + 2 * kSliceParameters};
  const auto rows_of = [&](long long step) {
    const long long left = network.total_rows - step * network.batch_size;
    return static_cast<int>(left < network.batch_size ? left : network.batch_size);
  };
  int turn = 0;  // of the exchanges

  copy_slices<true>(network.parameters, s.parameters, rank);
  fetch_rows(network.samples, static_cast<long long>(network.first_step) * network.batch_size,
             rows_of(network.first_step), rank, s.x[network.first_step % 2]);

  for (int step = network.first_step; step < network.end_step; ++step) {
    const long long first = static_cast<long long>(step) * network.batch_size;
    const int rows = rows_of(step);
    real* const x = s.x[step % 2];
    copy_async_wait<0>();
    __syncthreads();  // x is here, and the last step's weights are
    if (step + 1 < network.end_step) {
      fetch_rows(network.samples, first + network.batch_size, rows_of(step + 1), rank, s.x[(step + 1) % 2]);
    }

    for_each_layer<0, kLayers>([&](auto layer) {
      constexpr int l = layer, n_out = units_out(l), slice = slice_of(l);
      const real* const a = l == 0 ? x : s.a + activation_offset(l);
      const real* const W = s.parameters + slice_offset(l);
      const real* const bias = W + slice * odd(n_out);
      real* const part = s.exchange[turn];
      block_product<kBatch, n_out, slice>([&](int r, int k) { return a[r * odd(slice) + k]; },
                                          [&](int k, int j) { return W[k * odd(n_out) + j]; },
                                          [&](int r, int j, real sum) { part[r * n_out + j] = sum; });
      cluster_sync<kBlocks>();
      turn ^= 1;
      const auto sum_of_parts = [&](int r, int j) {
        real sum = bias[j];
        for (int b = 0; b < kBlocks; ++b) sum += of_block<kBlocks>(part, b)[r * n_out + j];
        return sum;
      };
      if constexpr (l < kLayers - 1) {
        constexpr int next = slice_of(l + 1);
        for (int i = threadIdx.x; i < kBatch * next; i += kThreads) {
          const int r = i / next, k = i % next, j = rank * next + k;
          const real z = j < n_out ? sum_of_parts(r, j) : real(0);
          const int at = activation_offset(l + 1) + r * odd(next) + k;
          s.a[at] = j < n_out ? Hidden::value(z) : real(0);
          if constexpr (Hidden::kNeedsZ) s.z[at] = z;
        }
        __syncthreads();
      } else {
        // a warp a row; z lies where the row's deltas will, in the part of the exchange that others do not
        // read yet
        real* const own_rows = s.exchange[turn];
        for (int share = warp; share < kRowShare; share += kThreads / 32) {
          const int r = rank * kRowShare + share;
          real* const row = own_rows + share * kOutputs;
          if (r < rows) {
            for (int j = lane; j < kOutputs; j += 32) row[j] = sum_of_parts(r, j);
            const double loss = output_row<32>(network.samples, first + r, row, row, 1, lane);
            if (lane == 0) network.row_losses[first + r] = loss;
          } else {
            for (int j = lane; j < kOutputs; j += 32) row[j] = 0;
          }
        }
        cluster_sync<kBlocks>();
        turn ^= 1;
        for (int i = threadIdx.x; i < kBatch * kOutputs; i += kThreads) {
          const int r = i / kOutputs, j = i % kOutputs;
          s.delta[r * odd(kOutputs) + j] =
              of_block<kBlocks>(own_rows, r / kRowShare)[r % kRowShare * kOutputs + j];
        }
        __syncthreads();
      }
    });

    const StepConstants constants = network.steps[step];
    double squares = 0;
    for_each_layer_down<kLayers - 1, 0>([&](auto layer) {
      constexpr int l = layer, n_out = units_out(l), slice = slice_of(l);
      const real* const a = l == 0 ? x : s.a + activation_offset(l);
      const real* const W = s.parameters + slice_offset(l);
      real* const own_deltas = s.exchange[turn];
      if constexpr (l > 0) {
        block_product<kBatch, slice, n_out>([&](int r, int j) { return s.delta[r * odd(n_out) + j]; },
                                            [&](int j, int k) { return W[k * odd(n_out) + j]; },
                                            [&](int r, int k, real sum) {
                                              const int at = activation_offset(l) + r * odd(slice) + k;
                                              own_deltas[r * slice + k] =
                                                  sum * Hidden::derivative(
                                                            s.a[at], Hidden::kNeedsZ ? s.z[at] : real(0));
                                            });
        __syncthreads();  // W has been read
      }
      block_product<slice + 1, n_out, kBatch>(
          [&](int k, int r) { return k < slice ? a[r * odd(slice) + k] : real(1); },
          [&](int r, int j) { return s.delta[r * odd(n_out) + j]; },
          [&](int k, int j, real sum) {
            squares += take_step(own, network.settings, constants, slice_offset(l) + k * odd(n_out) + j, sum,
                                 k == slice);
          });
      if constexpr (l > 0) {
        constexpr int n_in = units_in(l);
        cluster_sync<kBlocks>();
        turn ^= 1;
        for (int i = threadIdx.x; i < kBatch * n_in; i += kThreads) {
          const int r = i / n_in, k = i % n_in;
          s.delta[r * odd(n_in) + k] = of_block<kBlocks>(own_deltas, k / slice)[r * slice + k % slice];
        }
        __syncthreads();
      }
    });
    if (network.settings.alpha != 0) {
      squares = sum_over_lanes<32>(squares);
      if (lane == 0) {
        network.penalties[static_cast<long long>(step) * kPenaltyShares + rank * (kThreads / 32) + warp] =
            squares;
      }
    }
  }

  cluster_sync<kBlocks>();  // the last weights are here, and nobody reads this block's memory any more
  copy_slices<false>(network.parameters, s.parameters, rank);
}

// The loss of each minibatch: one block a step along x, a network along y.
SHARED_BYTES(network_losses, sizeof(SumStorage));
extern "C" __global__ void __launch_bounds__(kSumThreads) network_losses(const NetworkSteps* networks) {
  auto& s = shared_storage<SumStorage>();
  const NetworkSteps network = networks[blockIdx.y];
  const long long step = blockIdx.x;
  if (step * network.batch_size >= network.total_rows) return;  // others have more steps
  sum_step_loss(network.row_losses, network.penalties, network.settings.alpha != 0 ? kPenaltyShares : 0,
                network.steps, network.settings.alpha, network.losses, network.batch_size, network.total_rows,
                step, s.per_warp);
}
