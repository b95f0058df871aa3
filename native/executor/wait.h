// Waiting for an atomic to change: spin a little, then sleep.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace parmlp {

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spinning hands a phase over in 40 to 110 ns where sleeping takes 5 to 50 us, so a team with a core for
// each worker spins through the usual imbalance of a phase. A team larger than the machine must not: the
// worker it waits for may need this very core (a pure spin barrier was seen to lose 5x).
struct WaitPolicy {
  std::chrono::nanoseconds spin;
};
constexpr WaitPolicy kDedicatedCores{std::chrono::microseconds(100)};
constexpr WaitPolicy kSharedCores{std::chrono::microseconds(2)};

// Returns when `value` is no longer `old`. on_spin() is called now and then while spinning.
template <class OnSpin>
void wait_while(const std::atomic<std::uint32_t>& value, std::uint32_t old, WaitPolicy policy,
                OnSpin on_spin) {
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    for (int i = 0; i < 64; ++i) {
      if (value.load(std::memory_order_acquire) != old) return;
      pause();
    }
    on_spin();
    if (std::chrono::steady_clock::now() - start > policy.spin) break;
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

}  // namespace parmlp
