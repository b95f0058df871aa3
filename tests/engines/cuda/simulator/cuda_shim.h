// Included before a kernel source when g++ compiles it: CUDA C++'s words, in terms of driver.cpp's fibers.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct uint3 {
  unsigned x, y, z;
};

// Where a fiber is; the rest of it is driver.cpp's.
struct SimulatedThread {
  uint3 thread, block, block_dim, grid_dim;
  unsigned cluster_rank, cluster_size;
};

// Defined in driver.cpp. Each may switch to another fiber.
extern "C" {
extern SimulatedThread* simulated_thread;
void simulated_syncthreads();
void simulated_syncwarp();
void simulated_cluster_sync();
// Hands the same `bytes` of every lane of the warp to every lane: all[lane * bytes].
const void* simulated_exchange(const void* mine, size_t bytes);
// The dynamic shared memory of a block of this cluster.
void* simulated_shared(unsigned cluster_rank);
// cp.async: the copy happens at once or at the wait, as early or as late as the hardware may do it.
void simulated_copy_async(void* to, const void* from, size_t bytes, size_t source_bytes);
void simulated_commit();
void simulated_wait(unsigned groups_left);
}

#define threadIdx (simulated_thread->thread)
#define blockIdx (simulated_thread->block)
#define blockDim (simulated_thread->block_dim)
#define gridDim (simulated_thread->grid_dim)

#define __syncthreads() simulated_syncthreads()
#define __syncwarp() simulated_syncwarp()

template <class T>
T __shfl_xor_sync(unsigned, T value, int lane_mask) {
  const unsigned lane = threadIdx.x % 32;
  return static_cast<const T*>(
      simulated_exchange(&value, sizeof(T)))[lane ^ static_cast<unsigned>(lane_mask)];
}

namespace simulated {

template <class... Args, size_t... I>
void call(void (*kernel)(Args...), void** args, std::index_sequence<I...>) {
  kernel(*static_cast<std::remove_const_t<Args>*>(args[I])...);
}

template <class... Args>
void call(void (*kernel)(Args...), void** args) {
  call(kernel, args, std::index_sequence_for<Args...>{});
}

template <class... Args>
size_t parameter_size(void (*)(Args...), size_t index) {
  const size_t sizes[] = {sizeof(Args)..., 0};
  return index < sizeof...(Args) ? sizes[index] : 0;
}

}  // namespace simulated

// Makes a kernel findable by cuModuleGetFunction.
#define SIMULATED_ENTRY(name)                                                           \
  extern "C" void simulated_entry_##name(void** args) { simulated::call(&name, args); } \
  extern "C" size_t simulated_parameter_##name(size_t i) { return simulated::parameter_size(&name, i); }
