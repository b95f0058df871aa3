#include "step/minibatch_step.h"

#include <algorithm>

namespace parmlp {
namespace {

// Rows whose losses are added up by one call of the kernel: full register tiles, and a divisor of every tile.
constexpr index_t kLossRows = 8;

// A network whose weights fit beside a block of rows in a typical 1 MB L2 takes the rows through all
// layers at once; a larger one would fetch every weight from L3 again for each block.
constexpr index_t kFusedWeightBytes = index_t{640} << 10;

// A last layer this small goes back through its weights while its rows' activations are still in L2.
constexpr index_t kNarrowLayerBytes = index_t{128} << 10;

// Rows of a tile that goes through all layers: as many as a kernel takes, for every call has its cost, but
// two tiles for each of several workers. The loss is summed by groups of kLossRows, so this changes no bit.
index_t fused_rows_per_tile(index_t batch, index_t workers) {
  const index_t rows = workers == 1 ? kMaxTileRows : batch / (2 * workers) / kLossRows * kLossRows;
  return std::clamp<index_t>(rows, kLossRows, kMaxTileRows);
}

// Rows of a tile of one layer and panel: the panels of W come from L3 once for each block of rows, so
// blocks are tall; the panels make tiles enough.
index_t layer_rows_per_tile(index_t batch) { return std::clamp<index_t>(batch / 2 / 8 * 8, 8, kMaxTileRows); }

// A stride that is a multiple of a large power of two puts a column of the matrix into a few sets of L1.
template <class T>
index_t padded_stride(index_t columns, index_t vector_length) {
  constexpr index_t kLine = 64 / sizeof(T);
  index_t stride = (columns + vector_length - 1) / vector_length * vector_length;
  stride = (stride + kLine - 1) / kLine * kLine;
  if (stride % (1024 / static_cast<index_t>(sizeof(T))) == 0) stride += kLine;
  return stride;
}

template <class T>
T* row_or_null(AlignedBuffer<T>& buffer, index_t offset) {
  return buffer.empty() ? nullptr : buffer.data() + offset;
}
template <class T>
const T* row_or_null(const AlignedBuffer<T>& buffer, index_t offset) {
  return buffer.empty() ? nullptr : buffer.data() + offset;
}

}  // namespace

const char* name(Phase::Kind kind) {
  switch (kind) {
    case Phase::rows:
      return "rows";
    case Phase::gather:
      return "gather";
    case Phase::forward:
      return "forward";
    case Phase::output:
      return "output";
    case Phase::backward:
      return "backward";
    case Phase::weights:
      return "weights";
    case Phase::shards:
      return "shards";
    case Phase::apply:
      return "apply";
  }
  return nullptr;  // not reached: -Wswitch keeps the list complete
}

template <class T>
MinibatchStep<T>::MinibatchStep(Network<T>& network, Schedule schedule, index_t max_batch, index_t workers)
    : network_(network),
      schedule_(schedule),
      max_batch_(max_batch),
      workers_(workers),
      workers_used_(workers) {
  allocate(max_batch);
  if (bf16()) allocate_bf16(max_batch);
  if (schedule == Schedule::partial_gradients) {
    shard_gradients_ = AlignedBuffer<T>(workers * network.parameter_count());
  }
}

template <class T>
void MinibatchStep<T>::allocate(index_t max_batch) {
  const NetworkDescription& d = network_.description();
  const bool keep_z = needs_preactivation(d.hidden);
  for (index_t l = 0; l <= d.layers(); ++l) {
    Buffers b;
    b.stride = padded_stride<T>(d.layer_units[static_cast<std::size_t>(l)], network_.kernels().vector_length);
    // In bfloat16 no product reads these: activations stay for f'(z), deltas on their way to be rounded.
    if (l > 0 || !bf16()) b.a = AlignedBuffer<T>(max_batch * b.stride);
    if (l == d.layers() || (l > 0 && !bf16())) {
      b.delta_panels = AlignedBuffer<T>(max_batch * network_.place(l - 1).layout.padded_columns());
    }
    if (l > 1 && !bf16()) b.delta = AlignedBuffer<T>(max_batch * b.stride);
    if (keep_z && l > 0 && l < d.layers()) b.z = AlignedBuffer<T>(max_batch * b.stride);
    buffers_.push_back(std::move(b));
  }
}

template <class T>
void MinibatchStep<T>::allocate_bf16(index_t max_batch) {
  const NetworkDescription& d = network_.description();
  for (index_t l = 0; l <= d.layers(); ++l) {
    const index_t units = d.layer_units[static_cast<std::size_t>(l)];
    Bf16Buffers b;
    b.stride = padded_stride<Bf16Pair>(pairs_of(units), network_.kernels().vector_length);
    if (l < d.layers()) {
      b.a = AlignedBuffer<Bf16Pair>(max_batch * b.stride);
      b.a_row_pairs = AlignedBuffer<Bf16Pair>(pairs_of(max_batch) * buffers(l).stride);
    }
    if (l > 1) b.delta = AlignedBuffer<Bf16Pair>(max_batch * b.stride);
    if (l > 0) {
      b.delta_panels =
          AlignedBuffer<Bf16Pair>(pairs_of(max_batch) * network_.place(l - 1).layout.padded_columns());
    }
    bf16_buffers_.push_back(std::move(b));
  }
}

template <class T>
typename MinibatchStep<T>::Range MinibatchStep<T>::share(index_t parts, index_t part) const {
  const index_t unit = bf16() ? 2 : 1, units = (batch_ + unit - 1) / unit;
  return {std::min(units * part / parts * unit, batch_), std::min(units * (part + 1) / parts * unit, batch_)};
}

template <class T>
void MinibatchStep<T>::set_samples(const Samples<T>& samples) {
  const bool was_sparse = is_sparse();
  samples_ = samples;
  if (is_sparse() != was_sparse) planned_batch_ = -1;
  if (!is_sparse()) return;
  const SparseRows<T>& x = samples_.sparse;
  index_t most = 0;
  for (index_t r = 0; r < x.rows; ++r) most = std::max(most, x.starts[r + 1] - x.starts[r]);
  if (most > most_entries_ || sparse_entries_.empty()) {
    most_entries_ = most;
    sparse_entries_ = AlignedBuffer<SparseEntry<T>>(std::max<index_t>(1, max_batch_ * most));
    planned_batch_ = -1;
  }
}

template <class T>
void MinibatchStep<T>::plan(index_t batch) {
  planned_batch_ = batch;
  phases_.clear();
  plan_weight_blocks(batch);
  const index_t layers = network_.layers();
  const index_t blocks = static_cast<index_t>(blocks_.size());
  const auto parts_of = [&](index_t rows) { return (batch + rows - 1) / rows; };
  tile_rows_ = fused_rows_per_tile(batch, workers_used_);
  const index_t row_tiles = parts_of(tile_rows_);
  if (is_sparse()) plan_sparse_columns(row_tiles);
  layer_row_tiles_ = parts_of(layer_rows_per_tile(batch));

  if (schedule_ == Schedule::partial_gradients) {
    phases_.push_back({Phase::shards, 0, workers_});
    phases_.push_back({Phase::apply, 0, blocks});
    losses_.assign(static_cast<std::size_t>(workers_), 0.0);
    return;
  }
  losses_.assign(static_cast<std::size_t>(parts_of(kLossRows)), 0.0);
  if (fits_l2()) {
    phases_.push_back({Phase::rows, 0, row_tiles});
  } else {
    phases_.push_back({Phase::gather, 0, row_tiles});
    for (index_t l = 0; l + 1 < layers; ++l) {
      phases_.push_back({Phase::forward, l, layer_row_tiles_ * forward_parts(l)});
    }
    phases_.push_back({Phase::output, layers - 1, row_tiles});
    for (index_t l = layers - (last_layer_is_narrow() ? 2 : 1); l > 0; --l) {
      phases_.push_back({Phase::backward, l, layer_row_tiles_ * network_.place(l).transposed_layout.panels});
    }
  }
  phases_.push_back({Phase::weights, 0, blocks});
}

template <class T>
bool MinibatchStep<T>::fits_l2() const {
  return network_.parameter_count() * static_cast<index_t>(sizeof(T)) <= kFusedWeightBytes;
}

template <class T>
bool MinibatchStep<T>::last_layer_is_narrow() const {
  const PanelLayout& layout = network_.place(network_.layers() - 1).transposed_layout;
  return layout.size() * static_cast<index_t>(sizeof(T)) <= kNarrowLayerBytes;
}

template <class T>
void MinibatchStep<T>::plan_weight_blocks(index_t batch) {
  const index_t layers = network_.layers();
  // In multiply-adds. A tile costs some 100 ns to hand out; 64 of them let 16 workers share a phase evenly.
  constexpr index_t kLeast = 32768;
  index_t total = 0;
  for (index_t l = 0; l < layers; ++l) total += network_.place(l).layout.size() * batch;
  const index_t wanted = std::max(kLeast, total / 64);

  blocks_.clear();
  penalties_.clear();
  first_penalty_.clear();
  for (index_t l = 0; l < layers; ++l) {
    const PanelLayout& layout = network_.place(l).layout;
    first_penalty_.push_back(static_cast<index_t>(penalties_.size()));
    penalties_.resize(penalties_.size() + static_cast<std::size_t>((layout.rows + kPenaltyRows - 1) /
                                                                   kPenaltyRows * layout.panels));
    if (l == 0 && is_sparse()) {
      plan_sparse_blocks();
      continue;
    }
    index_t height = kMaxTileRows;
    while (height > 8 && height * layout.width(0) * batch > wanted) height /= 2;
    for (index_t row = 0; row < layout.rows; row += height) {
      for (index_t panel = 0; panel < layout.panels; ++panel) {
        blocks_.push_back({l, row, std::min(row + height, layout.rows), panel, panel + 1});
      }
    }
  }
}

// Panels of a sparse tile: as many as fit kSparseTileColumns.
template <class T>
index_t MinibatchStep<T>::sparse_panels() const {
  const PanelLayout& layout = network_.place(0).layout;
  return std::min(layout.panels, kSparseTileColumns / layout.width(0));
}

// Tiles of columns that a block of rows has in a forward phase.
template <class T>
index_t MinibatchStep<T>::forward_parts(index_t layer) const {
  const index_t panels = network_.place(layer).layout.panels;
  return layer == 0 && is_sparse() ? (panels + sparse_panels() - 1) / sparse_panels() : panels;
}

template <class T>
void MinibatchStep<T>::plan_sparse_blocks() {
  const PanelLayout& layout = network_.place(0).layout;
  // A tall tile reads the deltas into L1 less often; several workers need tiles to share.
  const index_t height = workers_used_ == 1 ? kSparseBlockRows : kSparseBlockRows / 2;
  for (index_t row = 0; row < layout.rows; row += height) {
    for (index_t panel = 0; panel < layout.panels; panel += sparse_panels()) {
      blocks_.push_back({0, row, std::min(row + height, layout.rows), panel,
                         std::min(panel + sparse_panels(), layout.panels)});
    }
  }
}

// Where the columns of each tile of rows lie: those of a shard follow one another.
template <class T>
void MinibatchStep<T>::plan_sparse_columns(index_t row_tiles) {
  tiles_per_shard_ = ((planned_batch_ + workers_ - 1) / workers_ + kMaxTileRows - 1) / kMaxTileRows;
  const index_t tiles = schedule_ == Schedule::partial_gradients ? workers_ * tiles_per_shard_ : row_tiles;
  sparse_stride_ = samples_.sparse.features + 2;
  if (sparse_starts_.size() < tiles * sparse_stride_)
    sparse_starts_ = AlignedBuffer<int>(tiles * sparse_stride_);
  sparse_columns_.resize(static_cast<std::size_t>(tiles));
}

template <class T>
void MinibatchStep<T>::begin(const index_t* row_ids, index_t batch, index_t upcoming, double learning_rate) {
  if (batch != planned_batch_) plan(batch);
  row_ids_ = row_ids;
  batch_ = batch;
  upcoming_ = upcoming;
  weight_ = static_cast<double>(batch);
  if (samples_.sample_weight) {
    weight_ = 0;
    for (index_t i = 0; i < batch; ++i) {
      weight_ += static_cast<double>(samples_.sample_weight[row_ids[i]]);
    }
  }
  solver_step_ = network_.solver_step(learning_rate, weight_);
}

template <class T>
void MinibatchStep<T>::use_workers(index_t workers) {
  if (workers != workers_used_) planned_batch_ = -1;
  workers_used_ = workers;
}

template <class T>
double MinibatchStep<T>::finish() {
  double loss = 0, penalty = 0;
  for (const double x : losses_) loss += x;
  if (network_.solver().alpha != 0) {
    for (const double x : penalties_) penalty += x;
  }
  network_.set_steps(network_.steps() + 1);
  return loss / weight_ + 0.5 * network_.solver().alpha * penalty / weight_;
}

template <class T>
void MinibatchStep<T>::gather(Range rows, index_t tile) {
  if (is_sparse()) {
    SparseEntry<T>* const entries = sparse_entries_.data() + rows.begin * most_entries_;
    int* const starts = sparse_starts_.data() + tile * sparse_stride_;
    sparse_columns_[static_cast<std::size_t>(tile)] = {starts, entries};
    return network_.kernels().transpose_rows({
        .x = samples_.sparse,
        .row_ids = row_ids_ + rows.begin,
        .rows = rows.size(),
        .rows_to_come = batch_ + upcoming_ - rows.end,
        .first_row = rows.begin,
        .starts = starts,
        .entries = entries,
    });
  }
  Buffers& b = buffers(0);
  const Gather<T> args{
      .x = samples_.x,
      .features = network_.description().layer_units.front(),
      .row_ids = row_ids_ + rows.begin,
      .rows = rows.size(),
      .rows_to_come = batch_ - rows.end,
      .out = row_or_null(b.a, rows.begin * b.stride),
      .out_stride = b.stride,
  };
  if (bf16()) {
    bf16()->gather({.gather = args, .out = bf16_rows(0, rows.begin)});
  } else {
    network_.kernels().gather(args);
  }
}

// Where the activations of a layer's units go, from this row on; nowhere for the last.
template <class T>
Bf16Rows MinibatchStep<T>::bf16_rows(index_t layer, index_t row) {
  Bf16Buffers& b = bf16_buffers(layer);
  const index_t stride = buffers(layer).stride;
  return {row_or_null(b.a, row * b.stride), b.stride, row_or_null(b.a_row_pairs, row / 2 * stride), stride};
}

template <class T>
void MinibatchStep<T>::forward(index_t layer, Range rows, index_t first_panel, index_t end_panel,
                               Range prefetch) {
  if (layer == 0 && is_sparse()) return sparse_forward(rows, first_panel, end_panel);
  const NetworkDescription& d = network_.description();
  const Buffers& in = buffers(layer);
  Buffers& out = buffers(layer + 1);
  for (index_t r = rows.begin; r < rows.end; r += kMaxTileRows) {
    LayerForward<T> args{
        .a = row_or_null(in.a, r * in.stride),
        .a_stride = in.stride,
        .rows = std::min(kMaxTileRows, rows.end - r),
        .weights = network_.weights(layer),
        .layout = network_.place(layer).layout,
        .bias = network_.bias(layer),
        .first_panel = first_panel,
        .end_panel = end_panel,
        .out = out.a.data() + r * out.stride,
        .out_stride = out.stride,
        .z = row_or_null(out.z, r * out.stride),
        .activation = d.activation(layer),
        .slope = static_cast<T>(d.leaky_relu_slope),
        .upcoming = {.x = samples_.x,
                     .features = d.layer_units.front(),
                     .row_ids = row_ids_ + prefetch.begin,
                     .rows = r == rows.begin ? prefetch.size() : 0},
    };
    if (!bf16()) {
      network_.kernels().layer_forward(args);
      continue;
    }
    args.layout = network_.place(layer).pairs_layout;
    const Bf16Buffers& pairs = bf16_buffers(layer);
    bf16()->layer_forward({.layer = args,
                           .a = pairs.a.data() + r * pairs.stride,
                           .a_stride = pairs.stride,
                           .weights = network_.bf16_weights(layer).pairs,
                           .out = bf16_rows(layer + 1, r)});
  }
}

template <class T>
void MinibatchStep<T>::sparse_forward(Range rows, index_t first_panel, index_t end_panel) {
  const NetworkDescription& d = network_.description();
  Buffers& out = buffers(1);
  network_.kernels().sparse_forward({
      .layer = {.a = nullptr,
                .a_stride = 0,
                .rows = rows.size(),
                .weights = network_.weights(0),
                .layout = network_.place(0).layout,
                .bias = network_.bias(0),
                .first_panel = first_panel,
                .end_panel = end_panel,
                .out = out.a.data() + rows.begin * out.stride,
                .out_stride = out.stride,
                .z = row_or_null(out.z, rows.begin * out.stride),
                .activation = d.activation(0),
                .slope = static_cast<T>(d.leaky_relu_slope),
                .upcoming = {}},
      .x = samples_.sparse,
      .row_ids = row_ids_ + rows.begin,
      .first_row = 0,
  });
}

// The last layer, and the losses of each kLossRows of the rows.
template <class T>
void MinibatchStep<T>::output(Range rows, double* losses) {
  const NetworkDescription& d = network_.description();
  const index_t last = network_.layers() - 1;
  forward(last, rows, 0, network_.place(last).layout.panels);
  Buffers& out = buffers(last + 1);
  for (index_t r = rows.begin; r < rows.end; r += kLossRows) {
    *losses++ = network_.kernels().output_delta({
        .out = out.a.data() + r * out.stride,
        .out_stride = out.stride,
        .rows = std::min(kLossRows, rows.end - r),
        .units = d.layer_units.back(),
        .row_ids = row_ids_ + r,
        .y = samples_.y,
        .labels = samples_.labels,
        .sample_weight = samples_.sample_weight,
        .delta = row_or_null(out.delta, r * out.stride),
        .delta_panels = out.delta_panels.data(),
        .delta_stride = out.stride,
        .panel_rows = max_batch_,
        .panel_row = r,
        .layout = network_.place(last).layout,
        .activation = d.output,
        .loss = d.loss,
    });
  }
  if (bf16()) {
    Bf16Buffers& pairs = bf16_buffers(last + 1);
    bf16()->round_deltas({.delta_panels = out.delta_panels.data(),
                          .panel_rows = max_batch_,
                          .panel_row = rows.begin,
                          .rows = rows.size(),
                          .layout = network_.place(last).layout,
                          .out = row_or_null(pairs.delta, rows.begin * pairs.stride),
                          .out_panels = pairs.delta_panels.data(),
                          .out_stride = pairs.stride});
  }
}

// The deltas of `layer`'s input from those of its output.
template <class T>
void MinibatchStep<T>::backward(index_t layer, Range rows, index_t first_panel, index_t end_panel) {
  const NetworkDescription& d = network_.description();
  Buffers& in = buffers(layer);
  const Buffers& out = buffers(layer + 1);
  for (index_t r = rows.begin; r < rows.end; r += kMaxTileRows) {
    LayerBackward<T> args{
        .delta = row_or_null(out.delta, r * out.stride),
        .delta_stride = out.stride,
        .rows = std::min(kMaxTileRows, rows.end - r),
        .transposed = network_.transposed(layer),
        .layout = network_.place(layer).transposed_layout,
        .first_panel = first_panel,
        .end_panel = end_panel,
        .a = in.a.data() + r * in.stride,
        .z = row_or_null(in.z, r * in.stride),
        .a_stride = in.stride,
        .out = row_or_null(in.delta, r * in.stride),
        .out_panels = in.delta_panels.data(),
        .out_stride = in.stride,
        .panel_rows = max_batch_,
        .panel_row = r,
        .activation = d.hidden,
        .slope = static_cast<T>(d.leaky_relu_slope),
    };
    if (!bf16()) {
      network_.kernels().layer_backward(args);
      continue;
    }
    args.layout = network_.place(layer).transposed_pairs_layout;
    const Bf16Buffers& from = bf16_buffers(layer + 1);
    Bf16Buffers& to = bf16_buffers(layer);
    bf16()->layer_backward({.layer = args,
                            .delta = from.delta.data() + r * from.stride,
                            .delta_stride = from.stride,
                            .transposed = network_.bf16_weights(layer).transposed,
                            .out = row_or_null(to.delta, r * to.stride),
                            .out_panels = to.delta_panels.data(),
                            .out_stride = to.stride});
  }
}

// Asks for the targets of some rows, which the output needs a few microseconds later: in random order each
// is a miss that nothing else hides.
template <class T>
void MinibatchStep<T>::fetch_targets(Range rows) const {
  const index_t outputs = network_.description().layer_units.back();
  for (index_t r = rows.begin; r < rows.end; ++r) {
    const index_t id = row_ids_[r];
    if (samples_.y) {
      __builtin_prefetch(samples_.y + id * outputs);
    } else {
      __builtin_prefetch(samples_.labels + id);
    }
    if (samples_.sample_weight) __builtin_prefetch(samples_.sample_weight + id);
  }
}

template <class T>
void MinibatchStep<T>::rows_to_deltas(Range rows, index_t tile, double* losses) {
  const index_t layers = network_.layers();
  fetch_targets(rows);
  gather(rows, tile);
  // While these rows are multiplied, the next tile's are fetched: rows in random order come from memory at
  // some 0.4 us each (784 features), a tenth of the step, and only loads spread over the arithmetic hide it.
  const index_t end = std::min(rows.end + rows.size(), batch_ + upcoming_);
  for (index_t l = 0; l + 1 < layers; ++l) {
    forward(l, rows, 0, network_.place(l).layout.panels, l == 0 ? Range{rows.end, end} : Range{0, 0});
  }
  output(rows, losses);
  for (index_t l = layers - 1; l > 0; --l) {
    backward(l, rows, 0, network_.place(l).transposed_layout.panels);
  }
}

// The columns of a batch's or shard's rows.
template <class T>
SparseInput<T> MinibatchStep<T>::sparse_input(Range rows, index_t shard) const {
  const bool sharded = schedule_ == Schedule::partial_gradients;
  const index_t tile_rows = sharded ? kMaxTileRows : tile_rows_;
  const index_t first = sharded ? shard * tiles_per_shard_ : 0;
  return {sparse_columns_.data() + first, (rows.size() + tile_rows - 1) / tile_rows, tile_rows};
}

template <class T>
void MinibatchStep<T>::weight_block(const WeightBlock& block, GradientUse use, Range rows, index_t shard) {
  const LayerPlace& place = network_.place(block.layer);
  const Buffers& in = buffers(block.layer);
  const Buffers& out = buffers(block.layer + 1);
  T* gradients =
      shard_gradients_.empty() ? nullptr : shard_gradients_.data() + shard * network_.parameter_count();
  const bool sparse = block.layer == 0 && is_sparse() && use != GradientUse::apply;
  const WeightTile<T> args{
      .use = use,
      .a = row_or_null(in.a, rows.begin * in.stride),
      .a_stride = in.stride,
      .delta_panels = out.delta_panels.data(),
      .panel_rows = max_batch_,
      .panel_row = rows.begin,
      .batch = rows.size(),
      .first_row = block.first_row,
      .end_row = block.end_row,
      .first_panel = block.first_panel,
      .end_panel = block.end_panel,
      .layout = place.layout,
      .sparse = sparse ? sparse_input(rows, shard) : SparseInput<T>{},
      .fetch_weights = !fits_l2(),
      .weights = network_.weights(block.layer),
      .moment_1 = network_.moment(0, place.weights),
      .moment_2 = network_.moment(1, place.weights),
      .bias = network_.bias(block.layer),
      .bias_moment_1 = network_.moment(0, place.bias),
      .bias_moment_2 = network_.moment(1, place.bias),
      .transposed = network_.transposed(block.layer),
      .transposed_layout = place.transposed_layout,
      .gradients = gradients ? gradients + place.weights : nullptr,
      .bias_gradients = gradients ? gradients + place.bias : nullptr,
      .shard_stride = network_.parameter_count(),
      .shards = workers_,
      .penalties = penalties_.data() + first_penalty_[static_cast<std::size_t>(block.layer)],
      .step = solver_step_,
  };
  if (bf16()) {
    const Bf16Rows a = bf16_rows(block.layer, rows.begin);
    bf16()->weight_tile({.tile = args,
                         .a = a.row_pairs,
                         .a_stride = a.row_pair_stride,
                         .delta_panels = bf16_buffers(block.layer + 1).delta_panels.data(),
                         .copies = network_.bf16_weights(block.layer)});
  } else {
    network_.kernels().weight_tile(args);
  }
}

template <class T>
void MinibatchStep<T>::run_tile(const Phase& phase, index_t tile, const std::function<bool()>& stop_asked) {
  const Range rows{tile * tile_rows_, std::min((tile + 1) * tile_rows_, batch_)};  // of a tile of rows
  const auto layer_row_tile = [&](index_t index) { return share(layer_row_tiles_, index); };
  const auto at = static_cast<std::size_t>(tile);
  switch (phase.kind) {
    case Phase::rows:
      rows_to_deltas(rows, tile, &losses_[static_cast<std::size_t>(rows.begin / kLossRows)]);
      break;
    case Phase::gather:
      gather(rows, tile);
      break;
    case Phase::forward: {
      // Neighbouring tiles share a block of rows, which stays in L2 while the panels of W pass by.
      const index_t panels = network_.place(phase.layer).layout.panels;
      const index_t parts = forward_parts(phase.layer);
      const index_t per_part = parts == panels ? 1 : sparse_panels();
      const index_t first = tile % parts * per_part;
      forward(phase.layer, layer_row_tile(tile / parts), first, std::min(first + per_part, panels));
      break;
    }
    case Phase::output: {
      output(rows, &losses_[static_cast<std::size_t>(rows.begin / kLossRows)]);
      const index_t last = network_.layers() - 1;
      if (last > 0 && last_layer_is_narrow()) {
        backward(last, rows, 0, network_.place(last).transposed_layout.panels);
      }
      break;
    }
    case Phase::backward: {
      const index_t panels = network_.place(phase.layer).transposed_layout.panels;
      backward(phase.layer, layer_row_tile(tile / panels), tile % panels, tile % panels + 1);
      break;
    }
    case Phase::weights:
      weight_block(blocks_[at], GradientUse::update, {0, batch_}, 0);
      break;
    case Phase::shards: {
      const Range shard = share(workers_, tile);
      losses_[at] = 0;
      index_t part = tile * tiles_per_shard_;
      for (index_t r = shard.begin; r < shard.end; r += kMaxTileRows, ++part) {
        if (stop_asked()) return;
        double losses[kMaxTileRows / kLossRows] = {};
        rows_to_deltas({r, std::min(r + kMaxTileRows, shard.end)}, part, losses);
        for (const double loss : losses) losses_[at] += loss;
      }
      for (const WeightBlock& block : blocks_) {
        if (stop_asked()) return;
        weight_block(block, GradientUse::store, shard, tile);
      }
      break;
    }
    case Phase::apply:
      weight_block(blocks_[at], GradientUse::apply, {0, batch_}, 0);
      break;
  }
}

template class MinibatchStep<float>;
template class MinibatchStep<double>;

}  // namespace parmlp
