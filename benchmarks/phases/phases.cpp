// Where a minibatch step's time goes: each phase by itself, on one core, against the FMA peak of the same
// run.
//
//     bash benchmarks/phases/run            # the networks of docs/performance.md
//
// Arguments: batch, faithful|default|bf16 (faithful, in that precision), units of each layer. Dense rows in
// random order, 60,000 of them.
#include <immintrin.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "kernels/dispatch.h"
#include "step/minibatch_step.h"

using namespace parmlp;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The best GFLOP/s of 24 independent chains of 256-bit fused multiply-adds.
__attribute__((target("avx512vl,avx2,fma"), noinline)) double fma_peak() {
  constexpr int kChains = 24, kSteps = 20000;
  __m256 sums[kChains];
  for (auto& s : sums) s = _mm256_set1_ps(1.0f);
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
  double best = 0;
  for (int round = 0; round < 30; ++round) {
    const auto start = Clock::now();
    for (int i = 0; i < kSteps; ++i) {
#pragma GCC unroll 24
      for (int c = 0; c < kChains; ++c) sums[c] = _mm256_fmadd_ps(sums[c], a, b);
    }
    best = std::max(best, 16.0 * kSteps * kChains / seconds_since(start) / 1e9);
  }
  float total = 0;
  for (const auto& s : sums) total += s[0];
  volatile float keep = total;
  (void)keep;
  return best;
}

// Robust against other programs: a tenth of the rounds are faster.
double low_decile(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 10];
}

// Floating-point operations of one phase for one row.
double flops(const Phase& phase, const std::vector<index_t>& units) {
  const auto product = [&](std::size_t l) { return 2.0 * static_cast<double>(units[l] * units[l + 1]); };
  const std::size_t layers = units.size() - 1;
  double total = 0;
  switch (phase.kind) {
    case Phase::rows:
      for (std::size_t l = 0; l < layers; ++l) total += product(l) * (l == 0 ? 1 : 2);
      return total;
    case Phase::weights:
      for (std::size_t l = 0; l < layers; ++l) total += product(l);
      return total;
    case Phase::forward:
    case Phase::backward:
      return product(static_cast<std::size_t>(phase.layer));
    case Phase::output:
      return product(layers - 1);
    default:
      return 0;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: phases BATCH faithful|default|bf16 UNITS UNITS...\n");
    return 2;
  }
  const index_t batch = std::atol(argv[1]), rows = 60000;
  const bool bf16 = std::string(argv[2]) == "bf16";
  const bool faithful = bf16 || std::string(argv[2]) == "faithful";
  std::vector<index_t> units;
  for (int i = 3; i < argc; ++i) units.push_back(std::atol(argv[i]));

  Network<float> network(
      {units, faithful ? Activation::sigmoid : Activation::relu,
       faithful ? Activation::sigmoid : Activation::softmax, faithful ? Loss::mse : Loss::log_loss, 0.01},
      kernels_for<float>(current_target()), bf16 ? &bf16_kernels() : nullptr);
  SolverSettings solver;
  solver.solver = faithful ? Solver::sgd : Solver::adam;
  solver.alpha = faithful ? 0 : 1e-4;
  network.set_solver(solver);

  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(0, 1);
  double flops_a_row = 0;
  for (index_t l = 0; l < network.layers(); ++l) {
    const auto at = static_cast<std::size_t>(l);
    std::vector<float> weights(static_cast<std::size_t>(units[at] * units[at + 1]));
    std::vector<float> bias(static_cast<std::size_t>(units[at + 1]));
    for (auto& w : weights) w = (uniform(random) - 0.5f) * 2 / std::sqrt(static_cast<float>(units[at]));
    network.write(Network<float>::kParameters, l, weights.data(), bias.data());
    flops_a_row += (l == 0 ? 4.0 : 6.0) * static_cast<double>(units[at] * units[at + 1]);
  }
  AlignedBuffer<float> x(rows * units[0]);
  for (index_t i = 0; i < x.size(); ++i) x.data()[i] = 0.001f * static_cast<float>(random() % 1000 + 1);
  std::vector<int> y(static_cast<std::size_t>(rows));
  for (auto& label : y) label = static_cast<int>(random() % static_cast<unsigned>(units.back()));
  std::vector<index_t> order(static_cast<std::size_t>(rows));
  for (index_t i = 0; i < rows; ++i) order[static_cast<std::size_t>(i)] = i;
  std::shuffle(order.begin(), order.end(), random);

  MinibatchStep<float> step(network, Schedule::two_phase, batch, 1);
  Samples<float> samples;
  samples.x = x.data();
  samples.labels = y.data();
  step.set_samples(samples);

  const double peak = fma_peak();
  std::vector<std::vector<double>> by_phase;
  std::vector<double> whole;
  index_t first = 0;
  for (const auto start = Clock::now(); seconds_since(start) < 1.5 || whole.size() < 10;) {
    const auto step_start = Clock::now();
    step.begin(order.data() + first, batch, std::min(batch, rows - first - batch), 0.01);
    by_phase.resize(step.phases().size());
    for (std::size_t p = 0; p < by_phase.size(); ++p) {
      const Phase phase = step.phases()[p];
      const auto phase_start = Clock::now();
      for (index_t t = 0; t < phase.tiles; ++t) step.run_tile(phase, t, [] { return false; });
      by_phase[p].push_back(seconds_since(phase_start));
    }
    step.finish();
    whole.push_back(seconds_since(step_start));
    first = first + 2 * batch <= rows ? first + batch : 0;
  }

  const double time = low_decile(whole), n = static_cast<double>(batch);
  std::string layers;
  for (const index_t u : units) layers += (layers.empty() ? "" : "-") + std::to_string(u);
  std::printf("%s batch %ld %s: peak %.1f GFLOP/s, step %.1f us, %.1f %% of peak, %.0f k samples/s\n",
              layers.c_str(), static_cast<long>(batch), argv[2], peak, time * 1e6,
              flops_a_row * n / time / 1e9 / peak * 100, n / time / 1e3);
  for (std::size_t p = 0; p < by_phase.size(); ++p) {
    const Phase& phase = step.phases()[p];
    const double t = low_decile(by_phase[p]);
    std::printf("  %-8s layer %ld %5ld tiles %9.1f us %5.1f %% of peak %3.0f %% of the step\n",
                name(phase.kind), static_cast<long>(phase.layer), static_cast<long>(phase.tiles), t * 1e6,
                flops(phase, units) * n / t / 1e9 / peak * 100, t / time * 100);
  }
}
