#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "executor/executor.h"
#include "executor/wait.h"

namespace parmlp {
namespace {

// Long-lived POSIX threads. Worker 0 is whoever calls run(); the others wait for the next job.
class ThreadTeam {
 public:
  explicit ThreadTeam(int workers) : workers_(workers) {
    for (int w = 1; w < workers; ++w) {
      // Created one by one: if the system refuses, those that exist are told to leave.
      auto* start = new Start{this, w};
      pthread_t thread;
      const int error = pthread_create(&thread, nullptr, &ThreadTeam::thread_main, start);
      if (error != 0) {
        delete start;
        dismiss();
        throw std::runtime_error("could not start thread " + std::to_string(w + 1) + " of " +
                                 std::to_string(workers) + ": " + std::strerror(error) +
                                 "; use a smaller n_threads");
      }
      // Nobody joins an idle team at exit: its threads sleep, and the process ends without them.
      pthread_detach(thread);
      started_.fetch_add(1, std::memory_order_relaxed);
    }
  }

  int workers() const { return workers_; }

  void run(TeamFunction function, void* context) {
    function_ = function;
    context_ = context;
    left_.store(static_cast<std::uint32_t>(workers_ - 1), std::memory_order_relaxed);
    job_.fetch_add(1, std::memory_order_release);
    job_.notify_all();
    function(context, 0, workers_);
    for (std::uint32_t left; (left = left_.load(std::memory_order_acquire)) != 0;) {
      wait_while(left_, left, policy(), [] {});
    }
  }

 private:
  struct Start {
    ThreadTeam* team;
    int worker;
  };

  WaitPolicy policy() const { return workers_ <= usable_cores() ? kDedicatedCores : kSharedCores; }

  static void* thread_main(void* argument) {
    auto* start = static_cast<Start*>(argument);
    ThreadTeam* team = start->team;
    const int worker = start->worker;
    delete start;
    const WaitPolicy policy = team->policy();
    for (std::uint32_t seen = 0;;) {
      wait_while(team->job_, seen, policy, [] {});
      ++seen;
      if (team->dismissed_.load(std::memory_order_acquire)) {
        // The last to leave a half-built team frees nothing: the constructor still owns it.
        team->started_.fetch_sub(1, std::memory_order_release);
        team->started_.notify_all();
        return nullptr;
      }
      team->function_(team->context_, worker, team->workers_);
      if (team->left_.fetch_sub(1, std::memory_order_acq_rel) == 1) team->left_.notify_all();
    }
  }

  void dismiss() {
    dismissed_.store(true, std::memory_order_release);
    job_.fetch_add(1, std::memory_order_release);
    job_.notify_all();
    for (std::uint32_t n; (n = started_.load(std::memory_order_acquire)) != 0;) started_.wait(n);
  }

  const int workers_;
  std::atomic<std::uint32_t> started_{0};
  std::atomic<bool> dismissed_{false};
  TeamFunction function_ = nullptr;
  void* context_ = nullptr;
  alignas(64) std::atomic<std::uint32_t> job_{0};
  alignas(64) std::atomic<std::uint32_t> left_{0};
};

// Teams that no fit is using. Kept for the life of the process, so that partial_fit in a loop does not
// create threads (48 us each) for every call. A forked child has none of its parent's threads: it
// forgets the parent's teams and makes its own.
class TeamPool {
 public:
  static TeamPool& instance() {
    static TeamPool* pool = new TeamPool;  // never destroyed: detached workers refer to its teams
    return *pool;
  }

  ThreadTeam* take(int workers) {
    {
      const std::lock_guard lock(mutex_);
      for (auto it = idle_.begin(); it != idle_.end(); ++it) {
        if ((*it)->workers() == workers) {
          ThreadTeam* team = *it;
          idle_.erase(it);
          return team;
        }
      }
    }
    return new ThreadTeam(workers);
  }

  void give_back(ThreadTeam* team, std::uint64_t generation) {
    const std::lock_guard lock(mutex_);
    if (generation == generation_.load()) idle_.push_back(team);
  }

  std::uint64_t generation() const { return generation_.load(); }

 private:
  TeamPool() {
    pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                   [] {
                     instance().idle_.clear();
                     instance().generation_.fetch_add(1);
                     instance().mutex_.unlock();
                   });
  }

  std::mutex mutex_;
  std::vector<ThreadTeam*> idle_;
  std::atomic<std::uint64_t> generation_{0};
};

class ThreadExecutor final : public Executor {
 public:
  explicit ThreadExecutor(int workers)
      : generation_(TeamPool::instance().generation()), team_(TeamPool::instance().take(workers)) {}
  ~ThreadExecutor() override { TeamPool::instance().give_back(team_, generation_); }

  const char* name() const override { return "threads"; }

  int run(TeamFunction function, void* context, int) override {
    if (generation_ != TeamPool::instance().generation()) {
      generation_ = TeamPool::instance().generation();
      team_ = TeamPool::instance().take(team_->workers());
    }
    team_->run(function, context);
    return team_->workers();
  }

  int fork_join(TeamFunction function, void* context, int workers) override {
    std::vector<std::thread> threads;
    threads.reserve(static_cast<std::size_t>(workers));
    try {
      for (int w = 1; w < workers; ++w) threads.emplace_back(function, context, w, workers);
    } catch (const std::system_error&) {
      // Tiles belong to no worker, so a smaller team still does them all.
    }
    function(context, 0, workers);
    for (auto& thread : threads) thread.join();
    return static_cast<int>(threads.size()) + 1;
  }

 private:
  std::uint64_t generation_;
  ThreadTeam* team_;
};

}  // namespace

std::unique_ptr<Executor> make_thread_executor(int workers) {
  return std::make_unique<ThreadExecutor>(workers);
}

}  // namespace parmlp
