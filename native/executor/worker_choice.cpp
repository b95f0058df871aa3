#include "executor/worker_choice.h"

#include <algorithm>

namespace parmlp {
namespace {

// A window is long enough for the clock and for a sleeping worker's waking (50 us) to disappear in it.
constexpr double kWindowSeconds = 1e-3;
constexpr std::int64_t kWindowSteps = 4;
// Steps after a change that do not count: workers wake up, weights move to other caches.
constexpr int kSettlingSteps = 2;
// A longer step pays for all workers, whatever the others of the machine do, as they take each other's tiles.
constexpr double kLongStep = 2e-3;
// What another number must gain to be taken, and what a step must lose for trials to begin anew: timings of
// neighbouring windows differ by so much on a machine shared with others.
constexpr double kGain = 0.97;
constexpr double kChange = 1.25;
// At first, after a gain, and after a change. A trial of a slower number takes as long as two or three
// windows, so that one a window would cost a short fit a third of its time.
constexpr int kFirstWindows = 8;
constexpr int kWindowsAfterGain = 4;
constexpr int kWindowsAfterChange = 2;
constexpr int kMostWindowsBetweenTrials = 128;

}  // namespace

WorkerChoice::WorkerChoice(int most)
    : windows_to_trial_(kFirstWindows), windows_between_trials_(kFirstWindows), settling_(kSettlingSteps) {
  for (int n = most; n > 1; n /= 2) candidates_.push_back(n);
  candidates_.push_back(1);
}

void WorkerChoice::step_took(double seconds) {
  if (candidates_.size() == 1) return;
  if (settling_ > 0) {
    --settling_;
    return;
  }
  ++steps_;
  seconds_ += seconds;
  if (steps_ >= kWindowSteps && seconds_ >= kWindowSeconds)
    window_ends(seconds_ / static_cast<double>(steps_));
}

void WorkerChoice::window_ends(double seconds_per_step) {
  steps_ = 0;
  seconds_ = 0;
  if (current_ != best_) {
    if (seconds_per_step < kGain * best_time_) {
      windows_between_trials_ = kWindowsAfterGain;
      keep(current_, seconds_per_step);
    } else {
      windows_between_trials_ = std::min(2 * windows_between_trials_, kMostWindowsBetweenTrials);
      downwards_ = !downwards_;
      turn_to(best_);
    }
    windows_to_trial_ = windows_between_trials_;
    return;
  }
  const double better = last_time_ > 0 ? std::min(last_time_, seconds_per_step) : seconds_per_step;
  if (best_time_ > 0 && better > kChange * best_time_)
    windows_between_trials_ = windows_to_trial_ = kWindowsAfterChange;
  best_time_ = better;
  last_time_ = seconds_per_step;
  if (!worth_a_trial() || --windows_to_trial_ > 0) return;
  if (best_ == 0) downwards_ = true;
  if (best_ + 1 == candidates_.size()) downwards_ = false;
  turn_to(downwards_ ? best_ + 1 : best_ - 1);
}

bool WorkerChoice::worth_a_trial() const { return best_ > 0 || best_time_ < kLongStep; }

void WorkerChoice::keep(std::size_t candidate, double seconds_per_step) {
  best_ = current_ = candidate;
  best_time_ = last_time_ = seconds_per_step;
}

void WorkerChoice::turn_to(std::size_t candidate) {
  current_ = candidate;
  settling_ = kSettlingSteps;
}

}  // namespace parmlp
