// A network's parameters and solver state, all in kernel layout.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "network/aligned_buffer.h"
#include "network/description.h"

namespace parmlp {

// Where one layer's weights and biases lie in an arena of parameters.
struct LayerPlace {
  PanelLayout layout;             // W (n_in, n_out)
  PanelLayout transposed_layout;  // W^T (n_out, n_in)
  index_t weights = 0;
  index_t bias = 0;
  index_t transposed = 0;  // in the arena of transposes; the first layer has none
  // With bfloat16 operands there are pairs of rows of W and of W^T instead of W^T.
  PanelLayout pairs_layout;             // W (pairs of n_in, n_out)
  PanelLayout transposed_pairs_layout;  // W^T (pairs of n_out, n_in)
  index_t pairs = 0;                    // in the arena of pairs
  index_t transposed_pairs = 0;
};

// The settings of a solver; scikit-learn's names and meanings.
struct SolverSettings {
  Solver solver = Solver::sgd;
  double alpha = 0;
  double momentum = 0;
  bool nesterov = false;
  double beta_1 = 0.9;
  double beta_2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;

  int moments() const { return solver == Solver::sgd ? (momentum != 0 ? 1 : 0) : 2; }
};

// All of a network's numbers. One arena each for parameters, moments and transposed weights, so that a
// snapshot is one copy and large networks lie in huge pages.
template <class T>
class Network {
 public:
  // With `bf16`, training rounds the operands of its products to bfloat16; all else stays in T.
  Network(NetworkDescription description, const Kernels<T>& kernels, const Bf16Kernels<T>* bf16 = nullptr);

  const NetworkDescription& description() const { return description_; }
  const Kernels<T>& kernels() const { return *kernels_; }
  const Bf16Kernels<T>* bf16_kernels() const { return bf16_kernels_; }
  const LayerPlace& place(index_t layer) const { return places_[static_cast<std::size_t>(layer)]; }
  index_t layers() const { return description_.layers(); }
  index_t parameter_count() const { return arena_size_; }

  T* weights(index_t layer) { return parameters_.data() + place(layer).weights; }
  T* bias(index_t layer) { return parameters_.data() + place(layer).bias; }
  // W^T of a layer; null for the first, whose input needs no delta, and with bfloat16 operands.
  T* transposed(index_t layer) {
    return transposed_.empty() || layer == 0 ? nullptr : transposed_.data() + place(layer).transposed;
  }
  // The weights with the copies that products in bfloat16 read.
  Bf16Weights<T> bf16_weights(index_t layer);
  // moment is 0 or 1; null when the solver keeps fewer.
  T* moment(int moment, index_t offset) {
    auto& arena = moments_[static_cast<std::size_t>(moment)];
    return arena.empty() ? nullptr : arena.data() + offset;
  }

  const SolverSettings& solver() const { return solver_; }
  void set_solver(const SolverSettings& settings);  // zeroes the moments and the step count
  index_t steps() const { return steps_; }
  void set_steps(index_t steps) { steps_ = steps; }

  // The constants of the next step: `weight` is the sum of the minibatch's sample weights.
  SolverStep<T> solver_step(double learning_rate, double weight) const;

  // Canonical arrays, C order: weights (n_in, n_out), bias (n_out,). `moment` as above, or kParameters.
  static constexpr int kParameters = -1;
  void read(int moment, index_t layer, T* weights, T* bias) const;
  void write(int moment, index_t layer, const T* weights, const T* bias);

  void remember(const std::string& slot);
  void recall(const std::string& slot);  // throws std::invalid_argument for an unknown slot
  bool finite() const;

 private:
  const AlignedBuffer<T>& arena(int moment) const;
  void copy_weights(index_t layer);  // into W^T, or into pairs

  NetworkDescription description_;
  const Kernels<T>* kernels_;
  const Bf16Kernels<T>* bf16_kernels_;
  std::vector<LayerPlace> places_;
  index_t arena_size_ = 0;
  AlignedBuffer<T> parameters_;
  AlignedBuffer<T> transposed_;
  AlignedBuffer<Bf16Pair> pairs_;
  std::array<AlignedBuffer<T>, 2> moments_;
  SolverSettings solver_;
  index_t steps_ = 0;
  std::map<std::string, AlignedBuffer<T>> snapshots_;
};

}  // namespace parmlp
