// Thread-block clusters (compute capability 9.0): blocks that can read each other's shared memory. A cluster
// of one block is a plain block, on every device.
#pragma once

#include "real.cuh"

template <int kBlocks>
__device__ inline int cluster_rank() {
  if constexpr (kBlocks == 1) return 0;
#ifdef PARMLP_SIMULATED
  return static_cast<int>(simulated_thread->cluster_rank);
#else
  else {
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return static_cast<int>(rank);
  }
#endif
}

// A barrier of all threads of all blocks; what they wrote before it they all see after it.
template <int kBlocks>
__device__ inline void cluster_sync() {
  if constexpr (kBlocks == 1) {
    __syncthreads();
  } else {
#ifdef PARMLP_SIMULATED
    simulated_cluster_sync();
#else
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::
                     : "memory");
#endif
  }
}

// Where block `rank` of the cluster has what `own` points to in this block's shared memory.
template <int kBlocks, class T>
__device__ inline const T* of_block(const T* own, int rank) {
  if constexpr (kBlocks == 1) return own;
#ifdef PARMLP_SIMULATED
  const char* const base = static_cast<const char*>(simulated_shared(simulated_thread->cluster_rank));
  const auto offset = reinterpret_cast<const char*>(own) - base;
  return reinterpret_cast<const T*>(static_cast<const char*>(simulated_shared(static_cast<unsigned>(rank))) +
                                    offset);
#else
  else {
    const T* theirs;
    asm("mapa.u64 %0, %1, %2;" : "=l"(theirs) : "l"(own), "r"(rank));
    return theirs;
  }
#endif
}
