#include <unistd.h>

#include <atomic>
#include <stdexcept>

#include "executor/executor.h"

namespace parmlp {
namespace {

class OpenmpExecutor final : public Executor {
 public:
  explicit OpenmpExecutor(RunTeam run_team) : run_team_(run_team) {}

  const char* name() const override { return "openmp"; }

  int run(TeamFunction function, void* context, int workers) override {
    // libgomp's threads do not survive a fork and it waits for them for ever; its own team lives as long as
    // the process, so any fork after the first region counts, whoever started that region.
    static std::atomic<pid_t> owner{0};
    pid_t expected = 0;
    const pid_t self = getpid();
    if (!owner.compare_exchange_strong(expected, self) && expected != self) {
      throw std::runtime_error(
          "engine='openmp' was used before this process was forked, and the OpenMP runtime would hang in "
          "the child; use engine='threads' or 'serial', or the 'spawn' or 'forkserver' start method");
    }
    return run_team_(function, context, workers);
  }

 private:
  RunTeam run_team_;
};

}  // namespace

std::unique_ptr<Executor> make_openmp_executor(RunTeam run_team) {
  return std::make_unique<OpenmpExecutor>(run_team);
}

}  // namespace parmlp
