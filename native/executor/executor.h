// Who runs a team function: one thread, a team of our own, or OpenMP's.
#pragma once

#include <memory>
#include <string>

namespace parmlp {

// Called once for each worker, 0 <= worker < workers; must not throw.
using TeamFunction = void (*)(void* context, int worker, int workers);

// An executor knows no layers and no tiles: it only gives each worker a thread.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual const char* name() const = 0;
  // Runs function(context, w, n) for every worker w of a team of n at once; worker 0 is the calling thread.
  // Returns n when all have returned: at most `workers`, fewer if the system gives fewer threads. Throws
  // std::runtime_error if it cannot run.
  virtual int run(TeamFunction function, void* context, int workers) = 0;
  // The same with threads that live only for this call, as the paper's pseudocode has it.
  virtual int fork_join(TeamFunction function, void* context, int workers) {
    return run(function, context, workers);
  }
};

std::unique_ptr<Executor> make_serial_executor();
// A team of POSIX threads, kept for reuse when the executor goes.
std::unique_ptr<Executor> make_thread_executor(int workers);
// Hands the work to `run_team`, the one function that the OpenMP extension exports.
using RunTeam = int (*)(TeamFunction function, void* context, int workers);
std::unique_ptr<Executor> make_openmp_executor(RunTeam run_team);

// CPUs this process may use: its affinity mask, cut to its cgroup's CPU quota; at least 1.
int usable_cores();
// The same with the quota read anew from another file system's /proc and /sys, for tests.
int usable_cores(const std::string& root);
// The smallest CPU quota on the way from this process's cgroup up to the root of the hierarchy, in CPUs;
// 0 for no limit.
double cgroup_cpu_quota(const std::string& root);

}  // namespace parmlp
