// What a network is: its layer widths, activations and loss.
#pragma once

#include <string>
#include <vector>

#include "network/functions.h"

namespace parmlp {

struct NetworkDescription {
  std::vector<index_t> layer_units;  // features, hidden units..., outputs
  Activation hidden = Activation::relu;
  Activation output = Activation::identity;
  Loss loss = Loss::squared_error;
  double leaky_relu_slope = 0.01;

  index_t layers() const { return static_cast<index_t>(layer_units.size()) - 1; }
  index_t units_in(index_t layer) const { return layer_units[static_cast<std::size_t>(layer)]; }
  index_t units_out(index_t layer) const { return layer_units[static_cast<std::size_t>(layer) + 1]; }
  Activation activation(index_t layer) const { return layer + 1 == layers() ? output : hidden; }
};

// Throws std::invalid_argument naming the value and what is legal.
void check(const NetworkDescription& description);

// By the field's names; throw std::invalid_argument listing the known ones.
Activation activation_named(const std::string& name);
Loss loss_named(const std::string& name);
Solver solver_named(const std::string& name);

// Whether f'(z) needs z itself, not only a = f(z).
bool needs_preactivation(Activation activation);

}  // namespace parmlp
