// What a launch, a barrier and a read of shared memory cost, each by itself. ceilings.py compiles this as the
// engine compiles its kernels, and measures.

#include "cluster.cuh"

constexpr int kBlocks = PARMLP_CLUSTER_BLOCKS;
constexpr int kThreads = 256;  // of a block of rung 4

SHARED_BYTES(empty_launch, 0);
extern "C" __global__ void __launch_bounds__(kThreads) empty_launch(int* done) {
  if (done && threadIdx.x == 0) *done = 1;
}

SHARED_BYTES(block_barriers, 0);
extern "C" __global__ void __launch_bounds__(kThreads) block_barriers(int* done, int count) {
  for (int i = 0; i < count; ++i) __syncthreads();
  if (threadIdx.x == 0) done[blockIdx.x] = count;
}

SHARED_BYTES(cluster_barriers, 0);
extern "C" __global__ void __launch_bounds__(kThreads) cluster_barriers(int* done, int count) {
  for (int i = 0; i < count; ++i) cluster_sync<kBlocks>();
  if (threadIdx.x == 0) done[blockIdx.x] = count;
}

// Each thread reads 32 numbers a turn; a warp's 32 lie in 32 banks. volatile: each is read every time.
constexpr int kReads = 32;
constexpr int kNumbers = 2 * kThreads;

struct ReadStorage {
  float numbers[kNumbers];
};

SHARED_BYTES(shared_reads, sizeof(ReadStorage));
extern "C" __global__ void __launch_bounds__(kThreads) shared_reads(float* sums, int count) {
  auto& s = shared_storage<ReadStorage>();
  for (int i = threadIdx.x; i < kNumbers; i += kThreads) s.numbers[i] = 1;
  __syncthreads();
  const volatile float* const own = s.numbers + threadIdx.x;
  float sum[4] = {};
  for (int i = 0; i < count; ++i) {
#pragma unroll
    for (int k = 0; k < kReads; ++k) sum[k % 4] += own[k % 2 * kThreads];
  }
  sums[blockIdx.x * kThreads + threadIdx.x] = sum[0] + sum[1] + sum[2] + sum[3];
}
