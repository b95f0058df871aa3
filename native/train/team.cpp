#include "train/team.h"

#include <mutex>

#include "train/flush_denormals.h"

namespace parmlp {

bool Team::run(PhasedWork& work, bool fresh_threads, const std::function<bool()>& poll,
               std::vector<std::int64_t>& tiles, int& workers) {
  const std::lock_guard busy(busy_);
  PhasePump pump(work, workers_, workers_ <= usable_cores() ? kDedicatedCores : kSharedCores, poll);
  const TeamFunction function = [](void* context, int worker, int) {
    const FlushDenormals flush;
    static_cast<PhasePump*>(context)->work(worker);
  };
  workers = fresh_threads ? executor_->fork_join(function, &pump, workers_)
                          : executor_->run(function, &pump, workers_);
  const std::vector<std::int64_t> run = pump.tiles_run();
  tiles.resize(run.size());
  for (std::size_t w = 0; w < run.size(); ++w) tiles[w] += run[w];
  pump.rethrow();
  return !pump.stopped();
}

}  // namespace parmlp
