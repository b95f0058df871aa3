// Whether an array in the device's memory holds NaN or infinity: what scikit-learn asks of X.
#pragma once

#include "real.cuh"

constexpr int kFiniteThreads = 256;

// Sets found[0] where a number is NaN and found[1] where one is infinite. Threads that find one all write 1.
SHARED_BYTES(look_for_nonfinite, 0);
extern "C" __global__ void __launch_bounds__(kFiniteThreads)
    look_for_nonfinite(const real* values, long long count, int* found) {
  const long long stride = static_cast<long long>(gridDim.x) * kFiniteThreads;
  for (long long i = static_cast<long long>(blockIdx.x) * kFiniteThreads + threadIdx.x; i < count;
       i += stride) {
    const real value = values[i];
    if (value != value) {
      found[0] = 1;
    } else if (value - value != 0) {
      found[1] = 1;
    }
  }
}
