// One functor a solver: what it does to a weight, given its gradient.
#pragma once

#include "network.cuh"

// The same for a whole fit; network.py fills it in.
struct SolverSettings {
  real momentum, beta_1, one_minus_beta_1, beta_2, one_minus_beta_2, epsilon, alpha;
};

// What changes from step to step; an array of them lies on the device.
struct StepConstants {
  real learning_rate;   // adam: with its bias correction
  real inverse_weight;  // 1 / the sum of the minibatch's sample weights
  real decay;           // adamw: 1 - learning rate * weight_decay
};

// The parameters' arena, and the solver's moments laid out the same.
struct Parameters {
  real *values, *moment_0, *moment_1;
};

struct Sgd {
  static constexpr int kMoments = 0;
  static __device__ real update(const SolverSettings&, const StepConstants& step, real w, real g, real&,
                                real&, bool) {
    return w - step.learning_rate * g;
  }
};

// v = momentum v - lr g; w += v, or with Nesterov's momentum w += momentum v - lr g (new v), as scikit-learn.
template <bool kNesterov>
struct SgdMomentum {
  static constexpr int kMoments = 1;
  static __device__ real update(const SolverSettings& s, const StepConstants& step, real w, real g, real& v,
                                real&, bool) {
    const real change = step.learning_rate * g;
    v = s.momentum * v - change;
    return w + (kNesterov ? s.momentum * v - change : v);
  }
};

// Kingma & Ba, arXiv:1412.6980, with epsilon outside the bias correction as scikit-learn places it. adamw
// (Loshchilov & Hutter, arXiv:1711.05101) first scales weights, not biases, by 1 - lr * weight_decay.
template <bool kDecay>
struct Adam {
  static constexpr int kMoments = 2;
  static __device__ real update(const SolverSettings& s, const StepConstants& step, real w, real g, real& m,
                                real& v, bool is_bias) {
    m = s.beta_1 * m + s.one_minus_beta_1 * g;
    v = s.beta_2 * v + s.one_minus_beta_2 * (g * g);
    if (kDecay && !is_bias) w = w * step.decay;
    return w - step.learning_rate * m / (sqrt_of(v) + s.epsilon);
  }
};

using Solver = PARMLP_SOLVER;

// Takes the step of the parameter at `index` of the arena, whose deltas sum to `sum`. Returns the square of
// the weight as it was, for the L2 term of the loss, and 0 for a bias.
__device__ inline double take_step(const Parameters& p, const SolverSettings& s, const StepConstants& step,
                                   long long index, real sum, bool is_bias) {
  const real w = p.values[index];
  const real gradient = (is_bias ? sum : sum + s.alpha * w) * step.inverse_weight;
  real moment_0 = 0, moment_1 = 0;
  if constexpr (Solver::kMoments > 0) moment_0 = p.moment_0[index];
  if constexpr (Solver::kMoments > 1) moment_1 = p.moment_1[index];
  p.values[index] = Solver::update(s, step, w, gradient, moment_0, moment_1, is_bias);
  if constexpr (Solver::kMoments > 0) p.moment_0[index] = moment_0;
  if constexpr (Solver::kMoments > 1) p.moment_1[index] = moment_1;
  return is_bias ? 0.0 : double(w) * double(w);
}
