// An executor with its number of workers, and one call that runs phased work on it.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "executor/executor.h"
#include "executor/phase_pump.h"
#include "train/owned_mutex.h"

namespace parmlp {

class Team {
 public:
  Team(std::unique_ptr<Executor> executor, int workers) : executor_(std::move(executor)), workers_(workers) {}

  const char* engine() const { return executor_->name(); }
  int workers() const { return workers_; }

  // Runs all phases. `fresh_threads` creates and joins threads for this call alone. Adds the tiles that each
  // worker ran to `tiles`, and sets `workers` to the team's real size. Returns false if poll() asked to stop;
  // throws what a tile threw.
  bool run(PhasedWork& work, bool fresh_threads, const std::function<bool()>& poll,
           std::vector<std::int64_t>& tiles, int& workers);

 private:
  std::unique_ptr<Executor> executor_;
  int workers_;
  OwnedMutex busy_;  // a second caller of run() waits its turn
};

}  // namespace parmlp
