// The functions a network is made of, by name: activations, losses, solvers. Plain enums, so that
// kernel units can include them without the standard library.
#pragma once

#include <cstddef>

namespace parmlp {

// Offsets are 64-bit throughout: X may hold more than 2^31 elements.
using index_t = std::ptrdiff_t;

enum class Activation {
  identity,
  sigmoid,
  tanh,
  relu,
  leaky_relu,
  elu,
  gelu,
  gelu_tanh,
  silu,
  softmax,
  exp,
};

enum class Loss {
  log_loss,       // -sum_j y_j log a_j (softmax), or the two-sided sum for sigmoid outputs
  mse,            // 1/2 ||y - a||^2: the paper's, with delta = (a - y) f'(z)
  squared_error,  // scikit-learn's: loss averaged over outputs, delta = a - y
  poisson,        // y log(y/a) - y + a, delta = a - y
};

enum class Solver { sgd, adam, adamw };

}  // namespace parmlp
