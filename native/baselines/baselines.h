// The implementations of the paper's authors, rebuilt to be timed beside the core: minibatch gradient descent
// that takes one example at a time. They share nothing with the core's step and kernels.
#pragma once

#include <functional>
#include <vector>

#include "network/functions.h"

namespace parmlp::baselines {

// One layer of parameters, in the caller's arrays: z = W^T a + b, a = f(z).
struct Layer {
  index_t n_in = 0;
  index_t n_out = 0;
  float* weights = nullptr;                     // W (n_in, n_out), row-major
  float* bias = nullptr;                        // b (n_out,)
  Activation activation = Activation::sigmoid;  // or identity
};

// One epoch over the rows order[0..rows) of x and y. All arrays are borrowed.
struct Epoch {
  std::vector<Layer> layers;
  const float* x = nullptr;  // (n, inputs), row-major
  const float* y = nullptr;  // (n, outputs), row-major
  const index_t* order = nullptr;
  index_t rows = 0;
  index_t batch_size = 1;
  double learning_rate = 0;
};

// Asked between minibatches; true ends the epoch there.
using Poll = std::function<bool()>;

// All return the epoch's loss, the mean over its rows of 1/2 ||y - a||^2 with their minibatch's weights, and
// update the parameters in place.

// "Naive Serial": plain loops on one thread.
double naive_serial(const Epoch& epoch, const Poll& poll);

// "Multicore Parallel": the same loops, each minibatch's examples split over POSIX threads that are created
// and joined for it, each with a gradient of its own; these are added up afterwards. Throws
// std::runtime_error where the system refuses a thread.
double naive_pthreads(const Epoch& epoch, int threads, const Poll& poll);

// The two BLAS routines, as SciPy hands them on: Fortran's, so every argument is a pointer, and matrices are
// column-major.
struct Blas {
  void (*sgemv)(char* trans, int* m, int* n, float* alpha, float* a, int* lda, float* x, int* incx,
                float* beta, float* y, int* incy);
  void (*sger)(int* m, int* n, float* alpha, float* x, int* incx, float* y, int* incy, float* a, int* lda);
};

// "Fast Serial" and "Fast Parallel": matrix-vector products and rank-1 updates by BLAS, one example at a
// time, on as many threads as the BLAS is set to.
double blas(const Epoch& epoch, const Blas& blas, const Poll& poll);

}  // namespace parmlp::baselines
