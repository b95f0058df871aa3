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

// Where the group's panels of a matrix begin. The compiler may not know that they have one base: it would
// work out every vector's address from it, in twice as many instructions as there are multiplications.
template <class T, class Group>
struct GroupPanels {
  static constexpr index_t kLength = 32 / sizeof(T);
  // Values before a row, in a panel of kBase + 1 vectors and in one of kBase.
  struct Row {
    index_t in_wide, in_narrow;
  };
  const T* panels[Group::kPanels];

  PARMLP_INLINE GroupPanels(const T* first, index_t rows) {
#pragma GCC unroll 8
    for (int p = 0; p < Group::kPanels; ++p) {
      panels[p] = first;
      asm("" : "+r"(panels[p]));
      first += (p < Group::kWide ? Group::kBase + 1 : Group::kBase) * rows * kLength;
    }
  }
  PARMLP_INLINE Row row(index_t row) const {
    Row place{row * (Group::kBase + 1) * kLength, row * Group::kBase * kLength};
    asm("" : "+r"(place.in_wide), "+r"(place.in_narrow));
    return place;
  }
  PARMLP_INLINE const T* vector(const Row& row, int i) const {
    const bool wide = i < Group::kInWide;
    const int vectors = wide ? Group::kBase + 1 : Group::kBase;
    const int panel = wide ? i / vectors : Group::kWide + (i - Group::kInWide) / vectors;
    const int lane = wide ? i % vectors : (i - Group::kInWide) % vectors;
    return panels[panel] + (wide ? row.in_wide : row.in_narrow) + lane * kLength;
  }
};

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
  // w[row] moves by plain sgd, with these as its gradient's sums.
  PARMLP_INLINE void step_from(const SolverStep<T>& step, T* w, index_t rows, index_t row) const {
#pragma GCC unroll 16
    for (int i = 0; i < Group::kVectors; ++i) {
      T* const place = Group::place(w, rows, row, i);
      const Vec<T> old = load(place);
      Vec<T> none{};
      store(place, Sgd<T>::update(step, old, mean_gradient(step, T(0), old, acc[i]), none, none, false));
    }
  }
  // += scale * b[row]
  PARMLP_INLINE void add(T scale, const GroupPanels<T, Group>& b, index_t row) {
    const Vec<T> s = splat(scale);
    const typename GroupPanels<T, Group>::Row place = b.row(row);
#pragma GCC unroll 16
    for (int i = 0; i < Group::kVectors; ++i) acc[i] = fma(s, load(b.vector(place, i)), acc[i]);
  }
};

// Every entry sets its row's bit and writes the start of the block after its own, where the last one wins;
// blocks without entries take their predecessor's. No branch depends on the data.
template <class T>
static void index_rows(const IndexRows<T>& args) {
  const int shift = sparse_block_shift(args.x.features);
  const index_t blocks = sparse_blocks(args.x.features);
  RowMask* const masks = args.masks;
  for (index_t f = 0; masks && f < args.x.features; ++f) masks[f] = 0;
  int* starts = args.out.block_starts;
  for (index_t r = 0; r < args.rows; ++r, starts += blocks + 1) {
    if (r < args.ahead.rows) __builtin_prefetch(args.x.starts + args.ahead.row_ids[r]);
    const index_t id = args.row_ids ? args.row_ids[r] : args.first_row + r;
    const index_t begin = args.x.starts[id], entries = args.x.starts[id + 1] - begin;
    const int* const columns = args.x.columns + begin;
    args.out.begins[r] = begin;
    for (index_t b = 0; b <= blocks; ++b) starts[b] = 0;
    for (index_t e = 0; e < entries; ++e) {
      const int column = columns[e];
      starts[(column >> shift) + 1] = static_cast<int>(e) + 1;
      if (masks) masks[column] |= RowMask{1} << r;
      asm("" : "+r"(e));  // or GCC makes it a scatter instruction, which is slower
    }
    int last = 0;
    for (index_t b = 1; b <= blocks; ++b) {
      last = starts[b] > last ? starts[b] : last;
      starts[b] = last;
    }
  }
}

// Weights that forward takes at a time, in whole blocks, while the rows go by. A row's list of entries costs
// some 45 cycles besides its terms, so that longer lists pay although they come from L2: 784-100-10 in blocks
// of 32, 64 and 128 features took 0.70, 0.56 and 0.53 us a row on a Zen 4.
constexpr index_t kSparseForwardBytes = index_t{52} << 10;

// Rows whose sums share L1 with the weights.
constexpr index_t kSparseForwardRows = 32;
constexpr index_t kSparseSums = kSparseForwardRows * 128;

// Asks for every so many-th line of row r of those ahead, from line `part` on. Rows come in random order, so
// that no hardware prefetcher sees them coming, and they have to be asked for a few lines at a time: of a
// burst of 64 a Zen 4 drops up to a half.
template <class T>
PARMLP_INLINE void fetch_entries(const SparseForward<T>& args, index_t r, index_t part, index_t parts) {
  constexpr index_t kColumns = 64 / sizeof(int), kValues = 64 / sizeof(T);
  if (r >= args.ahead.rows) return;
  const index_t id = args.ahead.row_ids[r], begin = args.x.starts[id], end = args.x.starts[id + 1];
  if (begin == end) return;
  for (index_t e = begin + part * kColumns; e < end + kColumns - 1; e += parts * kColumns) {
    __builtin_prefetch(args.x.columns + (e < end ? e : end - 1), 0, 2);
  }
  for (index_t e = begin + part * kValues; e < end + kValues - 1; e += parts * kValues) {
    __builtin_prefetch(args.x.values + (e < end ? e : end - 1), 0, 2);
  }
}

// sums (rows, columns) = x W for the group's panels, W's and the sums' first given.
template <class Group, class T>
__attribute__((noinline)) static void sparse_product(const SparseForward<T>& args, index_t first, index_t end,
                                                     const T* weights, T* sums, index_t columns, bool fetch) {
  const index_t blocks = sparse_blocks(args.x.features);
  const index_t block_bytes = (Group::kVectors * index_t{32}) << sparse_block_shift(args.x.features);
  const index_t step = kSparseForwardBytes < block_bytes ? 1 : kSparseForwardBytes / block_bytes;
  const GroupPanels<T, Group> w(weights, args.x.features);
  const int* const columns_of = args.x.columns;
  const T* const values = args.x.values;
  for (index_t block = 0; block < blocks; block += step) {
    const index_t next = block + step < blocks ? block + step : blocks;
    T* row_sums = sums;
    for (index_t r = first; r < end; ++r, row_sums += columns) {
      const int* const starts = args.rows.block_starts + r * (blocks + 1);
      if (fetch) fetch_entries(args, r, block / step, (blocks - 1) / step + 1);
      if (starts[block] == starts[next] && block > 0) continue;
      RowSums<T, Group> sum;
      if (block == 0) {
        sum.zero();
      } else {
        sum.load_from(row_sums, 1, 0);
      }
      const index_t begin = args.rows.begins[r];
      for (index_t e = begin + starts[block]; e < begin + starts[next]; ++e) {
        sum.add(values[e], w, columns_of[e]);
      }
      sum.store_to(row_sums, 1, 0);
    }
  }
}

template <class T>
static void sparse_forward(const SparseForward<T>& args) {
  const LayerForward<T>& layer = args.layer;
  const PanelLayout& layout = layer.layout;
  const index_t most = kSparseTileColumns / layout.width(0);
  alignas(64) T sums[kSparseSums];
  for (index_t first_panel = layer.first_panel; first_panel < layer.end_panel; first_panel += most) {
    const index_t end_panel = first_panel + most < layer.end_panel ? first_panel + most : layer.end_panel;
    const index_t column = layout.first_column(first_panel);
    const index_t columns = layout.first_column(end_panel) - column;
    const index_t fit = kSparseSums / columns;
    const index_t step = fit < kSparseForwardRows ? fit : kSparseForwardRows;
    for (index_t r = 0; r < layer.rows; r += step) {
      const index_t end = r + step < layer.rows ? r + step : layer.rows;
      for (index_t panel = first_panel; panel < end_panel; panel += kMostPanels) {
        const index_t panels = end_panel - panel < kMostPanels ? end_panel - panel : kMostPanels;
        const index_t at = layout.first_column(panel);
        with_panel_group(layout, panel, panels, [&](auto group) {
          sparse_product<decltype(group)>(args, r, end, layer.weights + at * layout.rows, sums + at - column,
                                          columns, panel == 0);
        });
      }
      finish_forward(layer, r, end - r, column, columns, sums);
    }
  }
}

// Features whose sums are taken together.
constexpr index_t kSparseFeatures = 64;

// Some features of some rows of the batch: at most as many rows as a mask has bits. Their deltas, 15 vectors
// wide, stay in L1 (30 KB) while the features take their sums from them.
template <class T>
struct MaskedRows {
  index_t first_row;  // in the panels of deltas
  const T** next_values;
  RowMask masks[kSparseFeatures];
};

// sums (features, columns) (+)= A^T D for a group of panels from `column` on, or with `update` plain sgd's
// step on the weights instead of the sums. A feature's values are found row by row: each row's come in order
// of their features. Features that are not touched are left alone.
template <class Group, class T>
__attribute__((noinline)) static void add_features(const WeightTile<T>& tile, index_t column,
                                                   const MaskedRows<T>& rows, bool first, bool update,
                                                   const bool* touched, T* sums) {
  const GroupPanels<T, Group> deltas(tile.delta_panels + column * tile.panel_rows, tile.panel_rows);
  const index_t features = tile.end_row - tile.first_row;
  const T** const next_values = rows.next_values;
  for (index_t f = 0; f < features; ++f) {
    RowMask mask = rows.masks[f];
    if (!touched[f] || (mask == 0 && !first && !update)) continue;
    RowSums<T, Group> sum;
    if (first) {
      sum.zero();
    } else {
      sum.load_from(sums, features, f);
    }
    for (; mask != 0; mask &= mask - 1) {
      const index_t row = __builtin_ctzll(mask);
      sum.add(*next_values[row]++, deltas, rows.first_row + row);
    }
    if (update) {
      sum.step_from(tile.step, tile.weights + column * tile.layout.rows, tile.layout.rows,
                    tile.first_row + f);
    } else {
      sum.store_to(sums, features, f);
    }
  }
}

// The masks of some features in neighbouring tiles, as those of one.
PARMLP_INLINE void join_masks(const RowMask* masks, index_t stride, index_t tiles, index_t tile_rows,
                              index_t features, RowMask* joined) {
  for (index_t f = 0; f < features; ++f) joined[f] = masks[f];
  for (index_t t = 1; t < tiles; ++t) {
    for (index_t f = 0; f < features; ++f) joined[f] |= masks[t * stride + f] << (t * tile_rows);
  }
}

// At most kSparseFeatures of a tile's features, for the panels of a group.
template <class Group, class T>
PARMLP_INLINE void sparse_features(WeightTile<T> tile, index_t panel, index_t panels) {
  const PanelLayout& layout = tile.layout;
  const SparseInput<T>& input = tile.sparse;
  const index_t features = tile.end_row - tile.first_row;
  alignas(64) T sums[kSparseFeatures * kMostPanels * PanelLayout::kMaxVectors * Simd<T>::kLength];
  // Without momentum, penalty or decay a weight whose gradient is zero stays as it is, bit for bit; the
  // others are updated from registers.
  const bool in_place = tile.use == GradientUse::update && tile.step.solver == Solver::sgd &&
                        !tile.step.has_momentum && tile.step.alpha == 0;
  bool touched[kSparseFeatures];
  for (index_t f = 0; f < features; ++f) {
    RowMask any = !in_place;
    for (index_t t = 0; t < input.tiles; ++t) any |= input.masks[t * layout.rows + tile.first_row + f];
    touched[f] = any != 0;
  }
  const index_t column = layout.first_column(panel);
  MaskedRows<T> rows;
  const index_t step = kMaxTileRows / input.tile_rows;
  for (index_t t = 0; t < input.tiles; t += step) {
    const bool last = t + step >= input.tiles;
    join_masks(input.masks + t * layout.rows + tile.first_row, layout.rows, last ? input.tiles - t : step,
               input.tile_rows, features, rows.masks);
    rows.first_row = tile.panel_row + t * input.tile_rows;
    rows.next_values = input.next_values + t * input.tile_rows;
    add_features<Group>(tile, column, rows, t == 0, last && in_place, touched, sums);
  }
  if (in_place) tile.end_row = tile.first_row;  // the biases are left
  for (index_t p = panel; p < panel + panels; ++p) {
    finish_weight_panel(tile, p, sums + (layout.first_column(p) - column) * features);
  }
}

template <class T>
static void sparse_weight_tile(const WeightTile<T>& tile) {
  const PanelLayout& layout = tile.layout;
  const SparseInput<T>& input = tile.sparse;
  const index_t blocks = sparse_blocks(layout.rows);
  const int* const starts = input.rows.block_starts + (tile.first_row >> sparse_block_shift(layout.rows));
  for (index_t panel = tile.first_panel; panel < tile.end_panel; panel += kMostPanels) {
    const index_t left = tile.end_panel - panel;
    const index_t panels = left < kMostPanels ? left : kMostPanels;
    for (index_t r = 0; r < tile.batch; ++r) {
      input.next_values[r] = input.values + input.rows.begins[r] + starts[r * (blocks + 1)];
    }
    with_panel_group(layout, panel, panels, [&](auto group) {
      WeightTile<T> part = tile;
      for (index_t row = tile.first_row; row < tile.end_row; row += kSparseFeatures) {
        part.first_row = row;
        part.end_row = row + kSparseFeatures < tile.end_row ? row + kSparseFeatures : tile.end_row;
        sparse_features<decltype(group)>(part, panel, panels);
      }
    });
  }
}

}  // namespace parmlp::PARMLP_TARGET
