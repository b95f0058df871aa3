// A mutex that knows its owner: to lock it twice from one thread is an error, not a hang.
#pragma once

#include <atomic>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace parmlp {

// Training polls for signals, and a handler runs on the training thread: one that touches what is being
// trained would wait for itself for ever.
class OwnedMutex {
 public:
  void lock() {
    if (owner_.load(std::memory_order_relaxed) == std::this_thread::get_id()) {
      throw std::runtime_error(
          "this network or team is at work on this very thread (in a signal handler?); wait until fit "
          "returns");
    }
    mutex_.lock();
    owner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  }
  void unlock() {
    owner_.store({}, std::memory_order_relaxed);
    mutex_.unlock();
  }

 private:
  std::mutex mutex_;
  std::atomic<std::thread::id> owner_{};
};

}  // namespace parmlp
