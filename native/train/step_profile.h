// Where the time of an epoch's steps goes, by phase and worker.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "executor/phase_pump.h"
#include "step/minibatch_step.h"

namespace parmlp {

// Sums over steps of a full minibatch. The seconds of the phases and `between_seconds` add up to `seconds`.
struct StepProfile {
  struct PhaseTimes {
    Phase phase;
    std::int64_t tiles = 0;
    double seconds = 0;  // from its opening until its last tile was done
    // From its opening until each worker that took a tile in this step had its first.
    double hand_over_seconds = 0;
    std::vector<double> work_seconds;  // of each worker, inside tiles
  };

  std::int64_t steps = 0;
  double seconds = 0;
  // One worker sums the loss and sets up the next step, the others wait.
  double between_seconds = 0;
  std::vector<PhaseTimes> phases;
};

// Phased work with a clock around its tiles. `Work` tells which phase of a step is open: phases(),
// open_phase(), and is_full_step(), as short minibatches are left out. Wrapped around the work, so that
// training without a profile runs the very same code as if there were none.
template <class Work>
class ProfiledWork final : public PhasedWork {
 public:
  // Adds to `profile`, which must be empty or of the same network, schedule and number of workers.
  ProfiledWork(Work& work, int workers, StepProfile& profile)
      : work_(work), profile_(profile), now_(static_cast<std::size_t>(workers)) {
    const std::vector<Phase>& phases = work_.phases();
    if (profile_.phases.empty()) {
      for (const Phase& phase : phases) {
        profile_.phases.push_back({.phase = phase, .work_seconds = std::vector<double>(now_.size())});
      }
    }
    const auto same = [&](const StepProfile::PhaseTimes& times, const Phase& phase) {
      return times.phase.kind == phase.kind && times.phase.layer == phase.layer &&
             times.work_seconds.size() == now_.size();
    };
    if (!std::equal(profile_.phases.begin(), profile_.phases.end(), phases.begin(), phases.end(), same)) {
      throw std::invalid_argument(
          "the profile holds phases of another network, schedule or number of workers; use a new one");
    }
    opened_ = Clock::now();
  }

  std::int64_t tiles() const override { return work_.tiles(); }
  int workers(int team) const override { return work_.workers(team); }

  void run_tile(std::int64_t tile, int worker, StopCheck& check) override {
    OpenPhase& own = now_[static_cast<std::size_t>(worker)];
    const auto start = Clock::now();
    if (!own.took_tile) {
      own.took_tile = true;
      own.first_tile = start;
    }
    work_.run_tile(tile, worker, check);
    own.work += Clock::now() - start;
  }

  bool advance() override {
    const auto closed = Clock::now();
    const bool counts = work_.is_full_step();
    const bool step_ends = work_.open_phase() + 1 == work_.phases().size();
    if (counts) add_phase(closed);
    for (OpenPhase& worker : now_) worker = {};
    const bool more = work_.advance();
    opened_ = Clock::now();
    if (counts) {
      const double between = seconds(opened_ - closed);
      profile_.between_seconds += between;
      profile_.seconds += between;
      profile_.steps += step_ends ? 1 : 0;
    }
    return more;
  }

 private:
  using Clock = std::chrono::steady_clock;

  // What a worker did in the phase now open. Its own until all tiles are done, then advance()'s.
  struct alignas(64) OpenPhase {
    bool took_tile = false;
    Clock::time_point first_tile;
    Clock::duration work{0};
  };

  static double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

  void add_phase(Clock::time_point closed) {
    StepProfile::PhaseTimes& times = profile_.phases[work_.open_phase()];
    times.tiles += work_.tiles();
    times.seconds += seconds(closed - opened_);
    profile_.seconds += seconds(closed - opened_);
    auto all_begun = opened_;
    for (std::size_t w = 0; w < now_.size(); ++w) {
      times.work_seconds[w] += seconds(now_[w].work);
      if (now_[w].took_tile) all_begun = std::max(all_begun, now_[w].first_tile);
    }
    times.hand_over_seconds += seconds(all_begun - opened_);
  }

  Work& work_;
  StepProfile& profile_;
  std::vector<OpenPhase> now_;
  Clock::time_point opened_;
};

}  // namespace parmlp
