// One step of minibatch backpropagation, written once: a list of phases of independent tiles.
#pragma once

#include <functional>
#include <vector>

#include "network/network.h"

namespace parmlp {

// How a step is cut up.
enum class Schedule {
  two_phase,          // rows in parallel, then weights in parallel; bits do not depend on the workers
  partial_gradients,  // the paper's: each shard of rows sums its own gradient, then the shards are added
};

// The training data, row-major and contiguous. Borrowed.
template <class T>
struct Samples {
  const T* x = nullptr;              // (rows, features), or null
  SparseRows<T> sparse;              // the same rows, when x is null
  const T* y = nullptr;              // (rows, outputs), or null
  const int* labels = nullptr;       // (rows,) class indices, when y is null
  const T* sample_weight = nullptr;  // (rows,), or null
};

// A phase: tiles that any worker may run in any order. Names are what a profile shows.
struct Phase {
  enum Kind {
    rows,      // gather a block of rows, forward and backward through all layers (narrow networks)
    gather,    // copy a block of rows, or sort its entries by feature (wide networks, from here on)
    forward,   // one layer: a block of rows times a panel of W
    output,    // the last layer and its deltas, and those below it if it is narrow, for a block of rows
    backward,  // one layer: a block of deltas times a panel of W^T
    weights,   // A^T D for a block of one matrix, and the solver on it
    shards,    // partial gradients: one worker's rows, forward, backward and gradient
    apply,     // partial gradients: add the shards for a block of one matrix, and the solver on it
  };
  Kind kind;
  index_t layer;  // of forward and backward
  index_t tiles;
};

const char* name(Phase::Kind kind);

template <class T>
class MinibatchStep {
 public:
  // workers: how many will run the tiles. partial_gradients makes as many shards; two_phase only cuts its
  // tiles of rows by it, which changes no bit.
  MinibatchStep(Network<T>& network, Schedule schedule, index_t max_batch, index_t workers);

  Schedule schedule() const { return schedule_; }
  index_t max_batch() const { return max_batch_; }
  index_t workers() const { return workers_; }
  // How many of them will run the tiles of the next steps; two_phase only.
  void use_workers(index_t workers);
  void set_samples(const Samples<T>& samples);

  // Sets up a step over rows row_ids[0..batch). The ids must stay valid until finish(), and so must the
  // `upcoming` ids after them: those of the next minibatch, whose rows are fetched meanwhile.
  void begin(const index_t* row_ids, index_t batch, index_t upcoming, double learning_rate);
  const std::vector<Phase>& phases() const { return phases_; }
  // stop_asked() is asked between the parts of a long tile, and leaves it unfinished when true.
  void run_tile(const Phase& phase, index_t tile, const std::function<bool()>& stop_asked);
  // After the last phase: the minibatch's loss, scikit-learn's average over sample weights plus
  // alpha/2 sum W^2 / weight with the weights from before the update.
  double finish();

 private:
  // One layer's buffers for a minibatch, row-major with a padded stride.
  struct Buffers {
    index_t stride = 0;
    AlignedBuffer<T> a;             // activations (batch, units)
    AlignedBuffer<T> z;             // pre-activations, if the derivative needs them
    AlignedBuffer<T> delta;         // dLoss/dz, where a layer below needs it
    AlignedBuffer<T> delta_panels;  // and as the weight gradient reads it: panels of (max_batch, width)
  };
  // What products in bfloat16 read instead of `a`, `delta` and `delta_panels`: numbers paired along the
  // columns (batch, units / 2), and with the next row's (batch / 2, units).
  struct Bf16Buffers {
    index_t stride = 0;
    AlignedBuffer<Bf16Pair> a;
    AlignedBuffer<Bf16Pair> a_row_pairs;  // with the float32 activations' stride
    AlignedBuffer<Bf16Pair> delta;
    AlignedBuffer<Bf16Pair> delta_panels;
  };
  struct WeightBlock {
    index_t layer, first_row, end_row, first_panel, end_panel;
  };
  struct Range {
    index_t begin, end;
    index_t size() const { return end - begin; }
  };

  Buffers& buffers(index_t layer) { return buffers_[static_cast<std::size_t>(layer)]; }
  Bf16Buffers& bf16_buffers(index_t layer) { return bf16_buffers_[static_cast<std::size_t>(layer)]; }
  void allocate(index_t max_batch);
  void allocate_bf16(index_t max_batch);
  // A part of the minibatch's rows; with bfloat16 operands it begins at an even one.
  Range share(index_t parts, index_t part) const;
  void plan(index_t batch);
  void plan_weight_blocks(index_t batch);
  void plan_sparse_blocks();
  void plan_sparse_columns(index_t row_tiles);
  SparseInput<T> sparse_input(Range rows, index_t shard) const;
  index_t sparse_panels() const;
  index_t forward_parts(index_t layer) const;
  const Bf16Kernels<T>* bf16() const { return network_.bf16_kernels(); }
  bool is_sparse() const { return samples_.sparse.starts != nullptr; }
  bool fits_l2() const;
  bool last_layer_is_narrow() const;
  void gather(Range rows, index_t tile);
  void fetch_targets(Range rows) const;
  // `prefetch`: rows of the minibatch, or of the next, to be fetched meanwhile.
  void forward(index_t layer, Range rows, index_t first_panel, index_t end_panel, Range prefetch = {0, 0});
  void output(Range rows, double* losses);
  void backward(index_t layer, Range rows, index_t first_panel, index_t end_panel);
  void rows_to_deltas(Range rows, index_t tile, double* losses);
  Bf16Rows bf16_rows(index_t layer, index_t row);
  void sparse_forward(Range rows, index_t first_panel, index_t end_panel);
  void weight_block(const WeightBlock& block, GradientUse use, Range rows, index_t shard);

  Network<T>& network_;
  Samples<T> samples_;
  const Schedule schedule_;
  const index_t max_batch_;
  const index_t workers_;
  index_t workers_used_;  // workers_ but for two_phase
  std::vector<Buffers> buffers_;
  std::vector<Bf16Buffers> bf16_buffers_;  // empty without bfloat16
  AlignedBuffer<T> shard_gradients_;
  // The minibatch's sparse rows by feature, a tile of rows at a time.
  std::vector<SparseColumns<T>> sparse_columns_;
  AlignedBuffer<int> sparse_starts_;              // (tiles, sparse_stride_)
  AlignedBuffer<SparseEntry<T>> sparse_entries_;  // (max_batch, most_entries_)
  index_t sparse_stride_ = 0;
  index_t most_entries_ = 0;     // of a row
  index_t tiles_per_shard_ = 0;  // of partial_gradients

  std::vector<Phase> phases_;
  std::vector<WeightBlock> blocks_;
  index_t planned_batch_ = -1;
  index_t tile_rows_ = 0;               // of the phases that take rows through whole layers
  index_t layer_row_tiles_ = 0;         // of those that take them through one panel
  std::vector<double> losses_;          // by kLossRows or shard, added in that order
  std::vector<double> penalties_;       // by layer, kPenaltyRows rows and panel, likewise
  std::vector<index_t> first_penalty_;  // of each layer

  const index_t* row_ids_ = nullptr;
  index_t batch_ = 0;
  index_t upcoming_ = 0;
  double weight_ = 0;
  SolverStep<T> solver_step_{};
};

}  // namespace parmlp
