// The extension module parmlp._baselines: the authors' implementations, for the study. A module of its own,
// so that nothing of it is loaded for training. parmlp.study.baselines checks what goes in.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "baselines/baselines.h"
#include "bindings/signals.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace parmlp::baselines {
namespace {

using Matrix = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Vector = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using ConstMatrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Order = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// Minibatches may take 10 us, and asking for signals takes the GIL, which may be busy.
constexpr std::chrono::milliseconds kPollInterval{50};

// Runs train(poll) without the GIL; an exception of a signal handler is raised afterwards.
template <class Train>
double run_without_gil(Train train) {
  Poll poll;
  if (const auto signal = signal_poll()) {
    poll = [signal, next = std::chrono::steady_clock::now() + kPollInterval]() mutable {
      if (std::chrono::steady_clock::now() < next) return false;
      next = std::chrono::steady_clock::now() + kPollInterval;
      return signal();
    };
  }
  const double loss = [&] {
    const nb::gil_scoped_release release;
    return train(poll);
  }();
  if (PyErr_Occurred()) throw nb::python_error();
  return loss;
}

// A function that Cython exports; the capsule's name is its declaration in C.
template <class Function>
Function exported(const nb::capsule& capsule, const std::string& declaration) {
  std::string name = capsule.name() ? capsule.name() : "(none)";
  const std::string cython_float = "__pyx_t_5scipy_6linalg_11cython_blas_s";
  for (auto at = name.find(cython_float); at != std::string::npos; at = name.find(cython_float)) {
    name.replace(at, cython_float.size(), "float");
  }
  if (name != declaration) {
    throw std::invalid_argument("SciPy's BLAS function is declared " + name + " where " + declaration +
                                " is needed; use a SciPy whose BLAS has 32-bit integers");
  }
  return reinterpret_cast<Function>(capsule.data());
}

// An epoch with the arrays it works on; those of `coefs` and `intercepts` are updated in place.
class PyEpoch {
 public:
  PyEpoch(std::vector<Matrix> coefs, std::vector<Vector> intercepts, ConstMatrix x, ConstMatrix y,
          Order order, index_t batch_size, double learning_rate, bool sigmoid_hidden, bool sigmoid_out)
      : coefs_(std::move(coefs)),
        intercepts_(std::move(intercepts)),
        x_(std::move(x)),
        y_(std::move(y)),
        order_(std::move(order)) {
    for (std::size_t l = 0; l < coefs_.size(); ++l) {
      const bool sigmoid = l + 1 < coefs_.size() ? sigmoid_hidden : sigmoid_out;
      epoch_.layers.push_back({.n_in = static_cast<index_t>(coefs_[l].shape(0)),
                               .n_out = static_cast<index_t>(coefs_[l].shape(1)),
                               .weights = coefs_[l].data(),
                               .bias = intercepts_[l].data(),
                               .activation = sigmoid ? Activation::sigmoid : Activation::identity});
    }
    epoch_.x = x_.data();
    epoch_.y = y_.data();
    epoch_.order = order_.data();
    epoch_.rows = static_cast<index_t>(order_.shape(0));
    epoch_.batch_size = batch_size;
    epoch_.learning_rate = learning_rate;
  }

  double naive_serial() const {
    return run_without_gil([&](const Poll& poll) { return baselines::naive_serial(epoch_, poll); });
  }

  double naive_pthreads(int threads) const {
    return run_without_gil(
        [&](const Poll& poll) { return baselines::naive_pthreads(epoch_, threads, poll); });
  }

  double blas(const nb::capsule& sgemv, const nb::capsule& sger) const {
    const Blas functions{
        .sgemv = exported<decltype(Blas::sgemv)>(
            sgemv,
            "void (char *, int *, int *, float *, float *, int *, float *, int *, float *, float *, int *)"),
        .sger = exported<decltype(Blas::sger)>(
            sger, "void (int *, int *, float *, float *, int *, float *, int *, float *, int *)"),
    };
    return run_without_gil([&](const Poll& poll) { return baselines::blas(epoch_, functions, poll); });
  }

 private:
  std::vector<Matrix> coefs_;
  std::vector<Vector> intercepts_;
  ConstMatrix x_;
  ConstMatrix y_;
  Order order_;
  Epoch epoch_;
};

}  // namespace
}  // namespace parmlp::baselines

NB_MODULE(_baselines, m) {
  using namespace parmlp;
  using namespace parmlp::baselines;
  m.doc() = "The implementations of the paper's authors, as parmlp.study.baselines offers them.";

  nb::class_<PyEpoch>(m, "Epoch")
      .def(nb::init<std::vector<Matrix>, std::vector<Vector>, ConstMatrix, ConstMatrix, Order, index_t,
                    double, bool, bool>(),
           "coefs"_a.noconvert(), "intercepts"_a.noconvert(), "X"_a.noconvert(), "y"_a.noconvert(),
           "order"_a.noconvert(), "batch_size"_a, "learning_rate"_a, "sigmoid_hidden"_a, "sigmoid_out"_a)
      .def("naive_serial", &PyEpoch::naive_serial)
      .def("naive_pthreads", &PyEpoch::naive_pthreads, "n_threads"_a)
      .def("blas", &PyEpoch::blas, "sgemv"_a, "sger"_a);
}
