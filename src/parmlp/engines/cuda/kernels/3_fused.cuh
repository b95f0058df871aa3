// Rung 3: two launches a step. In the first a block takes a few rows through all layers, forward and back to
// all deltas, without leaving shared memory. In the second each block owns a tile of one layer's weights,
// sums its gradient over the minibatch and takes the solver's step on the spot. The CPU engines' two-phase
// schedule.
#pragma once

#include "sums.cuh"

constexpr int kThreads = 256;
constexpr int kRows =
    PARMLP_ROW_TILE;  // rows of a block in the first phase: as many as its shared memory holds
constexpr int kGroup = kRows < 4 ? kRows : 4;  // rows that a thread keeps sums of

constexpr int kHiddenUnits = unit_offset(kLayers - 1);

// All that a block knows of its rows: [unit][row], so that a thread finds its rows side by side.
struct RowStorage {
  real x[kFeatures * kRows];
  real a[(kHiddenUnits + kOutputs) * kRows];  // of all layers, one after the other; the output's begins as z
  real z[Hidden::kNeedsZ ? kHiddenUnits * kRows : 1];
  real delta[2][kWidest * kRows];
};

// For every output and group of rows of an n_out-wide product: sums over k of rows[k] weight(k, output).
template <int kIn, int kOut, class Weight, class Store>
__device__ void multiply_rows(const real* rows, Weight weight, Store store) {
  for (int item = threadIdx.x; item < kOut * (kRows / kGroup); item += kThreads) {
    const int j = item % kOut, group = item / kOut * kGroup;
    real sums[kGroup] = {};
    for (int k = 0; k < kIn; ++k) {
      const real w = weight(k, j);
      for (int r = 0; r < kGroup; ++r) sums[r] = fma_of(rows[k * kRows + group + r], w, sums[r]);
    }
    for (int r = 0; r < kGroup; ++r) store(j, group + r, sums[r]);
  }
}

// Where layer l's matrix begins in `activations` and `deltas`: (max_rows, units) of one layer after the
// other.
__device__ inline long long matrix_offset(int l, int max_rows) {
  return static_cast<long long>(unit_offset(l)) * max_rows;
}

// Activations and deltas of all rows.
SHARED_BYTES(train_rows, sizeof(RowStorage));
extern "C" __global__ void __launch_bounds__(kThreads)
    train_rows(Samples samples, long long first, const real* parameters, real* activations, real* deltas,
               double* row_losses, int rows, int max_rows) {
  auto& s = shared_storage<RowStorage>();
  const int row = blockIdx.x * kRows;
  for (int i = threadIdx.x; i < kFeatures * kRows; i += kThreads) {
    const int r = i / kFeatures, k = i % kFeatures;
    s.x[k * kRows + r] = row + r < rows ? samples.row(first + row + r)[k] : real(0);
  }
  __syncthreads();

  for_each_layer<0, kLayers>([&](auto layer) {
    constexpr int l = layer, n_in = units_in(l), n_out = units_out(l);
    const real* const W = parameters + layer_offset(l);
    const real* const below = l == 0 ? s.x : s.a + unit_offset(l - 1) * kRows;
    multiply_rows<n_in, n_out>(
        below, [&](int k, int j) { return W[static_cast<long long>(k) * n_out + j]; },
        [&](int j, int r, real sum) {
          const real z = sum + W[static_cast<long long>(n_in) * n_out + j];
          const int at = (unit_offset(l) + j) * kRows + r;
          if constexpr (l == kLayers - 1) {
            s.a[at] = z;
          } else {
            const real a = Hidden::value(z);
            s.a[at] = a;
            if constexpr (Hidden::kNeedsZ) s.z[at] = z;
            if (row + r < rows) {
              activations[matrix_offset(l, max_rows) + static_cast<long long>(row + r) * n_out + j] = a;
            }
          }
        });
    __syncthreads();
  });

  constexpr int last = kLayers - 1;
  for (int r = threadIdx.x / 32; r < kRows; r += kThreads / 32) {
    const int lane = threadIdx.x % 32;
    real* const delta = s.delta[last % 2] + r;
    if (row + r < rows) {
      const double loss =
          output_row<32>(samples, first + row + r, s.a + kHiddenUnits * kRows + r, delta, kRows, lane);
      if (lane == 0) row_losses[first + row + r] = loss;
      for (int j = lane; j < kOutputs; j += 32) {
        deltas[matrix_offset(last, max_rows) + static_cast<long long>(row + r) * kOutputs + j] =
            delta[j * kRows];
      }
    } else {
      for (int j = lane; j < kOutputs; j += 32) delta[j * kRows] = 0;
    }
  }

  for_each_layer_down<kLayers - 1, 1>([&](auto layer) {
    constexpr int l = layer, n_in = units_in(l), n_out = units_out(l);
    const real* const W = parameters + layer_offset(l);
    __syncthreads();
    multiply_rows<n_out, n_in>(
        s.delta[l % 2], [&](int j, int k) { return W[static_cast<long long>(k) * n_out + j]; },
        [&](int k, int r, real sum) {
          const int at = (unit_offset(l - 1) + k) * kRows + r;
          const real delta = sum * Hidden::derivative(s.a[at], Hidden::kNeedsZ ? s.z[at] : real(0));
          s.delta[(l - 1) % 2][k * kRows + r] = delta;
          if (row + r < rows) {
            deltas[matrix_offset(l - 1, max_rows) + static_cast<long long>(row + r) * n_in + k] = delta;
          }
        });
  });
}

constexpr int kTile = 32;
constexpr int kTileRows = kTile * kTile / kThreads;  // weights of a thread, one below the other

struct UpdateStorage {
  real a[kTile][kTile], delta[kTile][kTile];
  double per_warp[kThreads / 32];
};

__device__ inline constexpr int layer_tiles(int l) {
  return ceil_div(units_in(l) + 1, kTile) * ceil_div(units_out(l), kTile);
}

__device__ inline constexpr int first_tile(int layer) {
  int tiles = 0;
  for (int l = 0; l < layer; ++l) tiles += layer_tiles(l);
  return tiles;
}

constexpr int update_tiles = first_tile(kLayers);  // a host constant

// Gradients of one tile of weights and their steps. A bias is the weight of an input that is always 1.
SHARED_BYTES(update_weights, sizeof(UpdateStorage));
extern "C" __global__ void __launch_bounds__(kThreads)
    update_weights(Samples samples, long long first, const real* activations, const real* deltas,
                   Parameters parameters, SolverSettings settings, const StepConstants* steps,
                   double* penalties, int step, int rows, int max_rows) {
  auto& s = shared_storage<UpdateStorage>();
  const int column = threadIdx.x % kTile, row_group = threadIdx.x / kTile;
  double squares = 0;
  for_each_layer<0, kLayers>([&](auto layer) {
    constexpr int l = layer, n_in = units_in(l), n_out = units_out(l);
    const int tile = blockIdx.x - first_tile(l);
    if (tile < 0 || tile >= layer_tiles(l)) return;
    const int k = tile / ceil_div(n_out, kTile) * kTile, j = tile % ceil_div(n_out, kTile) * kTile + column;
    const real* const below = l == 0 ? nullptr : activations + matrix_offset(l - 1, max_rows);
    const real* const delta = deltas + matrix_offset(l, max_rows);
    real sums[kTileRows] = {};
    for (int i = 0; i < rows; i += kTile) {
      for (int part = 0; part < kTileRows; ++part) {
        const int r = row_group + part * (kThreads / kTile), own_k = k + column;
        const bool exists = i + r < rows;
        real a = 0;
        if (exists && own_k < n_in) {
          a = l == 0 ? samples.row(first + i + r)[own_k]
                     : below[static_cast<long long>(i + r) * n_in + own_k];
        } else if (exists && own_k == n_in) {
          a = 1;
        }
        s.a[r][column] = a;
        s.delta[r][column] = exists && j < n_out ? delta[static_cast<long long>(i + r) * n_out + j] : real(0);
      }
      __syncthreads();
      for (int r = 0; r < kTile; ++r) {
        const real d = s.delta[r][column];
        for (int part = 0; part < kTileRows; ++part) {
          sums[part] = fma_of(s.a[r][row_group * kTileRows + part], d, sums[part]);
        }
      }
      __syncthreads();
    }
    for (int part = 0; part < kTileRows; ++part) {
      const int own_k = k + row_group * kTileRows + part;
      if (own_k <= n_in && j < n_out) {
        const long long index = layer_offset(l) + static_cast<long long>(own_k) * n_out + j;
        squares += take_step(parameters, settings, steps[step], index, sums[part], own_k == n_in);
      }
    }
  });
  if (settings.alpha != 0) {
    squares = block_sum<kThreads>(squares, s.per_warp);
    if (threadIdx.x == 0) penalties[static_cast<long long>(step) * gridDim.x + blockIdx.x] = squares;
  }
}
