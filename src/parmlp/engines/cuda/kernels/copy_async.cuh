// Copies from global to shared memory that run beside the threads that ask for them (cp.async).
#pragma once

#include "real.cuh"

// Copies kBytes (4, 8 or 16, both places so aligned), or writes zeros where !exists.
template <int kBytes>
__device__ __forceinline__ void copy_async(void* to_shared, const void* from, bool exists) {
#ifdef PARMLP_SIMULATED
  simulated_copy_async(to_shared, from, kBytes, exists ? kBytes : 0);
#else
  const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(to_shared));
  const int bytes = exists ? kBytes : 0;
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from), "n"(kBytes), "r"(bytes)
                 : "memory");
  }
#endif
}

// Ends a group of this thread's copies.
__device__ __forceinline__ void copy_async_commit() {
#ifdef PARMLP_SIMULATED
  simulated_commit();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits for all of this thread's groups but the last kGroups. Other threads' copies take a barrier besides.
template <int kGroups>
__device__ __forceinline__ void copy_async_wait() {
#ifdef PARMLP_SIMULATED
  simulated_wait(kGroups);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
#endif
}
