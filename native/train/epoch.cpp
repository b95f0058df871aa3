#include "train/epoch.h"

#include <algorithm>
#include <chrono>

namespace parmlp {
namespace {

// The minibatches of one epoch as phased work.
template <class T>
class EpochWork final : public PhasedWork {
 public:
  // choice: null to use all workers.
  EpochWork(MinibatchStep<T>& step, const index_t* order, index_t rows, const EpochSettings& settings,
            WorkerChoice* choice)
      : step_(step), order_(order), rows_(rows), settings_(settings), choice_(choice) {
    begin_step();
  }

  std::int64_t tiles() const override { return step_.phases()[phase_].tiles; }
  int workers(int team) const override { return choice_ ? workers_ : team; }
  void run_tile(std::int64_t tile, int worker, StopCheck& check) override {
    step_.run_tile(step_.phases()[phase_], tile, [&] { return check.stop_asked(worker); });
  }

  bool advance() override {
    if (++phase_ < step_.phases().size()) return true;
    const index_t batch = std::min(settings_.batch_size, rows_ - first_);
    loss_ += step_.finish() * static_cast<double>(batch);
    if (choice_ && batch == step_.max_batch()) {
      choice_->step_took(std::chrono::duration<double>(Clock::now() - step_start_).count());
    }
    first_ += batch;
    if (done()) return false;
    begin_step();
    // Fork-join: the team is dismissed after every minibatch.
    return !settings_.fork_join;
  }

  bool done() const { return first_ >= rows_; }
  double loss() const { return loss_; }

  const std::vector<Phase>& phases() const { return step_.phases(); }
  std::size_t open_phase() const { return phase_; }
  bool is_full_step() const { return rows_ - first_ >= step_.max_batch(); }

 private:
  using Clock = std::chrono::steady_clock;

  void begin_step() {
    phase_ = 0;
    const index_t batch = std::min(settings_.batch_size, rows_ - first_);
    const index_t upcoming = std::min(settings_.batch_size, rows_ - first_ - batch);
    if (choice_) {
      workers_ = choice_->workers();
      step_.use_workers(workers_);
      step_start_ = Clock::now();
    }
    step_.begin(order_ + first_, batch, upcoming, settings_.learning_rate);
  }

  MinibatchStep<T>& step_;
  const index_t* order_;
  const index_t rows_;
  const EpochSettings settings_;
  WorkerChoice* choice_;
  int workers_ = 0;
  Clock::time_point step_start_;
  std::size_t phase_ = 0;
  index_t first_ = 0;
  double loss_ = 0;
};

// A single phase: blocks of rows through all layers, ping-pong between two buffers of the worker's own.
template <class T>
class PredictWork final : public PhasedWork {
 public:
  PredictWork(Network<T>& network, const Rows<T>& x, index_t rows, T* out, int workers)
      : network_(network), x_(x), rows_(rows), out_(out) {
    index_t widest = 0;
    for (index_t l = 0; l < network.layers(); ++l) {
      widest = std::max(widest, network.place(l).layout.padded_columns());
    }
    constexpr index_t kLine = 64 / sizeof(T);
    stride_ = (widest + kLine - 1) / kLine * kLine + kLine;  // never a large power of two
    scratch_ = AlignedBuffer<T>(workers * 2 * kMaxTileRows * stride_);
  }

  std::int64_t tiles() const override { return (rows_ + kMaxTileRows - 1) / kMaxTileRows; }
  bool advance() override { return false; }

  void run_tile(std::int64_t tile, int worker, StopCheck&) override {
    const NetworkDescription& d = network_.description();
    const index_t first = tile * kMaxTileRows;
    const index_t rows = std::min(kMaxTileRows, rows_ - first);
    const index_t outputs = d.layer_units.back();
    T* buffer[2] = {scratch_.data() + worker * 2 * kMaxTileRows * stride_, nullptr};
    buffer[1] = buffer[0] + kMaxTileRows * stride_;
    const T* in = x_.dense ? x_.dense + first * d.layer_units.front() : nullptr;
    index_t in_stride = d.layer_units.front();
    for (index_t l = 0; l < network_.layers(); ++l) {
      T* out = buffer[l % 2];
      const LayerForward<T> layer{
          .a = in,
          .a_stride = in_stride,
          .rows = rows,
          .weights = network_.weights(l),
          .layout = network_.place(l).layout,
          .bias = network_.bias(l),
          .first_panel = 0,
          .end_panel = network_.place(l).layout.panels,
          .out = out,
          .out_stride = stride_,
          .z = nullptr,
          .activation = d.activation(l),
          .slope = static_cast<T>(d.leaky_relu_slope),
          .upcoming = {},
      };
      if (l == 0 && !x_.dense) {
        network_.kernels().sparse_forward(
            {.layer = layer, .x = x_.sparse, .row_ids = nullptr, .first_row = first});
      } else {
        network_.kernels().layer_forward(layer);
      }
      in = out;
      in_stride = stride_;
    }
    T* last = buffer[(network_.layers() - 1) % 2];
    if (d.output == Activation::softmax) network_.kernels().softmax(last, stride_, rows, outputs);
    for (index_t r = 0; r < rows; ++r) {
      std::copy_n(last + r * stride_, outputs, out_ + (first + r) * outputs);
    }
  }

 private:
  Network<T>& network_;
  const Rows<T> x_;
  const index_t rows_;
  T* out_;
  index_t stride_ = 0;
  AlignedBuffer<T> scratch_;
};

}  // namespace

template <class T>
EpochResult train_epoch(Trainer<T>& trainer, Team& team, const Samples<T>& samples, const index_t* order,
                        index_t rows, const EpochSettings& settings, const std::function<bool()>& poll) {
  const auto start = std::chrono::steady_clock::now();
  const index_t max_batch = std::min(settings.batch_size, rows);
  auto& step = trainer.step;
  if (!step || step->schedule() != settings.schedule || step->max_batch() != max_batch ||
      step->workers() != team.workers()) {
    step.reset();  // before the new one, which may be large
    step = std::make_unique<MinibatchStep<T>>(trainer.network, settings.schedule, max_batch, team.workers());
    trainer.worker_choice.emplace(team.workers());
  }
  const bool adaptive =
      settings.adaptive_workers && settings.schedule == Schedule::two_phase && team.workers() > 1;
  if (!adaptive) step->use_workers(team.workers());
  step->set_samples(samples);
  EpochWork<T> work(*step, order, rows, settings, adaptive ? &*trainer.worker_choice : nullptr);
  std::optional<ProfiledWork<EpochWork<T>>> profiled;
  if (settings.profile) profiled.emplace(work, team.workers(), *settings.profile);
  PhasedWork& to_run = profiled ? static_cast<PhasedWork&>(*profiled) : work;
  EpochResult result;
  do {
    result.stopped = !team.run(to_run, settings.fork_join, poll, result.tiles, result.workers);
  } while (!work.done() && !result.stopped);
  result.loss = work.loss() / static_cast<double>(rows);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

template <class T>
bool predict(Network<T>& network, Team& team, const Rows<T>& x, index_t rows, T* out,
             const std::function<bool()>& poll) {
  if (rows == 0) return true;
  PredictWork<T> work(network, x, rows, out, team.workers());
  std::vector<std::int64_t> tiles;
  int workers = 0;
  return team.run(work, false, poll, tiles, workers);
}

#define PARMLP_INSTANTIATE(T)                                                                      \
  template EpochResult train_epoch(Trainer<T>&, Team&, const Samples<T>&, const index_t*, index_t, \
                                   const EpochSettings&, const std::function<bool()>&);            \
  template bool predict(Network<T>&, Team&, const Rows<T>&, index_t, T*, const std::function<bool()>&);
PARMLP_INSTANTIATE(float)
PARMLP_INSTANTIATE(double)
#undef PARMLP_INSTANTIATE

}  // namespace parmlp
