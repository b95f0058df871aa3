#include <unistd.h>

#include <atomic>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

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
    check_threads(workers);
    return run_team_(function, context, workers);
  }

 private:
  // libgomp ends the process when it cannot start a thread. So the first time a team grows, see whether the
  // system gives that many.
  static void check_threads(int workers) {
    static std::mutex mutex;
    static int checked = 1;
    const std::lock_guard lock(mutex);
    if (workers <= checked) return;
    std::vector<std::thread> threads;
    std::atomic<bool> leave{false};
    bool enough = true;
    try {
      for (int w = 1; w < workers; ++w) threads.emplace_back([&] { leave.wait(false); });
    } catch (const std::system_error&) {
      enough = false;
    }
    leave.store(true);
    leave.notify_all();
    for (auto& thread : threads) thread.join();
    if (!enough) {
      throw std::runtime_error("could start only " + std::to_string(threads.size() + 1) + " of " +
                               std::to_string(workers) + " OpenMP threads; use a smaller n_threads");
    }
    checked = workers;
  }

  RunTeam run_team_;
};

}  // namespace

std::unique_ptr<Executor> make_openmp_executor(RunTeam run_team) {
  return std::make_unique<OpenmpExecutor>(run_team);
}

}  // namespace parmlp
