// What the step may ask of the SIMD kernels: one table of functions per target and precision.
#pragma once

#include <cstdint>

#include "network/functions.h"
#include "network/panel_layout.h"

namespace parmlp {

// Rows of a weight tile, and rows that one call of a forward or backward kernel takes at once: the
// sums of a (64, 24) float tile are 6 KB of stack and stay in L1.
constexpr index_t kMaxTileRows = 64;

// out (rows, features) = x[row_ids].
template <class T>
struct Gather {
  const T* x;
  index_t features;        // also x's stride
  const index_t* row_ids;  // (rows,)
  index_t rows;
  index_t rows_to_come;  // ids that follow those of this call, for prefetching
  T* out;
  index_t out_stride;
};

// The most columns that a sparse forward tile spans.
constexpr index_t kSparseTileColumns = 256;

// The rows of L2 penalties that are added up together: sum W^2 is taken over blocks of so many rows and one
// panel, whatever the tiles, so that dense and sparse tiles give the loss the same bits.
constexpr index_t kPenaltyRows = 8;

// Compressed sparse rows, columns ascending within a row. Borrowed.
template <class T>
struct SparseRows {
  index_t rows = 0;
  index_t features = 0;
  const index_t* starts = nullptr;  // (rows + 1,)
  const int* columns = nullptr;
  const T* values = nullptr;
};

// Where the entries of some sparse rows of a minibatch lie. The features are cut into blocks of
// 1 << sparse_block_shift(features).
struct IndexedRows {
  index_t* begins;    // (rows,) each row's first entry
  int* block_starts;  // (rows, blocks + 1) its first entry of each block, counted from there
};

constexpr index_t kMostSparseBlocks = 64;
PARMLP_INLINE int sparse_block_shift(index_t features) {
  int shift = 5;
  while (((features - 1) >> shift) >= kMostSparseBlocks) ++shift;
  return shift;
}
PARMLP_INLINE index_t sparse_blocks(index_t features) {
  return ((features - 1) >> sparse_block_shift(features)) + 1;
}

// Which rows of a tile have a feature: bit r is the tile's row r.
using RowMask = std::uint64_t;
static_assert(kMaxTileRows <= 64);

// Sparse rows that later calls will take.
struct RowsAhead {
  const index_t* row_ids = nullptr;
  index_t rows = 0;
};

// Indexes rows, at most kMaxTileRows.
template <class T>
struct IndexRows {
  SparseRows<T> x;
  const index_t* row_ids;  // (rows,), or null for the rows from first_row on
  index_t first_row;
  index_t rows;
  RowsAhead ahead;  // their `starts` are fetched
  IndexedRows out;
  RowMask* masks;  // (features,), or null
};

// The input of a weight tile when it is sparse: the rows of the batch, or shard of one.
template <class T>
struct SparseInput {
  const RowMask* masks = nullptr;  // (tiles, features)
  index_t tiles = 0;
  index_t tile_rows = 0;  // of all but the last
  IndexedRows rows = {};
  const T* values = nullptr;
  const T** next_values = nullptr;  // (batch,) scratch
};

// Rows that later calls will gather, and their targets.
template <class T>
struct UpcomingRows {
  const T* x;
  index_t features;
  const char* targets;
  index_t target_bytes;  // of each row
  const index_t* row_ids;
  index_t rows;
};

// out (rows, columns) = activation(a (rows, n_in) * weights (n_in, columns) + bias), for some panels.
template <class T>
struct LayerForward {
  const T* a;
  index_t a_stride;
  index_t rows;        // at most kMaxTileRows
  const T* weights;    // in panel layout
  PanelLayout layout;  // rows = n_in
  const T* bias;       // padded like the columns
  index_t first_panel, end_panel;
  T* out;
  index_t out_stride;
  T* z;  // pre-activations, same stride as out; null unless the derivative needs them
  Activation activation;
  T slope;                   // of leaky_relu
  UpcomingRows<T> upcoming;  // fetched into L2 while this runs
};

// LayerForward for the first layer with sparse input; `a` is not used.
template <class T>
struct SparseForward {
  LayerForward<T> layer;
  SparseRows<T> x;
  IndexedRows rows;
  RowsAhead ahead;  // their entries are fetched into L2
};

// out (rows, columns) = (delta (rows, n_out) * transposed (n_out, columns)) * f'(z), for some panels.
template <class T>
struct LayerBackward {
  const T* delta;
  index_t delta_stride;
  index_t rows;         // at most kMaxTileRows
  const T* transposed;  // W^T in panel layout
  PanelLayout layout;   // rows = n_out
  index_t first_panel, end_panel;
  const T* a;  // the layer's activations
  const T* z;  // its pre-activations; null unless the derivative needs them
  index_t a_stride;
  T* out;         // row-major; null when only the weight gradient reads the deltas
  T* out_panels;  // the same deltas as panels of (panel_rows, width), the B operand of the weight gradient
  index_t out_stride;
  index_t panel_rows;  // of the whole minibatch
  index_t panel_row;   // the first of these rows
  Activation activation;
  T slope;
};

// The last layer's activations, deltas and loss for some rows of a minibatch.
template <class T>
struct OutputDelta {
  T* out;  // z for softmax, activations otherwise; activations on return
  index_t out_stride;
  index_t rows;
  index_t units;
  const index_t* row_ids;  // (rows,) rows of y and sample_weight
  const T* y;              // (n, units), or null
  const int* labels;       // (n,) class indices, when y is null
  const T* sample_weight;  // (n,), or null
  T* delta;                // row-major, as in LayerBackward
  T* delta_panels;         // and in panels
  index_t delta_stride;
  index_t panel_rows;  // of the whole minibatch
  index_t panel_row;   // the first of these rows
  PanelLayout layout;  // of the last layer's weights: columns are the outputs
  Activation activation;
  Loss loss;
};

// What a solver does with a gradient, with all constants of this step.
template <class T>
struct SolverStep {
  Solver solver;
  bool has_momentum;
  bool nesterov;
  T learning_rate;  // adam: with the bias correction of this step
  T momentum;
  T beta_1, one_minus_beta_1;
  T beta_2, one_minus_beta_2;
  T epsilon;
  T decay;           // adamw: 1 - learning_rate * weight_decay
  T alpha;           // L2 penalty
  T inverse_weight;  // 1 / (sum of the minibatch's sample weights)
};

// Where the gradient of a weight tile comes from, and where it goes.
enum class GradientUse {
  update,  // compute A^T D, then let the solver use it while it is in L1
  store,   // compute A^T D into `gradients`
  apply,   // sum `shards` stored gradients in order, then let the solver use it
};

// Rows [first_row, end_row) x some panels of one weight matrix; the tile with row 0 also owns the biases
// of its panels.
template <class T>
struct WeightTile {
  GradientUse use;
  const T* a;  // (batch, n_in)
  index_t a_stride;
  const T* delta_panels;  // (batch, n_out) in panels of (panel_rows, width)
  index_t panel_rows;
  index_t panel_row;  // where this batch, or shard of one, begins
  index_t batch;
  index_t first_row, end_row;  // first_row is a multiple of 8
  index_t first_panel, end_panel;
  PanelLayout layout;     // rows = n_in
  SparseInput<T> sparse;  // in place of `a`, when it has tiles; then first_row begins a block
  bool fetch_weights;     // ask for the weights and moments early: they are not in L2
  T* weights;
  T* moment_1;  // velocity (sgd) or first moment (adam); null when the solver has none
  T* moment_2;
  T* bias;
  T* bias_moment_1;
  T* bias_moment_2;
  T* transposed;  // W^T, kept in step with W; null for the first layer
  PanelLayout transposed_layout;
  T* gradients;       // shard 0's gradient of this matrix, in panel layout
  T* bias_gradients;  // shard 0's gradient of the biases
  index_t shard_stride;
  index_t shards;
  double* penalties;  // (rows / kPenaltyRows, panels) sums of W^2 before the update; not set when alpha is 0
  SolverStep<T> step;
};

template <class T>
struct Kernels {
  const char* target;
  index_t vector_length;

  void (*gather)(const Gather<T>&);
  void (*layer_forward)(const LayerForward<T>&);
  void (*index_rows)(const IndexRows<T>&);
  void (*sparse_forward)(const SparseForward<T>&);
  void (*layer_backward)(const LayerBackward<T>&);
  // Returns the sum of the rows' losses, each times its sample weight.
  double (*output_delta)(const OutputDelta<T>&);
  // out (rows, units) = softmax(out), row by row.
  void (*softmax)(T* out, index_t out_stride, index_t rows, index_t units);
  void (*weight_tile)(const WeightTile<T>&);
  // Element by element, for tests: values f(z), and f'(z).
  void (*activate)(Activation, T slope, index_t n, const T* z, T* values, T* derivatives);
};

// Two bfloat16 numbers that are neighbours along the sum of a product, the first in the low half: a lane of
// AVX512_BF16's dot product. A matrix of pairs has the layout of a float32 matrix with half the rows, or half
// the columns; the partner of an odd last number is zero.
struct Bf16Pair {
  unsigned bits;
};

PARMLP_INLINE index_t pairs_of(index_t n) { return (n + 1) / 2; }

// Where some rows go in bfloat16, rounded to nearest even: paired along the columns, and row by row with the
// next one. Either may be null. The first row is an even one of the minibatch.
struct Bf16Rows {
  Bf16Pair* rows;
  index_t row_stride;
  Bf16Pair* row_pairs;
  index_t row_pair_stride;
};

// The kernels in bfloat16 take the float32 ones' arguments, which hold all but the operands of the products:
// those operands' pointers are not used, and a layout has the pairs as its rows.
template <class T>
struct Bf16Gather {
  Gather<T> gather;
  Bf16Rows out;
};

template <class T>
struct Bf16Forward {
  LayerForward<T> layer;
  const Bf16Pair* a;
  index_t a_stride;
  const Bf16Pair* weights;
  Bf16Rows out;  // besides layer.out
};

template <class T>
struct Bf16Backward {
  LayerBackward<T> layer;
  const Bf16Pair* delta;
  index_t delta_stride;
  const Bf16Pair* transposed;
  Bf16Pair* out;         // row-major, or null
  Bf16Pair* out_panels;  // of pairs of rows
  index_t out_stride;
};

// Rounds the last layer's deltas, which its panels have in float32.
template <class T>
struct Bf16Deltas {
  const T* delta_panels;
  index_t panel_rows;  // of the whole minibatch
  index_t panel_row;   // the first of these rows
  index_t rows;
  PanelLayout layout;  // columns are the outputs
  Bf16Pair* out;       // as in Bf16Backward
  Bf16Pair* out_panels;
  index_t out_stride;
};

// One matrix, and its two copies in bfloat16.
template <class T>
struct Bf16Weights {
  const T* weights;
  PanelLayout layout;
  Bf16Pair* pairs;  // of rows of W
  PanelLayout pairs_layout;
  Bf16Pair* transposed;  // of rows of W^T; null for the first layer
  PanelLayout transposed_layout;
};

template <class T>
struct Bf16WeightTile {
  WeightTile<T> tile;  // without W^T
  const Bf16Pair* a;   // of pairs of rows
  index_t a_stride;
  const Bf16Pair* delta_panels;  // of pairs of rows
  Bf16Weights<T> copies;
};

// Products of bfloat16 operands, sums in float32. T is float.
template <class T>
struct Bf16Kernels {
  void (*gather)(const Bf16Gather<T>&);
  void (*layer_forward)(const Bf16Forward<T>&);
  void (*layer_backward)(const Bf16Backward<T>&);
  void (*round_deltas)(const Bf16Deltas<T>&);
  void (*weight_tile)(const Bf16WeightTile<T>&);
  void (*round_weights)(const Bf16Weights<T>&);  // the whole matrix
};

// Targets from the plainest to the widest. A target that this library was not built with is absent.
enum class Target { baseline, avx2, avx512 };

template <class T>
const Kernels<T>& kernels_for(Target target);

}  // namespace parmlp
