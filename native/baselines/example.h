// Backpropagation of one example, written once for the loops and for BLAS.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "baselines/baselines.h"

namespace parmlp::baselines {

// The sum over a minibatch's examples of dLoss/dW and dLoss/db, a layer each.
struct Gradient {
  explicit Gradient(const std::vector<Layer>& layers) {
    for (const Layer& layer : layers) {
      weights.emplace_back(static_cast<std::size_t>(layer.n_in * layer.n_out));
      bias.emplace_back(static_cast<std::size_t>(layer.n_out));
    }
  }

  void clear() {
    for (auto& w : weights) std::fill(w.begin(), w.end(), 0.0f);
    for (auto& b : bias) std::fill(b.begin(), b.end(), 0.0f);
  }

  std::vector<std::vector<float>> weights;
  std::vector<std::vector<float>> bias;
};

// One example's activations and deltas, a layer each.
struct Example {
  explicit Example(const std::vector<Layer>& layers) {
    for (const Layer& layer : layers) {
      a.emplace_back(static_cast<std::size_t>(layer.n_out));
      delta.emplace_back(static_cast<std::size_t>(layer.n_out));
    }
  }

  std::vector<std::vector<float>> a;
  std::vector<std::vector<float>> delta;
};

inline float activate(Activation activation, float z) {
  return activation == Activation::sigmoid ? 1.0f / (1.0f + std::exp(-z)) : z;
}

// f'(z) by a = f(z).
inline float derivative(Activation activation, float a) {
  return activation == Activation::sigmoid ? a * (1.0f - a) : 1.0f;
}

// Takes an example x (inputs,), y (outputs,) forward and backward, adds its gradient to `gradient` and
// returns its loss 1/2 ||y - a||^2. Kernels has the three products:
//   add_product(layer, a, z)           z += W^T a
//   product(layer, delta, below)       below = W delta
//   add_outer_product(layer, a, delta, g)   g += a delta^T
template <class Kernels>
double add_example(const Kernels& kernels, const std::vector<Layer>& layers, const float* x, const float* y,
                   Example& example, Gradient& gradient) {
  const std::size_t last = layers.size() - 1;
  const auto input = [&](std::size_t l) { return l == 0 ? x : example.a[l - 1].data(); };

  for (std::size_t l = 0; l <= last; ++l) {
    const Layer& layer = layers[l];
    float* z = example.a[l].data();
    std::copy_n(layer.bias, layer.n_out, z);
    kernels.add_product(layer, input(l), z);
    for (index_t j = 0; j < layer.n_out; ++j) z[j] = activate(layer.activation, z[j]);
  }

  double loss = 0;
  for (index_t j = 0; j < layers[last].n_out; ++j) {
    const float a = example.a[last].data()[j];
    const float error = a - y[j];
    loss += 0.5 * static_cast<double>(error) * static_cast<double>(error);
    example.delta[last].data()[j] = error * derivative(layers[last].activation, a);
  }

  for (std::size_t l = last + 1; l-- > 0;) {
    const Layer& layer = layers[l];
    const float* delta = example.delta[l].data();
    kernels.add_outer_product(layer, input(l), delta, gradient.weights[l].data());
    float* bias = gradient.bias[l].data();
    for (index_t j = 0; j < layer.n_out; ++j) bias[j] += delta[j];
    if (l == 0) break;
    float* below = example.delta[l - 1].data();
    kernels.product(layer, delta, below);
    const float* a = example.a[l - 1].data();
    for (index_t i = 0; i < layer.n_in; ++i) below[i] *= derivative(layers[l - 1].activation, a[i]);
  }
  return loss;
}

// The examples order[first..end) one after another; returns the sum of their losses.
template <class Kernels>
double add_examples(const Kernels& kernels, const Epoch& epoch, index_t first, index_t end, Example& example,
                    Gradient& gradient) {
  const index_t inputs = epoch.layers.front().n_in, outputs = epoch.layers.back().n_out;
  double loss = 0;
  for (index_t i = first; i < end; ++i) {
    const index_t row = epoch.order[i];
    loss += add_example(kernels, epoch.layers, epoch.x + row * inputs, epoch.y + row * outputs, example,
                        gradient);
  }
  return loss;
}

// theta <- theta - learning_rate / batch * gradient.
inline void update(const std::vector<Layer>& layers, const Gradient& gradient, double learning_rate,
                   index_t batch) {
  const auto rate = static_cast<float>(learning_rate / static_cast<double>(batch));
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const Layer& layer = layers[l];
    const float* dW = gradient.weights[l].data();
    const float* db = gradient.bias[l].data();
    for (index_t i = 0; i < layer.n_in * layer.n_out; ++i) layer.weights[i] -= rate * dW[i];
    for (index_t j = 0; j < layer.n_out; ++j) layer.bias[j] -= rate * db[j];
  }
}

// Minibatch gradient descent. add_minibatch(first, end, gradient) adds the gradient of the examples
// order[first..end) and returns the sum of their losses.
template <class AddMinibatch>
double descend(const Epoch& epoch, const Poll& poll, AddMinibatch add_minibatch) {
  Gradient gradient(epoch.layers);
  double loss = 0;
  for (index_t first = 0; first < epoch.rows;) {
    const index_t end = std::min(first + epoch.batch_size, epoch.rows);
    gradient.clear();
    loss += add_minibatch(first, end, gradient);
    update(epoch.layers, gradient, epoch.learning_rate, end - first);
    first = end;
    if (poll && poll()) break;
  }
  return loss / static_cast<double>(epoch.rows);
}

}  // namespace parmlp::baselines
