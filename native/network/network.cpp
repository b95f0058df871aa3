#include "network/network.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace parmlp {
namespace {

// Whole cache lines, so that no two layers share one.
template <class T>
index_t padded(index_t size) {
  constexpr index_t kLine = 64 / sizeof(T);
  return (size + kLine - 1) / kLine * kLine;
}

}  // namespace

template <class T>
Network<T>::Network(NetworkDescription description, const Kernels<T>& kernels, const Bf16Kernels<T>* bf16)
    : description_(std::move(description)), kernels_(&kernels), bf16_kernels_(bf16) {
  check(description_);
  index_t transposes = 0, pairs = 0;
  for (index_t l = 0; l < layers(); ++l) {
    LayerPlace place;
    const index_t n_in = description_.units_in(l), n_out = description_.units_out(l);
    place.layout = PanelLayout(n_in, n_out, kernels.vector_length);
    place.transposed_layout = PanelLayout(n_out, n_in, kernels.vector_length);
    place.weights = arena_size_;
    arena_size_ += padded<T>(place.layout.size());
    place.bias = arena_size_;
    arena_size_ += padded<T>(place.layout.padded_columns());
    place.transposed = transposes;
    if (l > 0) transposes += padded<T>(place.transposed_layout.size());
    if (bf16) {
      place.pairs_layout = PanelLayout(pairs_of(n_in), n_out, kernels.vector_length);
      place.transposed_pairs_layout = PanelLayout(pairs_of(n_out), n_in, kernels.vector_length);
      place.pairs = pairs;
      place.transposed_pairs = pairs + padded<Bf16Pair>(place.pairs_layout.size());
      pairs = place.transposed_pairs;
      if (l > 0) pairs += padded<Bf16Pair>(place.transposed_pairs_layout.size());
    }
    places_.push_back(place);
  }
  parameters_ = AlignedBuffer<T>(arena_size_);
  if (bf16) {
    pairs_ = AlignedBuffer<Bf16Pair>(pairs);
  } else {
    transposed_ = AlignedBuffer<T>(transposes);
  }
}

template <class T>
void Network<T>::set_solver(const SolverSettings& settings) {
  solver_ = settings;
  steps_ = 0;
  for (int i = 0; i < 2; ++i) {
    auto& arena = moments_[static_cast<std::size_t>(i)];
    if (i >= settings.moments()) {
      arena = AlignedBuffer<T>();
    } else if (arena.empty()) {
      arena = AlignedBuffer<T>(arena_size_);
    } else {
      arena.zero();
    }
  }
}

template <class T>
SolverStep<T> Network<T>::solver_step(double learning_rate, double weight) const {
  const SolverSettings& s = solver_;
  const double t = static_cast<double>(steps_ + 1);
  double rate = learning_rate;
  if (s.solver != Solver::sgd) {
    rate *= std::sqrt(1 - std::pow(s.beta_2, t)) / (1 - std::pow(s.beta_1, t));
  }
  return {
      .solver = s.solver,
      .has_momentum = s.momentum != 0,
      .nesterov = s.nesterov,
      .learning_rate = static_cast<T>(rate),
      .momentum = static_cast<T>(s.momentum),
      .beta_1 = static_cast<T>(s.beta_1),
      .one_minus_beta_1 = static_cast<T>(1 - s.beta_1),
      .beta_2 = static_cast<T>(s.beta_2),
      .one_minus_beta_2 = static_cast<T>(1 - s.beta_2),
      // Not zero in T: padding has no gradient, and must not become 0 / 0.
      .epsilon = std::max(static_cast<T>(s.epsilon), std::numeric_limits<T>::min()),
      .decay = static_cast<T>(1 - learning_rate * s.weight_decay),
      .alpha = static_cast<T>(s.alpha),
      .inverse_weight = static_cast<T>(1 / weight),
  };
}

template <class T>
const AlignedBuffer<T>& Network<T>::arena(int moment) const {
  return moment == kParameters ? parameters_ : moments_[static_cast<std::size_t>(moment)];
}

template <class T>
void Network<T>::read(int moment, index_t layer, T* weights, T* bias) const {
  const LayerPlace& p = place(layer);
  const T* values = arena(moment).data();
  const PanelLayout& layout = p.layout;
  for (index_t panel = 0; panel < layout.panels; ++panel) {
    const index_t first = layout.first_column(panel), width = layout.width(panel);
    const index_t columns = std::min(width, layout.columns - first);
    const T* from = values + p.weights + first * layout.rows;
    for (index_t row = 0; row < layout.rows; ++row) {
      for (index_t c = 0; c < columns; ++c) {
        weights[row * layout.columns + first + c] = from[row * width + c];
      }
    }
  }
  for (index_t c = 0; c < layout.columns; ++c) bias[c] = values[p.bias + c];
}

template <class T>
void Network<T>::write(int moment, index_t layer, const T* weights, const T* bias) {
  const LayerPlace& p = place(layer);
  T* values = const_cast<T*>(arena(moment).data());
  const PanelLayout& layout = p.layout;
  for (index_t panel = 0; panel < layout.panels; ++panel) {
    const index_t first = layout.first_column(panel), width = layout.width(panel);
    T* to = values + p.weights + first * layout.rows;
    for (index_t row = 0; row < layout.rows; ++row) {
      for (index_t c = 0; c < width; ++c) {
        to[row * width + c] = first + c < layout.columns ? weights[row * layout.columns + first + c] : T(0);
      }
    }
  }
  for (index_t c = 0; c < layout.padded_columns(); ++c) {
    values[p.bias + c] = c < layout.columns ? bias[c] : T(0);
  }
  if (moment == kParameters) copy_weights(layer);
}

template <class T>
Bf16Weights<T> Network<T>::bf16_weights(index_t layer) {
  const LayerPlace& p = place(layer);
  return {
      .weights = weights(layer),
      .layout = p.layout,
      .pairs = pairs_.data() + p.pairs,
      .pairs_layout = p.pairs_layout,
      .transposed = layer == 0 ? nullptr : pairs_.data() + p.transposed_pairs,
      .transposed_layout = p.transposed_pairs_layout,
  };
}

template <class T>
void Network<T>::copy_weights(index_t layer) {
  if (bf16_kernels_) return bf16_kernels_->round_weights(bf16_weights(layer));
  if (layer == 0) return;
  const LayerPlace& p = place(layer);
  const T* from = parameters_.data() + p.weights;
  T* to = transposed_.data() + p.transposed;
  const PanelLayout& wide = p.layout;
  for (index_t panel = 0; panel < wide.panels; ++panel) {
    const index_t first = wide.first_column(panel), width = wide.width(panel);
    const index_t columns = std::min(width, wide.columns - first);
    for (index_t row = 0; row < wide.rows; ++row) {
      for (index_t c = 0; c < columns; ++c) {
        to[p.transposed_layout.offset(first + c, row)] = from[first * wide.rows + row * width + c];
      }
    }
  }
}

template <class T>
void Network<T>::remember(const std::string& slot) {
  auto [it, inserted] = snapshots_.try_emplace(slot);
  if (inserted) it->second = AlignedBuffer<T>(arena_size_);
  it->second.copy_from(parameters_);
}

template <class T>
void Network<T>::recall(const std::string& slot) {
  const auto it = snapshots_.find(slot);
  if (it == snapshots_.end()) {
    throw std::invalid_argument("nothing was remembered as '" + slot + "'");
  }
  parameters_.copy_from(it->second);
  for (index_t l = 0; l < layers(); ++l) copy_weights(l);
}

template <class T>
bool Network<T>::finite() const {
  for (index_t l = 0; l < layers(); ++l) {
    const LayerPlace& p = place(l);
    const index_t n = p.layout.size();
    // x - x is 0 for finite x and NaN otherwise.
    T sum = 0;
    for (index_t i = 0; i < n; ++i) {
      const T x = parameters_.data()[p.weights + i];
      sum += x - x;
    }
    for (index_t c = 0; c < p.layout.columns; ++c) {
      const T x = parameters_.data()[p.bias + c];
      sum += x - x;
    }
    if (sum != 0) return false;
  }
  return true;
}

template class Network<float>;
template class Network<double>;

}  // namespace parmlp
