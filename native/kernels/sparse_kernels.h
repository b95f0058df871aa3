// The first layer on sparse rows. Sums start at zero and take their terms in the dense kernels' order, so
// leaving out the terms that are zero leaves every bit as it is, for finite weights.

namespace parmlp::PARMLP_TARGET {

// sums[p][c] (+)= sum over e, in order, of scale[e] * b[p][ids[e]][c], for P panels of N vectors.
template <class T, int N, int P>
__attribute__((noinline)) static void add_scaled_rows(const int* ids, const T* scale, index_t n, const T* b,
                                                      index_t b_panel, T* sums, index_t sums_panel,
                                                      bool first) {
  constexpr int kLength = Simd<T>::kLength;
  constexpr index_t kWidth = N * kLength;
  Vec<T> acc[P][N];
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 3
    for (int c = 0; c < N; ++c) acc[p][c] = first ? Vec<T>{} : load(sums + p * sums_panel + c * kLength);
  }
  for (index_t e = 0; e < n; ++e) {
    const Vec<T> s = splat(scale[e]);
    const T* row = b + ids[e] * kWidth;
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
#pragma GCC unroll 3
      for (int c = 0; c < N; ++c) acc[p][c] = fma(s, load(row + p * b_panel + c * kLength), acc[p][c]);
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 3
    for (int c = 0; c < N; ++c) store(sums + p * sums_panel + c * kLength, acc[p][c]);
  }
}

template <class T, int N>
PARMLP_INLINE void add_scaled_rows_of(index_t panels, const int* ids, const T* scale, index_t n, const T* b,
                                      index_t b_panel, T* sums, index_t sums_panel, bool first) {
  switch (panels) {
    case 1:
      return add_scaled_rows<T, N, 1>(ids, scale, n, b, b_panel, sums, sums_panel, first);
    case 2:
      return add_scaled_rows<T, N, 2>(ids, scale, n, b, b_panel, sums, sums_panel, first);
    case 3:
      return add_scaled_rows<T, N, 3>(ids, scale, n, b, b_panel, sums, sums_panel, first);
    default:
      return add_scaled_rows<T, N, 4>(ids, scale, n, b, b_panel, sums, sums_panel, first);
  }
}

// Calls visit(first_panel, panels, vectors) for groups of up to four neighbouring panels of one width: 12
// vectors of independent sums.
template <class Visit>
PARMLP_INLINE void for_panel_groups(const PanelLayout& layout, index_t first, index_t end, Visit visit) {
  while (first < end) {
    const index_t same = first < layout.wide_panels ? layout.wide_panels : layout.panels;
    const index_t stop = same < end ? same : end;
    const index_t panels = stop - first < 4 ? stop - first : 4;
    visit(first, panels, layout.vectors(first));
    first += panels;
  }
}

// The sums of `panels` panels for one list of (row of b, scale). b is in panel layout with b_rows rows, and
// panel p's sums lie at sums + first_column(p) * sums_rows, one row of its width.
template <class T>
PARMLP_INLINE void sparse_sums(const PanelLayout& layout, index_t first_panel, index_t end_panel,
                               const int* ids, const T* scale, index_t n, const T* b, index_t b_rows, T* sums,
                               index_t sums_rows, index_t sums_row, bool first) {
  const index_t origin = layout.first_column(first_panel);
  for_panel_groups(layout, first_panel, end_panel, [&](index_t panel, index_t panels, index_t vectors) {
    const index_t width = vectors * Simd<T>::kLength;
    const index_t column = layout.first_column(panel);
    const T* from = b + column * b_rows;
    T* to = sums + (column - origin) * sums_rows + sums_row * width;
    const index_t b_panel = b_rows * width, sums_panel = sums_rows * width;
    switch (vectors) {
      case 1:
        return add_scaled_rows_of<T, 1>(panels, ids, scale, n, from, b_panel, to, sums_panel, first);
      case 2:
        return add_scaled_rows_of<T, 2>(panels, ids, scale, n, from, b_panel, to, sums_panel, first);
      default:
        return add_scaled_rows_of<T, 3>(panels, ids, scale, n, from, b_panel, to, sums_panel, first);
    }
  });
}

// For each block of kSparseBlockRows features, where a row's entries of it begin; starts[blocks] is their
// number. Every entry writes the start of the block after its own, the last one wins, and blocks without
// entries take their predecessor's: no branch depends on the data.
template <class T>
PARMLP_INLINE void find_block_starts(const int* columns, index_t entries, index_t blocks, int* starts) {
  for (index_t b = 0; b <= blocks; ++b) starts[b] = 0;
  for (index_t e = 0; e < entries; ++e) {
    starts[static_cast<unsigned>(columns[e]) / kSparseBlockRows + 1] = static_cast<int>(e) + 1;
  }
  int last = 0;
  for (index_t b = 1; b <= blocks; ++b) {
    last = starts[b] > last ? starts[b] : last;
    starts[b] = last;
  }
}

// The rows of args for panels of at most kSparseTileColumns columns.
template <class T>
PARMLP_INLINE void sparse_forward_panels(const SparseForward<T>& args, index_t first_panel, index_t end_panel,
                                         int* block_starts) {
  const LayerForward<T>& layer = args.layer;
  const index_t column = layer.layout.first_column(first_panel);
  const index_t columns = layer.layout.first_column(end_panel) - column;
  const index_t blocks = (layer.layout.rows + kSparseBlockRows - 1) / kSparseBlockRows;
  alignas(64) T sums[kSparseTileColumns];
  for (index_t r = 0; r < layer.rows; ++r) {
    const index_t id = args.row_ids ? args.row_ids[r] : args.first_row + r;
    const index_t begin = args.x.starts[id];
    const index_t entries = args.x.starts[id + 1] - begin;
    if (args.row_ids && r + 1 < layer.rows) {
      const index_t next = args.x.starts[args.row_ids[r + 1]];
      const index_t next_entries = args.x.starts[args.row_ids[r + 1] + 1] - next;
      for (index_t e = 0; e < next_entries; e += 16) {
        __builtin_prefetch(args.x.columns + next + e);
        __builtin_prefetch(args.x.values + next + e);
      }
    }
    if (block_starts) {
      find_block_starts<T>(args.x.columns + begin, entries, blocks, block_starts + r * (blocks + 1));
    }
    sparse_sums(layer.layout, first_panel, end_panel, args.x.columns + begin, args.x.values + begin, entries,
                layer.weights, layer.layout.rows, sums, 1, 0, true);
    finish_forward(layer, r, 1, column, columns, sums);
  }
}

template <class T>
static void sparse_forward(const SparseForward<T>& args) {
  const index_t end = args.layer.end_panel;
  const index_t most = kSparseTileColumns / args.layer.layout.width(0);
  int* block_starts = args.block_starts;
  for (index_t panel = args.layer.first_panel; panel < end; panel += most) {
    sparse_forward_panels(args, panel, panel + most < end ? panel + most : end, block_starts);
    block_starts = nullptr;  // found once
  }
}

// The entries of a block of features in a batch of rows, by feature, rows ascending: a CSC of the block.
template <class T>
struct BlockEntries {
  // Rows of a chunk: its entries, at most 128 * 32, fit L1 and L2 as 8 bytes each.
  static constexpr index_t kChunkRows = 128;
  int rows[kSparseBlockRows][kChunkRows];
  T values[kSparseBlockRows][kChunkRows];
  index_t count[kSparseBlockRows];
};

template <class T>
static void sparse_weight_tile(const WeightTile<T>& tile) {
  const index_t rows = tile.end_row - tile.first_row;
  const index_t block = tile.first_row / kSparseBlockRows;
  const index_t origin = tile.layout.first_column(tile.first_panel);
  alignas(64) T sums[kSparseBlockRows * kSparseTileColumns];
  BlockEntries<T> entries;
  const SparseRows<T>& x = tile.sparse.x;
  bool touched[kSparseBlockRows] = {};
  // Without momentum, penalty or decay a weight whose gradient is zero stays as it is, bit for bit.
  const bool skip = tile.use == GradientUse::update && tile.step.solver == Solver::sgd &&
                    !tile.step.has_momentum && tile.step.alpha == 0;

  if (tile.use != GradientUse::apply) {
    for (index_t chunk = 0; chunk == 0 || chunk < tile.batch; chunk += BlockEntries<T>::kChunkRows) {
      const index_t left = tile.batch - chunk;
      const index_t chunk_rows = left < BlockEntries<T>::kChunkRows ? left : BlockEntries<T>::kChunkRows;
      for (index_t f = 0; f < rows; ++f) entries.count[f] = 0;
      for (index_t r = 0; r < chunk_rows; ++r) {
        const int* starts = tile.sparse.block_starts + (chunk + r) * tile.sparse.block_stride + block;
        const index_t row = x.starts[tile.sparse.row_ids[chunk + r]];
        for (index_t e = row + starts[0]; e < row + starts[1]; ++e) {
          const index_t f = x.columns[e] - tile.first_row;
          const index_t at = entries.count[f]++;
          entries.rows[f][at] = static_cast<int>(tile.panel_row + chunk + r);
          entries.values[f][at] = x.values[e];
        }
      }
      for (index_t f = 0; f < rows; ++f) {
        if (entries.count[f] == 0 && (chunk > 0 || skip)) continue;
        const bool first = !touched[f];
        touched[f] = touched[f] || entries.count[f] > 0;
        sparse_sums(tile.layout, tile.first_panel, tile.end_panel, entries.rows[f], entries.values[f],
                    entries.count[f], tile.delta_panels, tile.panel_rows, sums, rows, f, first);
      }
    }
  }
  for (index_t panel = tile.first_panel; panel < tile.end_panel; ++panel) {
    T* panel_sums = sums + (tile.layout.first_column(panel) - origin) * rows;
    finish_weight_panel(tile, panel, panel_sums, skip ? touched : nullptr);
  }
}

}  // namespace parmlp::PARMLP_TARGET
