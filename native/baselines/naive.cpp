#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

#include "baselines/baselines.h"
#include "baselines/example.h"

namespace parmlp::baselines {
namespace {

// Nothing but loops. They walk W and the gradient in the order in which these lie in memory: with the loops
// the other way round every step would miss the cache, and "naive" is not meant to be a straw man.
struct Loops {
  void add_product(const Layer& layer, const float* a, float* z) const {
    for (index_t i = 0; i < layer.n_in; ++i) {
      for (index_t j = 0; j < layer.n_out; ++j) z[j] += layer.weights[i * layer.n_out + j] * a[i];
    }
  }

  void product(const Layer& layer, const float* delta, float* below) const {
    for (index_t i = 0; i < layer.n_in; ++i) {
      float sum = 0;
      for (index_t j = 0; j < layer.n_out; ++j) sum += layer.weights[i * layer.n_out + j] * delta[j];
      below[i] = sum;
    }
  }

  void add_outer_product(const Layer& layer, const float* a, const float* delta, float* gradient) const {
    for (index_t i = 0; i < layer.n_in; ++i) {
      for (index_t j = 0; j < layer.n_out; ++j) gradient[i * layer.n_out + j] += a[i] * delta[j];
    }
  }
};

// What one thread works on: its share of the examples and its partial gradient.
struct Share {
  explicit Share(const std::vector<Layer>& layers) : example(layers), gradient(layers) {}

  Example example;
  Gradient gradient;
  double loss = 0;
};

void add(const std::vector<float>& from, std::vector<float>& to) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
}

}  // namespace

double naive_serial(const Epoch& epoch, const Poll& poll) {
  Example example(epoch.layers);
  return descend(epoch, poll, [&](index_t first, index_t end, Gradient& gradient) {
    return add_examples(Loops{}, epoch, first, end, example, gradient);
  });
}

double naive_pthreads(const Epoch& epoch, int threads, const Poll& poll) {
  std::vector<Share> shares(static_cast<std::size_t>(threads), Share(epoch.layers));
  return descend(epoch, poll, [&](index_t first, index_t end, Gradient& gradient) {
    const auto work = [&](int thread) {
      Share& share = shares[static_cast<std::size_t>(thread)];
      share.gradient.clear();
      share.loss =
          add_examples(Loops{}, epoch, first + (end - first) * thread / threads,
                       first + (end - first) * (thread + 1) / threads, share.example, share.gradient);
    };
    {
      std::vector<std::jthread> team;  // joined at the end of the block, whatever happens
      for (int thread = 0; thread < threads; ++thread) {
        try {
          team.emplace_back(work, thread);
        } catch (const std::system_error& error) {
          throw std::runtime_error("could not start thread " + std::to_string(thread + 1) + " of " +
                                   std::to_string(threads) + ": " + error.code().message() +
                                   "; use a smaller n_threads");
        }
      }
    }
    double loss = 0;
    for (const Share& share : shares) {
      loss += share.loss;
      for (std::size_t l = 0; l < epoch.layers.size(); ++l) {
        add(share.gradient.weights[l], gradient.weights[l]);
        add(share.gradient.bias[l], gradient.bias[l]);
      }
    }
    return loss;
  });
}

}  // namespace parmlp::baselines
