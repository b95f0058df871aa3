#include "baselines/baselines.h"
#include "baselines/example.h"

namespace parmlp::baselines {
namespace {

// W (n_in, n_out) row-major is BLAS's column-major W^T (n_out, n_in). BLAS changes none of its inputs, though
// SciPy's declarations have no const.
struct BlasKernels {
  Blas blas;

  void add_product(const Layer& layer, const float* a, float* z) const { multiply('N', layer, a, 1.0f, z); }

  void product(const Layer& layer, const float* delta, float* below) const {
    multiply('T', layer, delta, 0.0f, below);
  }

  void add_outer_product(const Layer& layer, const float* a, const float* delta, float* gradient) const {
    int m = static_cast<int>(layer.n_out), n = static_cast<int>(layer.n_in), one = 1;
    float alpha = 1;
    blas.sger(&m, &n, &alpha, const_cast<float*>(delta), &one, const_cast<float*>(a), &one, gradient, &m);
  }

 private:
  // y <- op(W^T) x + beta y
  void multiply(char op, const Layer& layer, const float* x, float beta, float* y) const {
    int m = static_cast<int>(layer.n_out), n = static_cast<int>(layer.n_in), one = 1;
    float alpha = 1;
    blas.sgemv(&op, &m, &n, &alpha, layer.weights, &m, const_cast<float*>(x), &one, &beta, y, &one);
  }
};

}  // namespace

double blas(const Epoch& epoch, const Blas& blas, const Poll& poll) {
  const BlasKernels kernels{blas};
  Example example(epoch.layers);
  return descend(epoch, poll, [&](index_t first, index_t end, Gradient& gradient) {
    return add_examples(kernels, epoch, first, end, example, gradient);
  });
}

}  // namespace parmlp::baselines
