// The weight gradient A^T D of a tile of one matrix, and the solver applied while it is in L1.

namespace parmlp::PARMLP_TARGET {

// out[c * out_stride + r] = in[r * in_stride + c] for a square of one vector.
PARMLP_INLINE void transpose_square(const float* in, index_t in_stride, float* out, index_t out_stride,
                                    index_t columns) {
  using V = Vec<float>;
  V r[8];
  for (int i = 0; i < 8; ++i) r[i] = load(in + i * in_stride);
  V s[8];
  for (int i = 0; i < 8; i += 2) {
    s[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
    s[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int j = 0; j < 2; ++j) {
      r[i + j] = __builtin_shufflevector(s[i + j], s[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      r[i + j + 2] = __builtin_shufflevector(s[i + j], s[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (int j = 0; j < 4; ++j) {
    s[j] = __builtin_shufflevector(r[j], r[j + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    s[j + 4] = __builtin_shufflevector(r[j], r[j + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
  for (index_t c = 0; c < columns; ++c) store(out + c * out_stride, s[c]);
}

PARMLP_INLINE void transpose_square(const double* in, index_t in_stride, double* out, index_t out_stride,
                                    index_t columns) {
  for (index_t c = 0; c < columns; ++c) {
    store(out + c * out_stride,
          Vec<double>{in[c], in[in_stride + c], in[2 * in_stride + c], in[3 * in_stride + c]});
  }
}

// Copies a tile of one panel of W, rows [first_row, first_row + rows), into W^T. A vector past the end of
// `weights` is read where `width` is no whole number of them.
template <class T>
PARMLP_INLINE void store_transposed(T* transposed, const PanelLayout& layout, index_t first_row, index_t rows,
                                    index_t column, index_t width, T* weights) {
  constexpr int kLength = Simd<T>::kLength;
  const index_t columns = layout.rows - column < width ? layout.rows - column : width;
  // Rows past the last are the zero padding of W^T's columns.
  for (index_t i = rows * width; i < (rows + kLength - 1) / kLength * kLength * width; ++i) weights[i] = 0;
  for (index_t r = 0; r < rows; r += kLength) {
    const index_t panel = layout.panel_of(first_row + r);
    const index_t first = layout.first_column(panel);
    const index_t stride = layout.width(panel);
    T* out = transposed + first * layout.rows + column * stride + (first_row + r - first);
    for (index_t c = 0; c < columns; c += kLength) {
      transpose_square(weights + r * width + c, width, out + c * stride, stride,
                       columns - c < kLength ? columns - c : kLength);
    }
  }
}

template <bool kValue>
struct Flag {
  static constexpr bool value = kValue;
};

// What the solver takes: the gradient's mean over the minibatch, with that of the penalty.
template <class T>
PARMLP_INLINE Vec<T> mean_gradient(const SolverStep<T>& step, T alpha, Vec<T> weights, Vec<T> sums) {
  return fma(splat(alpha), weights, sums) * step.inverse_weight;
}

// n values (whole vectors) of weights or biases, with their gradient sums; kKeep leaves the new values in
// `sums`. Returns sum w^2 if kPenalty: for weights under an L2 penalty.
template <class T, class SolverFunctor, bool kKeep, bool kPenalty>
PARMLP_INLINE double solve(const SolverStep<T>& step, index_t n, T* w, T* m, T* v, T* sums, bool is_bias) {
  constexpr int kLength = Simd<T>::kLength;
  Vec<T> squares{};
  const T alpha = is_bias ? T(0) : step.alpha;
  for (index_t i = 0; i < n; i += kLength) {
    const Vec<T> old = load(w + i);
    if constexpr (kPenalty) squares = fma(old, old, squares);  // a chain that would set the pace
    const Vec<T> g = mean_gradient(step, alpha, old, load(sums + i));
    Vec<T> first{}, second{};
    if constexpr (SolverFunctor::kMoments > 0) first = load(m + i);
    if constexpr (SolverFunctor::kMoments > 1) second = load(v + i);
    const Vec<T> updated = SolverFunctor::update(step, old, g, first, second, is_bias);
    if constexpr (SolverFunctor::kMoments > 0) store(m + i, first);
    if constexpr (SolverFunctor::kMoments > 1) store(v + i, second);
    store(w + i, updated);
    if constexpr (kKeep) store(sums + i, updated);
  }
  return sum_lanes<T>(squares);
}

template <class T>
PARMLP_INLINE void add_shards(const T* gradients, index_t shard_stride, index_t shards, index_t n, T* sums) {
  for (index_t i = 0; i < n; i += Simd<T>::kLength) {
    Vec<T> total = load(gradients + i);
    for (index_t s = 1; s < shards; ++s) total += load(gradients + s * shard_stride + i);
    store(sums + i, total);
  }
}

template <class T>
PARMLP_INLINE T* offset_unless_null(T* p, index_t at) {
  return p ? p + at : nullptr;
}

// The sums of one panel's biases.
template <class T>
struct alignas(64) BiasSums {
  T values[PanelLayout::kMaxVectors * Simd<T>::kLength];
};

// The solver, or the gradient's way to its buffer, for one panel of a tile. `bias_sums` counts in the tile
// with row 0.
template <class T>
PARMLP_INLINE void use_gradient(const WeightTile<T>& tile, index_t panel, T* sums, T* bias_sums) {
  constexpr int kLength = Simd<T>::kLength;
  const index_t width = tile.layout.width(panel);
  const index_t column = tile.layout.first_column(panel);
  const index_t rows = tile.end_row - tile.first_row;
  const index_t at = column * tile.layout.rows + tile.first_row * width;
  const index_t n = rows * width;
  const bool owns_bias = tile.first_row == 0;

  if (tile.use == GradientUse::apply) {
    add_shards(tile.gradients + at, tile.shard_stride, tile.shards, n, sums);
    if (owns_bias) {
      add_shards(tile.bias_gradients + column, tile.shard_stride, tile.shards, width, bias_sums);
    }
  }
  if (tile.use == GradientUse::store) {
    for (index_t i = 0; i < n; i += kLength) store(tile.gradients + at + i, load(sums + i));
    for (index_t c = 0; owns_bias && c < width; c += kLength) {
      store(tile.bias_gradients + column + c, load(bias_sums + c));
    }
    return;
  }
  with_solver(tile.step, [&](auto solver) {
    using S = decltype(solver);
    for (index_t r = 0, end = 0; r < rows; r = end) {
      end = rows - r < kPenaltyRows ? rows : r + kPenaltyRows;
      const index_t from = r * width;
      const index_t size = (end - r) * width;
      T* const m = offset_unless_null(tile.moment_1, at + from);
      T* const v = offset_unless_null(tile.moment_2, at + from);
      T* const w = tile.weights + at + from;
      const auto solve_rows = [&](auto keep, auto has_penalty) __attribute__((always_inline)) {
        return solve<T, S, keep.value, has_penalty.value>(tile.step, size, w, m, v, sums + from, false);
      };
      constexpr Flag<true> yes;
      constexpr Flag<false> no;
      if (tile.step.alpha != 0) {
        tile.penalties[(tile.first_row + r) / kPenaltyRows * tile.layout.panels + panel] =
            tile.transposed ? solve_rows(yes, yes) : solve_rows(no, yes);
      } else {
        tile.transposed ? solve_rows(yes, no) : solve_rows(no, no);
      }
    }
    if (owns_bias) {
      solve<T, S, false, false>(tile.step, width, tile.bias + column,
                                offset_unless_null(tile.bias_moment_1, column),
                                offset_unless_null(tile.bias_moment_2, column), bias_sums, true);
    }
  });
  if (tile.transposed) {
    store_transposed(tile.transposed, tile.transposed_layout, tile.first_row, rows, column, width, sums);
  }
}

// out = the sum of all rows of a panel of N vectors, kept in registers on the way.
template <class T, int N>
PARMLP_INLINE void add_rows(const T* rows, index_t count, T* out) {
  constexpr int kLength = Simd<T>::kLength;
  Vec<T> total[N] = {};
  for (index_t k = 0; k < count; ++k) {
#pragma GCC unroll 3
    for (int c = 0; c < N; ++c) total[c] += load(rows + c * kLength);
    rows += N * kLength;
  }
#pragma GCC unroll 3
  for (int c = 0; c < N; ++c) store(out + c * kLength, total[c]);
}

// use_gradient() with the biases' gradient from the deltas.
template <class T>
PARMLP_INLINE void finish_weight_panel(const WeightTile<T>& tile, index_t panel, T* sums) {
  BiasSums<T> bias_sums;
  if (tile.use != GradientUse::apply && tile.first_row == 0) {
    const T* const deltas = tile.delta_panels + tile.layout.first_column(panel) * tile.panel_rows +
                            tile.panel_row * tile.layout.width(panel);
    switch (tile.layout.vectors(panel)) {
      case 1:
        add_rows<T, 1>(deltas, tile.batch, bias_sums.values);
        break;
      case 2:
        add_rows<T, 2>(deltas, tile.batch, bias_sums.values);
        break;
      default:
        add_rows<T, 3>(deltas, tile.batch, bias_sums.values);
    }
  }
  use_gradient(tile, panel, sums, bias_sums.values);
}

template <class T>
static void sparse_weight_tile(const WeightTile<T>& tile);

// Asks for what the solver will need while the gradient is computed: a large network's weights and moments
// come from L3 or memory.
template <class T>
PARMLP_INLINE void prefetch_weights(const WeightTile<T>& tile, index_t at, index_t n) {
  constexpr index_t kLine = 64 / sizeof(T);
  T* const arrays[] = {tile.weights, tile.moment_1, tile.moment_2};
  for (T* values : arrays) {
    if (!values) continue;
    for (index_t i = 0; i < n; i += kLine) __builtin_prefetch(values + at + i, 1, 2);
  }
}

template <class T>
static void weight_tile(const WeightTile<T>& tile) {
  if (tile.sparse.tiles > 0) return sparse_weight_tile(tile);
  TileSums<T> sums;
  for (index_t panel = tile.first_panel; panel < tile.end_panel; ++panel) {
    if (tile.use != GradientUse::apply) {
      const index_t vectors = tile.layout.vectors(panel);
      const index_t width = vectors * Simd<T>::kLength;
      const index_t column = tile.layout.first_column(panel);
      const index_t rows = tile.end_row - tile.first_row;
      if (tile.fetch_weights)
        prefetch_weights(tile, column * tile.layout.rows + tile.first_row * width, rows * width);
      multiply<T>({.a = tile.a + tile.first_row,
                   .a_row = 1,
                   .a_k = tile.a_stride,
                   .b = tile.delta_panels + column * tile.panel_rows + tile.panel_row * width,
                   .b_k = width,
                   .rows = rows,
                   .depth = tile.batch},
                  vectors, sums.values);
    }
    finish_weight_panel(tile, panel, sums.values);
  }
}

}  // namespace parmlp::PARMLP_TARGET
