// How many workers of a team to use for a repeated piece of work, chosen by timing it.
#pragma once

#include <cstdint>
#include <vector>

namespace parmlp {

// A second worker halves a long step and slows down a short one: handing over costs microseconds, and much
// more while another program has the second core. So the numbers most, most / 2, ..., 1 are tried in turn,
// and the fastest is kept. Trials become rare while they find nothing better and frequent again when the time
// of a step changes, so that they cost a percent or two. For work whose result does not depend on the
// workers.
class WorkerChoice {
 public:
  explicit WorkerChoice(int most);

  // For the next step.
  int workers() const { return candidates_[current_]; }
  // The step took so long, with workers() of them.
  void step_took(double seconds);

 private:
  void window_ends(double seconds_per_step);
  void turn_to(std::size_t candidate);
  void keep(std::size_t candidate, double seconds_per_step);
  bool worth_a_trial() const;

  std::vector<int> candidates_;  // descending
  std::size_t best_ = 0;
  std::size_t current_ = 0;  // best_, or its neighbour on trial
  // Of a step with best_: in the last window, 0 before the first, and in the better of the last two, which
  // one interruption does not reach.
  double last_time_ = 0;
  double best_time_ = 0;
  bool downwards_ = true;  // the next trial's direction
  int windows_to_trial_;
  int windows_between_trials_;
  // the open window
  int settling_;
  std::int64_t steps_ = 0;
  double seconds_ = 0;
};

}  // namespace parmlp
