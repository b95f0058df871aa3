#include "network/description.h"

#include <array>
#include <stdexcept>
#include <utility>

namespace parmlp {
namespace {

constexpr std::array<std::pair<const char*, Activation>, 11> kActivations{{
    {"identity", Activation::identity},
    {"sigmoid", Activation::sigmoid},
    {"tanh", Activation::tanh},
    {"relu", Activation::relu},
    {"leaky_relu", Activation::leaky_relu},
    {"elu", Activation::elu},
    {"gelu", Activation::gelu},
    {"gelu_tanh", Activation::gelu_tanh},
    {"silu", Activation::silu},
    {"softmax", Activation::softmax},
    {"exp", Activation::exp},
}};

constexpr std::array<std::pair<const char*, Loss>, 4> kLosses{{
    {"log_loss", Loss::log_loss},
    {"mse", Loss::mse},
    {"squared_error", Loss::squared_error},
    {"poisson", Loss::poisson},
}};

constexpr std::array<std::pair<const char*, Solver>, 3> kSolvers{{
    {"sgd", Solver::sgd},
    {"adam", Solver::adam},
    {"adamw", Solver::adamw},
}};

template <class Table>
auto find(const Table& table, const std::string& name, const std::string& what) {
  std::string known;
  for (const auto& [known_name, value] : table) {
    if (name == known_name) return value;
    known += known.empty() ? known_name : std::string(", ") + known_name;
  }
  throw std::invalid_argument("unknown " + what + " '" + name + "'; known: " + known);
}

bool fits(Loss loss, Activation output) {
  switch (loss) {
    case Loss::log_loss:
      return output == Activation::softmax || output == Activation::sigmoid;
    case Loss::mse:
      return output == Activation::identity || output == Activation::sigmoid;
    case Loss::squared_error:
      return output == Activation::identity;
    case Loss::poisson:
      return output == Activation::exp;
  }
  return false;
}

}  // namespace

Activation activation_named(const std::string& name) { return find(kActivations, name, "activation"); }
Loss loss_named(const std::string& name) { return find(kLosses, name, "loss"); }
Solver solver_named(const std::string& name) { return find(kSolvers, name, "solver"); }

bool needs_preactivation(Activation activation) {
  return activation == Activation::gelu || activation == Activation::gelu_tanh ||
         activation == Activation::silu;
}

void check(const NetworkDescription& d) {
  if (d.layer_units.size() < 2) {
    throw std::invalid_argument("layer_units needs the features and the outputs, got " +
                                std::to_string(d.layer_units.size()) + " entries");
  }
  for (const index_t units : d.layer_units) {
    if (units <= 0) {
      throw std::invalid_argument("layer_units must be positive, got " + std::to_string(units));
    }
    if (units > (index_t{1} << 31)) {
      throw std::invalid_argument("a layer of " + std::to_string(units) +
                                  " units is larger than the 2^31 supported");
    }
  }
  // Far beyond any memory, and far below where offsets would overflow.
  double parameters = 0;
  for (index_t l = 0; l < d.layers(); ++l) {
    parameters += static_cast<double>(d.units_in(l)) * static_cast<double>(d.units_out(l));
  }
  if (parameters > 0x1p44) {
    throw std::invalid_argument("the network has " + std::to_string(parameters) +
                                " weights; at most 2^44 are supported");
  }
  if (d.hidden == Activation::softmax || d.hidden == Activation::exp) {
    throw std::invalid_argument("softmax and exp are output activations, not hidden ones");
  }
  if (!fits(d.loss, d.output)) {
    throw std::invalid_argument(
        "this loss and output activation do not go together; legal: log_loss with softmax or sigmoid, "
        "mse with sigmoid or identity, squared_error with identity, poisson with exp");
  }
  if (!(d.leaky_relu_slope >= 0 && d.leaky_relu_slope < 1e30)) {
    throw std::invalid_argument("leaky_relu_slope must be finite and not negative, got " +
                                std::to_string(d.leaky_relu_slope));
  }
}

}  // namespace parmlp
