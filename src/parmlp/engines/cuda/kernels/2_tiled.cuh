// Rung 2: the same operations, each a product of two matrices by tiles of 32 x 32 in shared memory. Every
// number is loaded once a tile and used 32 times.
//
// 2a has the tiles as they are. In two of the three products a warp then reads down a column, and the 32
// numbers of a column lie in the same memory bank: 32 reads in turn instead of one. 2b differs by kPadding
// alone: with a row of 33 numbers a column's numbers lie in 32 banks.
#pragma once

#include "output_rows.cuh"

constexpr int kTile = 32, kThreads = kTile * kTile;
constexpr int kPadding = PARMLP_TILE_PADDING;

struct Tiles {
  real a[kTile][kTile + kPadding], b[kTile][kTile + kPadding];
};

// Sum over k of left(row, k) right(k, column), for this thread's row and column of the block's tile of the
// result. Zero is what left and right must return outside their matrices. kTransposed says which index
// neighbours in memory share, so that a warp's loads are neighbours too: of left the row, or of right the k.
template <bool kLeftTransposed, bool kRightTransposed, class Left, class Right>
__device__ real tile_product(int depth, Left left, Right right) {
  auto& s = shared_storage<Tiles>();
  const int fast = threadIdx.x % kTile,
            slow = threadIdx.x / kTile;  // this thread's column and row of the result
  const int row = blockIdx.x * kTile, column = blockIdx.y * kTile;
  real sum = 0;
  for (int k = 0; k < depth; k += kTile) {
    s.a[slow][fast] = kLeftTransposed ? left(row + fast, k + slow) : left(row + slow, k + fast);
    s.b[slow][fast] = kRightTransposed ? right(k + fast, column + slow) : right(k + slow, column + fast);
    __syncthreads();
    for (int i = 0; i < kTile; ++i) {
      const real a = kLeftTransposed ? s.a[i][slow] : s.a[slow][i];
      const real b = kRightTransposed ? s.b[fast][i] : s.b[i][fast];  // the column read
      sum = fma_of(a, b, sum);
    }
    __syncthreads();
  }
  return sum;
}

struct Place {
  int row, column;
};

__device__ inline Place own_place() {
  return {static_cast<int>(blockIdx.x * kTile + threadIdx.x / kTile),
          static_cast<int>(blockIdx.y * kTile + threadIdx.x % kTile)};
}

// z = a W + b and f(z), for all rows. The first layer's a is x, by row id; the last one's f is output_rows'.
SHARED_BYTES(forward, sizeof(Tiles));
extern "C" __global__ void __launch_bounds__(kThreads)
    forward(Samples samples, long long first, const real* below, const real* W, real* z, real* a, int rows,
            int n_in, int n_out) {
  const real sum = tile_product<false, false>(
      n_in,
      [=](int i, int k) {
        if (i >= rows || k >= n_in) return real(0);
        return below ? below[static_cast<long long>(i) * n_in + k] : samples.row(first + i)[k];
      },
      [=](int k, int j) {
        return k < n_in && j < n_out ? W[static_cast<long long>(k) * n_out + j] : real(0);
      });
  const auto [i, j] = own_place();
  if (i >= rows || j >= n_out) return;
  const real with_bias = sum + W[static_cast<long long>(n_in) * n_out + j];
  const long long at = static_cast<long long>(i) * n_out + j;
  z[at] = with_bias;
  if (a) a[at] = Hidden::value(with_bias);
}

// delta of the layer below = (delta W^T) f'(z), z and a being that layer's.
SHARED_BYTES(backward, sizeof(Tiles));
extern "C" __global__ void __launch_bounds__(kThreads)
    backward(const real* delta, const real* W, const real* z, const real* a, real* delta_below, int rows,
             int n_in, int n_out) {
  const real sum = tile_product<false, true>(
      n_out,
      [=](int i, int j) {
        return i < rows && j < n_out ? delta[static_cast<long long>(i) * n_out + j] : real(0);
      },
      [=](int j, int k) {
        return j < n_out && k < n_in ? W[static_cast<long long>(k) * n_out + j] : real(0);
      });
  const auto [i, k] = own_place();
  if (i >= rows || k >= n_in) return;
  const long long at = static_cast<long long>(i) * n_in + k;
  delta_below[at] = sum * Hidden::derivative(a[at], z[at]);
}

// Gradients of weights and their steps. A bias is the weight of an input that is always 1: the last row of W.
SHARED_BYTES(update, sizeof(Tiles));
extern "C" __global__ void __launch_bounds__(kThreads)
    update(Samples samples, long long first, const real* below, const real* delta, Parameters parameters,
           long long offset, SolverSettings settings, const StepConstants* steps, int step, int rows,
           int n_in, int n_out) {
  const real sum = tile_product<true, false>(
      rows,
      [=](int k, int i) {
        if (i >= rows || k > n_in) return real(0);
        if (k == n_in) return real(1);
        return below ? below[static_cast<long long>(i) * n_in + k] : samples.row(first + i)[k];
      },
      [=](int i, int j) {
        return i < rows && j < n_out ? delta[static_cast<long long>(i) * n_out + j] : real(0);
      });
  const auto [k, j] = own_place();
  if (k > n_in || j >= n_out) return;
  take_step(parameters, settings, steps[step], offset + static_cast<long long>(k) * n_out + j, sum,
            k == n_in);
}
