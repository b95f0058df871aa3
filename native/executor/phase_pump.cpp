#include "executor/phase_pump.h"

#include <algorithm>

namespace parmlp {

PhasePump::PhasePump(PhasedWork& work, int workers, WaitPolicy policy, std::function<bool()> poll)
    : work_(work),
      workers_(workers),
      policy_(policy),
      poll_(std::move(poll)),
      next_poll_(std::chrono::steady_clock::now() + kPollInterval),
      shares_(new Share[static_cast<std::size_t>(workers)]) {
  open(1);
}

void PhasePump::open(std::uint32_t phase) {
  const int workers = work_.workers(workers_);
  openings_[phase & 1].store(work_.tiles() << kWorkerBits | workers, std::memory_order_release);
  want(static_cast<std::uint32_t>(workers));
}

void PhasePump::want(std::uint32_t workers) {
  if (wanted_.load(std::memory_order_relaxed) == workers) return;
  wanted_.store(workers, std::memory_order_release);
  wanted_.notify_all();
}

// Takes a tile of `owner`'s share of `phase`. A share that still carries an older phase's number is
// untouched in this one, so nobody has to reset it.
bool PhasePump::take(std::uint32_t phase, Opening opening, int owner, std::int64_t* tile) {
  const std::int64_t begin = opening.tiles * owner / opening.workers;
  const std::int64_t end = opening.tiles * (owner + 1) / opening.workers;
  std::atomic<std::uint64_t>& next = shares_[static_cast<std::size_t>(owner)].next;
  std::uint64_t seen = next.load(std::memory_order_relaxed);
  for (;;) {
    const auto seen_phase = static_cast<std::uint32_t>(seen >> 32);
    // Serial numbers: a negative difference means that the share is already in a later phase.
    const auto age = static_cast<std::int32_t>(phase - seen_phase);
    if (age < 0) return false;
    const std::int64_t candidate = age == 0 ? static_cast<std::int64_t>(seen & 0xffffffffU) : begin;
    if (candidate >= end) return false;
    const std::uint64_t taken =
        (static_cast<std::uint64_t>(phase) << 32) | static_cast<std::uint64_t>(candidate + 1);
    if (next.compare_exchange_weak(seen, taken, std::memory_order_relaxed)) {
      *tile = candidate;
      return true;
    }
  }
}

void PhasePump::run_tile(std::int64_t tile, int worker) {
  if (stop_.load(std::memory_order_relaxed)) return;
  try {
    work_.run_tile(tile, worker, *this);
  } catch (...) {
    const std::lock_guard lock(error_mutex_);
    if (!error_) error_ = std::current_exception();
    stop_.store(true, std::memory_order_relaxed);
  }
}

bool PhasePump::stop_asked(int worker) {
  if (worker == 0 && poll_ && --calls_to_clock_ <= 0) {
    const auto now = std::chrono::steady_clock::now();
    // A tile may take 100 ns or as many milliseconds, and reading the clock takes 25 ns.
    constexpr std::chrono::microseconds kOften{200};
    clock_stride_ = now - last_clock_ < kOften ? std::min(2 * clock_stride_, 1024) : 1;
    calls_to_clock_ = clock_stride_;
    last_clock_ = now;
    if (now >= next_poll_) {
      next_poll_ = now + kPollInterval;
      if (poll_()) stop_.store(true, std::memory_order_relaxed);
    }
  }
  return stopped();
}

void PhasePump::finish_phase(std::uint32_t phase) {
  bool more = false;
  if (!stop_.load(std::memory_order_relaxed)) {
    try {
      more = work_.advance();
    } catch (...) {
      const std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
      stop_.store(true, std::memory_order_relaxed);
    }
  }
  done_.store(0, std::memory_order_relaxed);
  if (more) {
    open(phase + 1);
  } else {
    finished_.store(true, std::memory_order_relaxed);
  }
  phase_.store(phase + 1, std::memory_order_release);
  phase_.notify_all();
  if (!more) want(static_cast<std::uint32_t>(workers_));  // to leave
}

void PhasePump::work(int worker) {
  Share& own = shares_[static_cast<std::size_t>(worker)];
  for (;;) {
    const std::uint32_t phase = phase_.load(std::memory_order_acquire);
    if (finished_.load(std::memory_order_relaxed)) return;
    const std::int64_t word = openings_[phase & 1].load(std::memory_order_acquire);
    // A worker that was off its core may have read the word of a later phase.
    if (phase_.load(std::memory_order_relaxed) != phase) continue;
    const Opening opening{word >> kWorkerBits, static_cast<int>(word & ((1 << kWorkerBits) - 1))};
    if (worker >= opening.workers) {
      const std::uint32_t wanted = wanted_.load(std::memory_order_acquire);
      if (static_cast<std::uint32_t>(worker) >= wanted) {
        wait_while(wanted_, wanted, policy_, [] {});
      } else {
        wait_while(phase_, phase, policy_, [] {});
      }
      continue;
    }

    std::int64_t run = 0;
    for (int i = 0; i < opening.workers; ++i) {
      const int owner = worker + i < opening.workers ? worker + i : worker + i - opening.workers;
      for (std::int64_t tile; take(phase, opening, owner, &tile);) {
        run_tile(tile, worker);
        ++run;
        stop_asked(worker);
      }
    }
    own.run += run;
    if (run > 0 && done_.fetch_add(run, std::memory_order_acq_rel) + run == opening.tiles) {
      finish_phase(phase);
    } else {
      wait_while(phase_, phase, policy_, [&] { stop_asked(worker); });
    }
  }
}

void PhasePump::rethrow() {
  if (error_) std::rethrow_exception(error_);
}

std::vector<std::int64_t> PhasePump::tiles_run() const {
  std::vector<std::int64_t> run;
  for (int w = 0; w < workers_; ++w) run.push_back(shares_[static_cast<std::size_t>(w)].run);
  return run;
}

}  // namespace parmlp
