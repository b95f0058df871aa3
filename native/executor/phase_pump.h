// Runs a sequence of phases of independent tiles with the workers of one team.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "executor/executor.h"
#include "executor/wait.h"

namespace parmlp {

// For tiles that take long: whether to give up, asked between parts of the tile.
class StopCheck {
 public:
  virtual bool stop_asked(int worker) = 0;

 protected:
  ~StopCheck() = default;
};

// What is to be done: phases one after another, each a number of tiles that may run in any order.
class PhasedWork {
 public:
  virtual ~PhasedWork() = default;
  // Tiles of the phase now open; at least 1.
  virtual std::int64_t tiles() const = 0;
  // How many of a team's workers run the phase now open, at least 1; the others sleep.
  virtual int workers(int team) const { return team; }
  virtual void run_tile(std::int64_t tile, int worker, StopCheck& check) = 0;
  // Called by one worker when every tile of the open phase has run, while the others wait: opens the next.
  // Returns false when there is none.
  virtual bool advance() = 0;
};

// A phase ends when all its *tiles* are done, not when all workers have arrived: a worker that the
// system has taken off its core between tiles holds nobody up, and the others take its share. Each worker
// owns a range of a phase's tiles, the same every step, so that its weights stay in its cache; when that
// is empty it takes from the others.
class PhasePump final : public StopCheck {
 public:
  // poll(): called on worker 0 between tiles, at most every kPollInterval; true asks the run to stop.
  PhasePump(PhasedWork& work, int workers, WaitPolicy policy, std::function<bool()> poll);

  // A poll may wait for a busy interpreter's lock (5 ms); Ctrl-C is to be heard within 0.2 s.
  static constexpr std::chrono::milliseconds kPollInterval{50};

  // What every worker of the team calls. Returns when no phase is left, or soon after a stop.
  void work(int worker);

  // Polls now and then on worker 0.
  bool stop_asked(int worker) override;
  bool stopped() const { return stop_.load(std::memory_order_relaxed); }
  // Throws what a tile threw, if one did.
  void rethrow();
  // Tiles run by each worker.
  std::vector<std::int64_t> tiles_run() const;

 private:
  // The open phase, in one word: a worker that was off its core must not mix two phases.
  struct Opening {
    std::int64_t tiles;
    int workers;
  };
  static constexpr int kWorkerBits = 16;

  // One worker's tiles in the newest phase anyone took some from: phase number << 32 | next tile.
  struct alignas(64) Share {
    std::atomic<std::uint64_t> next{0};
    std::int64_t run = 0;
  };

  void open(std::uint32_t phase);
  void want(std::uint32_t workers);
  bool take(std::uint32_t phase, Opening opening, int owner, std::int64_t* tile);
  void run_tile(std::int64_t tile, int worker);

  void finish_phase(std::uint32_t phase);

  PhasedWork& work_;
  const int workers_;
  const WaitPolicy policy_;
  std::function<bool()> poll_;
  std::chrono::steady_clock::time_point next_poll_;
  std::chrono::steady_clock::time_point last_clock_{};
  int clock_stride_ = 1;    // calls of stop_asked(0) for one look at the clock
  int calls_to_clock_ = 0;  // until the next look
  std::unique_ptr<Share[]> shares_;
  alignas(64) std::atomic<std::uint32_t> phase_{1};
  std::atomic<std::int64_t> openings_[2];  // of the open phase, at its number's parity
  std::atomic<std::uint32_t> wanted_{0};   // workers of the open phase; the others wait for a change
  std::atomic<bool> finished_{false};
  alignas(64) std::atomic<std::int64_t> done_{0};
  alignas(64) std::atomic<bool> stop_{false};
  std::mutex error_mutex_;
  std::exception_ptr error_;
};

}  // namespace parmlp
