// The layer and weight kernels with bfloat16 operands: float32 sums and epilogues, then rounding for the next
// product.

namespace parmlp::PARMLP_TARGET {

// The rounded `low` in the lower half, `high` in the upper. NaN stays NaN; denormals become zero.
PARMLP_INLINE Vec<Bf16Pair> round_both(Vec<float> low, Vec<float> high) {
  return reinterpret_cast<Vec<Bf16Pair>>(
      _mm256_cvtne2ps_pbh(reinterpret_cast<__m256>(high), reinterpret_cast<__m256>(low)));
}

// Lanes (low[i], high[i]) of round_both(low, high).
PARMLP_INLINE Vec<Bf16Pair> interleave(Vec<Bf16Pair> both) {
  const __m256i order = _mm256_setr_epi16(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
  return reinterpret_cast<Vec<Bf16Pair>>(_mm256_permutexvar_epi16(order, reinterpret_cast<__m256i>(both)));
}

PARMLP_INLINE void store_half(Bf16Pair* p, __m128i half) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), half);
}

// Rounds one vector of two rows, of which the second may be missing, at an even column.
PARMLP_INLINE void round_vectors(Vec<float> even, Vec<float> odd, bool has_odd, const Bf16Rows& out,
                                 index_t row, index_t column) {
  const Vec<Bf16Pair> both = round_both(even, odd);
  if (out.rows) {
    Bf16Pair* to = out.rows + row * out.row_stride + column / 2;
    store_half(to, _mm256_castsi256_si128(reinterpret_cast<__m256i>(both)));
    if (has_odd) {
      store_half(to + out.row_stride, _mm256_extracti128_si256(reinterpret_cast<__m256i>(both), 1));
    }
  }
  if (out.row_pairs) store(out.row_pairs + row / 2 * out.row_pair_stride + column, interleave(both));
}

// Whole vectors.
PARMLP_INLINE void round_rows(const float* values, index_t stride, index_t rows, index_t width,
                              const Bf16Rows& out) {
  constexpr int kLength = Simd<float>::kLength;
  for (index_t r = 0; r < rows; r += 2) {
    const bool has_odd = r + 1 < rows;
    const float* row = values + r * stride;
    for (index_t c = 0; c < width; c += kLength) {
      round_vectors(load(row + c), has_odd ? load(row + stride + c) : Vec<float>{}, has_odd, out, r, c);
    }
  }
}

static void bf16_gather(const Bf16Gather<float>& args) {
  constexpr int kLength = Simd<float>::kLength;
  const Gather<float>& gather = args.gather;
  const index_t ahead = rows_ahead(gather.features);
  for (index_t r = 0; r < gather.rows; r += 2) {
    const bool has_odd = r + 1 < gather.rows;
    fetch_row(gather, r + ahead);
    fetch_row(gather, r + 1 + ahead);
    const float* even = gather.x + gather.row_ids[r] * gather.features;
    const float* odd = has_odd ? gather.x + gather.row_ids[r + 1] * gather.features : even;
    for (index_t k = 0; k < gather.features; k += kLength) {
      const index_t left = gather.features - k;
      const auto mask = static_cast<__mmask8>(left < kLength ? (1 << left) - 1 : 0xff);
      const auto odd_mask = static_cast<__mmask8>(has_odd ? mask : 0);
      round_vectors(reinterpret_cast<Vec<float>>(_mm256_maskz_loadu_ps(mask, even + k)),
                    reinterpret_cast<Vec<float>>(_mm256_maskz_loadu_ps(odd_mask, odd + k)), has_odd, args.out,
                    r, k);
    }
  }
}

PARMLP_INLINE Bf16Pair* at_column(Bf16Pair* pairs, index_t offset) {
  return pairs ? pairs + offset : nullptr;
}

static void bf16_layer_forward(const Bf16Forward<float>& args) {
  const LayerForward<float>& layer = args.layer;
  LineStream<float> lines = upcoming_lines(layer);
  multiply_panels(args.a, args.a_stride, layer.rows, args.weights, layer.layout, layer.first_panel,
                  layer.end_panel, &lines,
                  [&](const float* sums, index_t column, index_t width) __attribute__((always_inline)) {
                    finish_forward(layer, 0, layer.rows, column, width, sums);
                    round_rows(layer.out + column, layer.out_stride, layer.rows, width,
                               {at_column(args.out.rows, column / 2), args.out.row_stride,
                                at_column(args.out.row_pairs, column), args.out.row_pair_stride});
                  });
}

static void bf16_layer_backward(const Bf16Backward<float>& args) {
  LayerBackward<float> layer = args.layer;
  const index_t panel_pairs = pairs_of(layer.panel_rows), panel_pair = layer.panel_row / 2;
  // The float32 deltas go no further than the sums they are made of, in the form of one panel.
  layer.out = nullptr;
  layer.panel_rows = layer.panel_row = 0;
  multiply_panels(args.delta, args.delta_stride, layer.rows, args.transposed, layer.layout, layer.first_panel,
                  layer.end_panel, static_cast<LineStream<float>*>(nullptr),
                  [&](float* sums, index_t column, index_t width) __attribute__((always_inline)) {
                    layer.out_panels = sums;
                    finish_backward(layer, column, width, sums);
                    round_rows(sums, width, layer.rows, width,
                               {at_column(args.out, column / 2), args.out_stride,
                                args.out_panels + column * panel_pairs + panel_pair * width, width});
                  });
}

static void bf16_round_deltas(const Bf16Deltas<float>& args) {
  for (index_t panel = 0; panel < args.layout.panels; ++panel) {
    const index_t column = args.layout.first_column(panel);
    const index_t width = args.layout.width(panel);
    round_rows(args.delta_panels + column * args.panel_rows + args.panel_row * width, width, args.rows, width,
               {at_column(args.out, column / 2), args.out_stride,
                args.out_panels + column * pairs_of(args.panel_rows) + args.panel_row / 2 * width, width});
  }
}

// Rounds rows [first_row, first_row + rows) of one panel of W; at most kMaxTileRows, and first_row is a
// multiple of 8.
PARMLP_INLINE void round_weight_panel(const Bf16Weights<float>& w, index_t panel, index_t first_row,
                                      index_t rows) {
  const index_t column = w.layout.first_column(panel);
  const index_t width = w.layout.width(panel);
  // Pairs along the columns, moved as floats of the same bits; and a vector that ends the last row's.
  constexpr int kLength = Simd<float>::kLength;
  alignas(64) float column_pairs[kMaxTileRows * PanelLayout::kMaxVectors * kLength / 2 + kLength];
  round_rows(w.weights + column * w.layout.rows + first_row * width, width, rows, width,
             {w.transposed ? reinterpret_cast<Bf16Pair*>(column_pairs) : nullptr, width / 2,
              w.pairs + column * w.pairs_layout.rows + first_row / 2 * width, width});
  if (!w.transposed) return;
  store(column_pairs + (rows + kLength - 1) / kLength * kLength * (width / 2), Vec<float>{});
  store_transposed(reinterpret_cast<float*>(w.transposed), w.transposed_layout, first_row, rows, column / 2,
                   width / 2, column_pairs);
}

static void bf16_round_weights(const Bf16Weights<float>& w) {
  for (index_t panel = 0; panel < w.layout.panels; ++panel) {
    for (index_t row = 0; row < w.layout.rows; row += kMaxTileRows) {
      const index_t left = w.layout.rows - row;
      round_weight_panel(w, panel, row, left < kMaxTileRows ? left : kMaxTileRows);
    }
  }
}

static void bf16_weight_tile(const Bf16WeightTile<float>& args) {
  const WeightTile<float>& tile = args.tile;
  TileSums<float> sums;
  BiasSums<float> bias_sums;
  const index_t rows = tile.end_row - tile.first_row;
  for (index_t panel = tile.first_panel; panel < tile.end_panel; ++panel) {
    const index_t vectors = tile.layout.vectors(panel);
    const index_t width = tile.layout.width(panel);
    const index_t column = tile.layout.first_column(panel);
    if (tile.use != GradientUse::apply) {
      if (tile.fetch_weights)
        prefetch_weights(tile, column * tile.layout.rows + tile.first_row * width, rows * width);
      Product<Bf16Pair> product{
          .a = args.a + tile.first_row,
          .a_row = 1,
          .a_k = args.a_stride,
          .b = args.delta_panels + column * pairs_of(tile.panel_rows) + tile.panel_row / 2 * width,
          .b_k = width,
          .rows = rows,
          .depth = pairs_of(tile.batch)};
      multiply(product, vectors, sums.values);
      if (tile.first_row == 0) {
        const Bf16Pair ones{0x3f803f80u};
        product.a = &ones;
        product.a_k = 0;
        product.rows = 1;
        multiply(product, vectors, bias_sums.values);
      }
    }
    use_gradient(tile, panel, sums.values, bias_sums.values);
    if (tile.use != GradientUse::store) round_weight_panel(args.copies, panel, tile.first_row, rows);
  }
}

}  // namespace parmlp::PARMLP_TARGET
