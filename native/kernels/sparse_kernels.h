// The first layer on sparse rows. Sums start at zero and take their terms in the dense kernels' order, so
// leaving out the terms that are zero leaves every bit as it is, for finite weights.

namespace parmlp::PARMLP_TARGET {

// Some neighbouring panels: kPanels of them, of which the first kWide have kBase + 1 vectors and the rest
// kBase.
template <int kBase_, int kPanels_, int kWide_>
struct PanelGroup {
  static constexpr int kBase = kBase_, kPanels = kPanels_, kWide = kWide_;
  static constexpr int kVectors = kPanels * kBase + kWide;
  static constexpr int kInWide = kWide * (kBase + 1);

  // Vector i of one row of these panels of a matrix with `rows` rows.
  template <class T>
  static PARMLP_INLINE T* place(T* panels, index_t rows, index_t row, int i) {
    constexpr int kLength = 32 / sizeof(T);
    const bool wide = i < kInWide;
    const int vectors = wide ? kBase + 1 : kBase;
    const int panel = wide ? i / vectors : kWide + (i - kInWide) / vectors;
    const int lane = wide ? i % vectors : (i - kInWide) % vectors;
    const int before = panel < kWide ? panel * (kBase + 1) : kInWide + (panel - kWide) * kBase;
    return panels + (before * rows + row * vectors + lane) * kLength;
  }
};

// 15 vectors are as many independent sums as there are registers for.
constexpr index_t kMostPanels = 5;

// Calls visit(PanelGroup) for the panels [first, first + n), n at most kMostPanels.
template <class Visit>
PARMLP_INLINE void with_panel_group(const PanelLayout& layout, index_t first, index_t n, Visit visit) {
  if (layout.vectors(first) == 1) return visit(PanelGroup<1, 1, 0>{});
  index_t wide = 0;
  for (index_t p = first; p < first + n; ++p) wide += layout.vectors(p) == 3;
  switch (n * 8 + wide) {
#define PARMLP_PANELS(P, W) \
  case P * 8 + W:           \
    return visit(PanelGroup<2, P, W>{});
    PARMLP_PANELS(1, 0)
    PARMLP_PANELS(1, 1)
    PARMLP_PANELS(2, 0)
    PARMLP_PANELS(2, 1)
    PARMLP_PANELS(2, 2)
    PARMLP_PANELS(3, 0)
    PARMLP_PANELS(3, 1)
    PARMLP_PANELS(3, 2)
    PARMLP_PANELS(3, 3)
    PARMLP_PANELS(4, 0)
    PARMLP_PANELS(4, 1)
    PARMLP_PANELS(4, 2)
    PARMLP_PANELS(4, 3)
    PARMLP_PANELS(4, 4)
    PARMLP_PANELS(5, 0)
    PARMLP_PANELS(5, 1)
    PARMLP_PANELS(5, 2)
    PARMLP_PANELS(5, 3)
    PARMLP_PANELS(5, 4)
    PARMLP_PANELS(5, 5)
#undef PARMLP_PANELS
  }
}

// One row of sums of the group's panels, in registers.
template <class T, class Group>
struct RowSums {
  Vec<T> acc[Group::kVectors];

  PARMLP_INLINE void zero() {
#pragma GCC unroll 16
    for (int i = 0; i < Group::kVectors; ++i) acc[i] = Vec<T>{};
  }
  PARMLP_INLINE void load_from(const T* sums, index_t rows, index_t row) {
#pragma GCC unroll 16
    for (int i = 0; i < Group::kVectors; ++i) acc[i] = load(Group::place(sums, rows, row, i));
  }
  PARMLP_INLINE void store_to(T* sums, index_t rows, index_t row) const {
#pragma GCC unroll 16
    for (int i = 0; i < Group::kVectors; ++i) store(Group::place(sums, rows, row, i), acc[i]);
  }
  // += scale * b[row]
  PARMLP_INLINE void add(T scale, const T* b, index_t rows, index_t row) {
    const Vec<T> s = splat(scale);
#pragma GCC unroll 16
    for (int i = 0; i < Group::kVectors; ++i) acc[i] = fma(s, load(Group::place(b, rows, row, i)), acc[i]);
  }
};

// Asks for the entries of a row that is due in some 512 entries' time, and for its place in the CSR arrays
// twice as early: rows come in random order, so each is several misses that nothing else hides.
template <class T>
class RowPrefetch {
 public:
  PARMLP_INLINE explicit RowPrefetch(const TransposeRows<T>& args)
      : args_(args), known_(args.rows + args.rows_to_come) {
    const index_t entries = args.x.starts[args.x.rows];
    const index_t rows = 512 * args.x.rows / (entries < 1 ? 1 : entries);
    ahead_ = rows < 2 ? 2 : rows > 32 ? 32 : rows;
  }

  PARMLP_INLINE void fetch_after(index_t row) const {
    const index_t far = row + 2 * ahead_, near = row + ahead_;
    if (far < known_) __builtin_prefetch(args_.x.starts + args_.row_ids[far]);
    if (near >= known_) return;
    const index_t id = args_.row_ids[near];
    for (index_t e = args_.x.starts[id]; e < args_.x.starts[id + 1]; e += 16) {
      __builtin_prefetch(args_.x.columns + e);
      __builtin_prefetch(args_.x.values + e);
    }
  }

 private:
  const TransposeRows<T>& args_;
  const index_t known_;
  index_t ahead_;
};

// A counting sort by feature. starts[f + 2] counts, then starts[f + 1] is where the feature's next entry
// goes, which leaves it at the feature's end.
template <class T>
static void transpose_rows(const TransposeRows<T>& args) {
  const index_t features = args.x.features;
  int* const starts = args.starts;
  for (index_t f = 0; f < features + 2; ++f) starts[f] = 0;
  const RowPrefetch<T> prefetch(args);
  for (index_t r = 0; r < args.rows; ++r) {
    prefetch.fetch_after(r);
    const index_t id = args.row_ids[r], end = args.x.starts[id + 1];
    for (index_t e = args.x.starts[id]; e < end; ++e) ++starts[args.x.columns[e] + 2];
  }
  int sum = 0;
  for (index_t f = 2; f < features + 2; ++f) {
    sum += starts[f];
    starts[f] = sum;
  }
  for (index_t r = 0; r < args.rows; ++r) {
    const index_t id = args.row_ids[r], end = args.x.starts[id + 1];
    const auto row = static_cast<decltype(SparseEntry<T>::row)>(args.first_row + r);
    for (index_t e = args.x.starts[id]; e < end; ++e) {
      args.entries[starts[args.x.columns[e] + 1]++] = {row, args.x.values[e]};
    }
  }
}

// Features are taken in blocks, whose weights stay in L1 while the rows go by: 64, or so many more that a
// row has at most kMostBlocks.
constexpr index_t kMostBlocks = 32;
PARMLP_INLINE int block_shift(index_t features) {
  int shift = 6;
  while (((features - 1) >> shift) >= kMostBlocks) ++shift;
  return shift;
}

// Where a row's entries of each block begin; starts[blocks] is their number. Every entry writes the start of
// the block after its own, the last one wins, and blocks without entries take their predecessor's: no branch
// depends on the data.
PARMLP_INLINE void find_block_starts(const int* columns, index_t entries, int shift, index_t blocks,
                                     int* starts) {
  for (index_t b = 0; b <= blocks; ++b) starts[b] = 0;
  for (index_t e = 0; e < entries; ++e) {
    starts[(columns[e] >> shift) + 1] = static_cast<int>(e) + 1;
    asm("" : "+r"(e));  // or GCC makes it a scatter instruction, which is slower
  }
  int last = 0;
  for (index_t b = 1; b <= blocks; ++b) {
    last = starts[b] > last ? starts[b] : last;
    starts[b] = last;
  }
}

// Rows whose sums share L1 with a block of weights.
constexpr index_t kSparseForwardRows = 32;
constexpr index_t kSparseSums = kSparseForwardRows * 128;

// Some rows of a sparse minibatch, and where their entries of each block of features begin.
struct BlockedRows {
  index_t rows;
  index_t blocks;
  index_t begin[kSparseForwardRows];
  int block_starts[kSparseForwardRows][kMostBlocks + 1];
};

// sums (rows, columns) = x W for the group's panels, W's and the sums' first given.
template <class Group, class T>
__attribute__((noinline)) static void sparse_product(const BlockedRows& rows, const SparseRows<T>& x,
                                                     const T* weights, T* sums, index_t columns) {
  for (index_t block = 0; block < rows.blocks; ++block) {
    T* row_sums = sums;
    for (index_t r = 0; r < rows.rows; ++r, row_sums += columns) {
      const int* starts = rows.block_starts[r] + block;
      if (starts[0] == starts[1] && block > 0) continue;
      RowSums<T, Group> sum;
      if (block == 0) {
        sum.zero();
      } else {
        sum.load_from(row_sums, 1, 0);
      }
      for (index_t e = rows.begin[r] + starts[0]; e < rows.begin[r] + starts[1]; ++e) {
        sum.add(x.values[e], weights, x.features, x.columns[e]);
      }
      sum.store_to(row_sums, 1, 0);
    }
  }
}

// The rows [first, end) of args for panels of at most kSparseTileColumns columns.
template <class T>
PARMLP_INLINE void sparse_forward_rows(const SparseForward<T>& args, index_t first, index_t end,
                                       index_t first_panel, index_t end_panel) {
  const LayerForward<T>& layer = args.layer;
  const PanelLayout& layout = layer.layout;
  const index_t column = layout.first_column(first_panel);
  const index_t columns = layout.first_column(end_panel) - column;
  const int shift = block_shift(layout.rows);
  alignas(64) T sums[kSparseSums];
  BlockedRows rows;
  rows.rows = end - first;
  rows.blocks = ((layout.rows - 1) >> shift) + 1;
  for (index_t r = 0; r < rows.rows; ++r) {
    const index_t id = args.row_ids ? args.row_ids[first + r] : args.first_row + first + r;
    rows.begin[r] = args.x.starts[id];
    find_block_starts(args.x.columns + rows.begin[r], args.x.starts[id + 1] - rows.begin[r], shift,
                      rows.blocks, rows.block_starts[r]);
  }
  for (index_t panel = first_panel; panel < end_panel; panel += kMostPanels) {
    const index_t panels = end_panel - panel < kMostPanels ? end_panel - panel : kMostPanels;
    const index_t at = layout.first_column(panel);
    with_panel_group(layout, panel, panels, [&](auto group) {
      sparse_product<decltype(group)>(rows, args.x, layer.weights + at * layout.rows, sums + at - column,
                                      columns);
    });
  }
  finish_forward(layer, first, rows.rows, column, columns, sums);
}

template <class T>
static void sparse_forward(const SparseForward<T>& args) {
  const LayerForward<T>& layer = args.layer;
  const index_t most = kSparseTileColumns / layer.layout.width(0);
  for (index_t panel = layer.first_panel; panel < layer.end_panel; panel += most) {
    const index_t end_panel = panel + most < layer.end_panel ? panel + most : layer.end_panel;
    const index_t columns = layer.layout.first_column(end_panel) - layer.layout.first_column(panel);
    const index_t fit = kSparseSums / columns;
    const index_t step = fit < kSparseForwardRows ? fit : kSparseForwardRows;
    for (index_t r = 0; r < layer.rows; r += step) {
      sparse_forward_rows(args, r, r + step < layer.rows ? r + step : layer.rows, panel, end_panel);
    }
  }
}

// Rows of deltas, 15 vectors wide, that stay in L1 while a block of features takes its sums from them (30
// KB).
constexpr index_t kSparseDeltaRows = 64;

// sums (features, columns) (+)= A^T D for the group's panels and the rows of some tiles. Features that are
// not touched are left alone.
template <class Group, class T>
__attribute__((noinline)) static void add_features(const WeightTile<T>& tile, index_t first_tile,
                                                   index_t end_tile, const bool* touched, const T* deltas,
                                                   T* sums) {
  const SparseColumns<T>* const tiles = tile.sparse.tiles;
  const index_t features = tile.end_row - tile.first_row, rows = tile.panel_rows;
  for (index_t f = 0; f < features; ++f) {
    if (!touched[f]) continue;
    RowSums<T, Group> sum;
    if (first_tile == 0) {
      sum.zero();
    } else {
      sum.load_from(sums, features, f);
    }
    for (index_t t = first_tile; t < end_tile; ++t) {
      const int* const starts = tiles[t].starts + tile.first_row + f;
      const SparseEntry<T>* const entries = tiles[t].entries;
      for (index_t e = starts[0]; e < starts[1]; ++e) sum.add(entries[e].value, deltas, rows, entries[e].row);
    }
    sum.store_to(sums, features, f);
  }
}

template <class T>
static void sparse_weight_tile(const WeightTile<T>& tile) {
  const PanelLayout& layout = tile.layout;
  const index_t features = tile.end_row - tile.first_row;
  const SparseColumns<T>* const row_tiles = tile.sparse.tiles;
  alignas(64) T sums[kSparseBlockRows * kMostPanels * PanelLayout::kMaxVectors * Simd<T>::kLength];
  // Without momentum, penalty or decay a weight whose gradient is zero stays as it is, bit for bit.
  const bool skip = tile.use == GradientUse::update && tile.step.solver == Solver::sgd &&
                    !tile.step.has_momentum && tile.step.alpha == 0;
  bool touched[kSparseBlockRows];
  for (index_t f = 0; f < features; ++f) {
    int entries = 0;
    const index_t feature = tile.first_row + f;
    for (index_t t = 0; skip && t < tile.sparse.count; ++t) {
      entries += row_tiles[t].starts[feature + 1] - row_tiles[t].starts[feature];
    }
    touched[f] = !skip || entries > 0;
  }
  const index_t fit = kSparseDeltaRows / tile.sparse.tile_rows;
  const index_t step = fit < 1 ? 1 : fit;

  for (index_t panel = tile.first_panel; panel < tile.end_panel; panel += kMostPanels) {
    const index_t left = tile.end_panel - panel;
    const index_t panels = left < kMostPanels ? left : kMostPanels;
    const T* const deltas = tile.delta_panels + layout.first_column(panel) * tile.panel_rows;
    with_panel_group(layout, panel, panels, [&](auto group) {
      for (index_t first = 0; first < tile.sparse.count; first += step) {
        const index_t end = first + step < tile.sparse.count ? first + step : tile.sparse.count;
        add_features<decltype(group)>(tile, first, end, touched, deltas, sums);
      }
    });
    for (index_t p = panel; p < panel + panels; ++p) {
      const index_t at = layout.first_column(p) - layout.first_column(panel);
      finish_weight_panel(tile, p, sums + at * features, skip ? touched : nullptr);
    }
  }
}

}  // namespace parmlp::PARMLP_TARGET
