// The extension module parmlp._core. Only the code in this folder includes Python.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "bindings/signals.h"
#include "executor/executor.h"
#include "executor/thread_limit.h"
#include "kernels/dispatch.h"
#include "network/network.h"
#include "train/compress.h"
#include "train/epoch.h"
#include "train/legacy_shuffle.h"
#include "train/owned_mutex.h"
#include "train/team.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace parmlp {
namespace {

using AnyArray = nb::ndarray<nb::ro, nb::device::cpu>;

template <class T>
constexpr const char* dtype_name() {
  return sizeof(T) == 4 ? "float32" : "float64";
}

std::string shape_text(const std::vector<index_t>& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i) text += ", ";
    text += std::to_string(shape[i]);
  }
  text += shape.size() == 1 ? ",)" : ")";
  return text;
}

std::string dtype_text(const AnyArray& array) {
  const auto type = array.dtype();
  const bool integer = type.code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::Int);
  const bool real = type.code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float);
  const std::string bits = std::to_string(type.bits);
  return integer ? "int" + bits : real ? "float" + bits : "another dtype of " + bits + " bits";
}

// The data of an array that must have this dtype and shape (-1: any) and be C-contiguous.
template <class T>
const T* checked(const AnyArray& array, const char* what, const std::vector<index_t>& shape,
                 const char* dtype) {
  std::vector<index_t> actual;
  for (std::size_t i = 0; i < array.ndim(); ++i) actual.push_back(static_cast<index_t>(array.shape(i)));
  bool fits = actual.size() == shape.size();
  for (std::size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] < 0 || shape[i] == actual[i];
  if (!fits) {
    throw std::invalid_argument(std::string(what) + " has shape " + shape_text(actual) + " where " +
                                shape_text(shape) + " is needed");
  }
  if (array.dtype() != nb::dtype<T>()) {
    throw nb::type_error((std::string(what) + " must be " + dtype + ", got " + dtype_text(array)).c_str());
  }
  index_t stride = 1;
  for (std::size_t i = actual.size(); i-- > 0; stride *= actual[i]) {
    if (actual[i] > 1 && array.size() > 0 && array.stride(i) != stride) {
      throw std::invalid_argument(std::string(what) + " must be C-contiguous");
    }
  }
  if (reinterpret_cast<std::uintptr_t>(array.data()) % alignof(T) != 0) {
    throw std::invalid_argument(std::string(what) + " must be aligned to its elements; pass a copy");
  }
  return static_cast<const T*>(array.data());
}

template <class T>
nb::object new_array(const std::vector<std::size_t>& shape, T** data) {
  std::size_t size = 1;
  for (const std::size_t n : shape) size *= n;
  *data = new T[size];
  nb::capsule owner(*data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, T>(*data, shape.size(), shape.data(), owner));
}

// Tiles that do nothing but count, for testing executors and the pump.
class SelfCheck final : public PhasedWork {
 public:
  SelfCheck(index_t phases, index_t tiles, index_t failing_tile, bool vary_workers)
      : runs_(static_cast<std::size_t>(tiles)),
        phases_(phases),
        failing_tile_(failing_tile),
        vary_workers_(vary_workers) {}
  std::int64_t tiles() const override { return static_cast<std::int64_t>(runs_.size()); }
  // All, none but the first, half of them, for some phases each.
  int workers(int team) const override {
    if (!vary_workers_) return team;
    const int kinds[] = {team, 1, (team + 1) / 2};
    return kinds[phase_ / 7 % 3];
  }
  void run_tile(std::int64_t tile, int worker, StopCheck&) override {
    if (tile == failing_tile_) {
      throw std::runtime_error("tile " + std::to_string(tile) +
                               " failed, as the self-check was asked to, on worker " +
                               std::to_string(worker));
    }
    // Phases are separated by the pump, so a tile's count needs no lock: TSan checks just that.
    ++runs_[static_cast<std::size_t>(tile)];
  }
  bool advance() override {
    for (const std::int64_t runs : runs_) {
      if (runs != phase_ + 1) throw std::logic_error("a tile did not run exactly once in its phase");
    }
    return ++phase_ < phases_;
  }

 private:
  std::vector<std::int64_t> runs_;
  const index_t phases_;
  const index_t failing_tile_;
  const bool vary_workers_;
  index_t phase_ = 0;
};

class PyTeam {
 public:
  PyTeam(const std::string& engine, int n_threads, std::optional<nb::capsule> openmp_team) {
    if (n_threads < 1) {
      throw std::invalid_argument("n_threads must be at least 1, got " + std::to_string(n_threads));
    }
    if (engine == "serial") {
      if (n_threads != 1) {
        throw std::invalid_argument("engine 'serial' has one thread, got n_threads=" +
                                    std::to_string(n_threads));
      }
      team = std::make_unique<Team>(make_serial_executor(), 1);
    } else if (engine == "threads") {
      team = std::make_unique<Team>(make_thread_executor(n_threads), n_threads);
    } else if (engine == "openmp") {
      if (!openmp_team) {
        throw std::invalid_argument("engine 'openmp' needs parmlp._openmp.team_function()");
      }
      auto run_team = reinterpret_cast<RunTeam>(openmp_team->data("parmlp.team_function"));
      team = std::make_unique<Team>(make_openmp_executor(run_team), n_threads);
    } else {
      throw std::invalid_argument("unknown engine '" + engine + "'; known: serial, threads, openmp");
    }
  }

  std::vector<std::int64_t> self_check(index_t phases, index_t tiles, index_t failing_tile,
                                       bool fresh_threads, bool vary_workers) {
    if (phases < 1 || tiles < 1) throw std::invalid_argument("phases and tiles must be positive");
    const nb::gil_scoped_release release;
    SelfCheck work(phases, tiles, failing_tile, vary_workers);
    std::vector<std::int64_t> run;
    int workers = 0;
    team->run(work, fresh_threads, {}, run, workers);
    return run;
  }

  std::unique_ptr<Team> team;
};

// Sparse rows of either precision: scipy's CSR arrays, borrowed, or rows compressed here.
class PySparseRows {
 public:
  // Columns must ascend within each row, without duplicates.
  PySparseRows(const nb::object& starts, const nb::object& columns, const nb::object& values,
               index_t features)
      : kept_(nb::make_tuple(starts, columns, values)) {
    const auto starts_array = nb::cast<AnyArray>(starts);
    const auto columns_array = nb::cast<AnyArray>(columns);
    const auto values_array = nb::cast<AnyArray>(values);
    const index_t* start = checked<index_t>(starts_array, "indptr", {-1}, "int64");
    const auto rows = static_cast<index_t>(starts_array.size()) - 1;
    const auto entries = static_cast<index_t>(values_array.size());
    const int* column = checked<int>(columns_array, "indices", {entries}, "int32");
    if (rows < 0 || start[0] != 0 || start[rows] != entries || features < 1) {
      throw std::invalid_argument("indptr must run from 0 to the " + std::to_string(entries) +
                                  " entries, and there must be a feature");
    }
    for (index_t r = 0; r < rows; ++r) {
      if (start[r + 1] < start[r]) throw std::invalid_argument("indptr must not descend");
      for (index_t e = start[r]; e < start[r + 1]; ++e) {
        if (column[e] < 0 || column[e] >= features || (e > start[r] && column[e] <= column[e - 1])) {
          throw std::invalid_argument("indices must ascend within row " + std::to_string(r) +
                                      " and lie in 0 to " + std::to_string(features - 1) + ", got " +
                                      std::to_string(column[e]));
        }
      }
    }
    if (values_array.dtype() == nb::dtype<float>()) {
      rows_ = SparseRows<float>{rows, features, start, column,
                                checked<float>(values_array, "data", {entries}, "float32")};
    } else {
      rows_ = SparseRows<double>{rows, features, start, column,
                                 checked<double>(values_array, "data", {entries}, "float32 or float64")};
    }
  }

  template <class T>
  explicit PySparseRows(CompressedRows<T> compressed)
      : owned_(std::make_unique<CompressedRows<T>>(std::move(compressed))) {
    rows_ = std::get<std::unique_ptr<CompressedRows<T>>>(owned_)->view();
  }

  static PySparseRows* compress(const AnyArray& x, PyTeam& team) {
    if (x.dtype() == nb::dtype<float>()) return compress_as<float>(x, team);
    return compress_as<double>(x, team);
  }

  index_t rows() const {
    return std::visit([](const auto& rows) { return rows.rows; }, rows_);
  }
  index_t features() const {
    return std::visit([](const auto& rows) { return rows.features; }, rows_);
  }
  index_t entries() const {
    return std::visit([](const auto& rows) { return rows.starts[rows.rows]; }, rows_);
  }

  template <class T>
  const SparseRows<T>& checked_view(index_t features) const {
    const auto* view = std::get_if<SparseRows<T>>(&rows_);
    if (!view) throw nb::type_error((std::string("sparse X must be ") + dtype_name<T>()).c_str());
    if (view->features != features) {
      throw std::invalid_argument("sparse X has " + std::to_string(view->features) + " features where " +
                                  std::to_string(features) + " are needed");
    }
    return *view;
  }

 private:
  template <class T>
  static PySparseRows* compress_as(const AnyArray& x, PyTeam& team) {
    const T* data = checked<T>(x, "X", {-1, -1}, dtype_name<T>());
    const auto rows = static_cast<index_t>(x.shape(0)), features = static_cast<index_t>(x.shape(1));
    if (features < 1 || features > std::numeric_limits<int>::max()) {
      throw std::invalid_argument("X must have 1 to 2^31 - 1 features, got " + std::to_string(features));
    }
    const nb::gil_scoped_release release;
    return new PySparseRows(parmlp::compress(data, rows, features, *team.team));
  }

  nb::object kept_;
  std::variant<std::unique_ptr<CompressedRows<float>>, std::unique_ptr<CompressedRows<double>>> owned_;
  std::variant<SparseRows<float>, SparseRows<double>> rows_;
};

// The dense or sparse rows given as X.
template <class T>
Rows<T> checked_rows(const nb::object& x, index_t features, index_t* rows) {
  Rows<T> result;
  if (nb::isinstance<PySparseRows>(x)) {
    const auto& sparse = nb::cast<const PySparseRows&>(x);
    result.sparse = sparse.checked_view<T>(features);
    *rows = sparse.rows();
    return result;
  }
  AnyArray array;
  if (!nb::try_cast(x, array)) throw nb::type_error("X must be a NumPy array or SparseRows");
  result.dense = checked<T>(array, "X", {-1, features}, dtype_name<T>());
  *rows = static_cast<index_t>(array.shape(0));
  return result;
}

// One network of either precision.
class PyNetwork {
  template <class T>
  using Ptr = std::unique_ptr<Trainer<T>>;
  using AnyTrainer = std::variant<Ptr<float>, Ptr<double>>;

  template <class Visitor>
  auto visit(Visitor visitor) {
    return std::visit([&](auto& trainer) { return visitor(trainer->network); }, trainer_);
  }

  // Waits without the GIL: who holds the mutex trains, and polls for signals with the GIL.
  std::unique_lock<OwnedMutex> locked() {
    const nb::gil_scoped_release release;
    return std::unique_lock(mutex_);
  }

  // Runs work() with the GIL released; a signal's exception, if one came, is raised afterwards.
  template <class Work>
  auto run_without_gil(Work work) {
    auto result = [&] {
      const nb::gil_scoped_release release;
      const std::lock_guard lock(mutex_);
      return work();
    }();
    if (PyErr_Occurred()) throw nb::python_error();
    return result;
  }

 public:
  PyNetwork(const std::vector<index_t>& layer_units, const std::string& hidden_activation,
            const std::string& out_activation, const std::string& loss, const std::string& dtype,
            double leaky_relu_slope, const std::string& precision)
      : trainer_(
            make(layer_units, hidden_activation, out_activation, loss, dtype, leaky_relu_slope, precision)) {}

  std::string simd() const {
    return std::visit([](const auto& t) { return std::string(t->network.kernels().target); }, trainer_);
  }
  std::string dtype() const { return std::holds_alternative<Ptr<float>>(trainer_) ? "float32" : "float64"; }

  std::string precision() const {
    return std::visit([](const auto& t) { return t->network.bf16_kernels() ? "bf16" : "full"; }, trainer_);
  }

  void set_parameters(const std::vector<AnyArray>& coefs, const std::vector<AnyArray>& intercepts) {
    const auto lock = locked();
    visit([&]<class T>(Network<T>& n) { write(n, Network<T>::kParameters, coefs, intercepts); });
  }

  nb::object get_parameters() {
    const auto lock = locked();
    return visit([&]<class T>(Network<T>& n) { return read(n, Network<T>::kParameters); });
  }

  void set_solver(const std::string& solver, double alpha, double momentum, bool nesterov, double beta_1,
                  double beta_2, double epsilon, double weight_decay) {
    const auto lock = locked();
    const SolverSettings settings{solver_named(solver), alpha, momentum, nesterov, beta_1, beta_2, epsilon,
                                  weight_decay};
    visit([&]<class T>(Network<T>& n) { n.set_solver(settings); });
  }

  nb::dict get_optimizer_state() {
    const auto lock = locked();
    return visit([&]<class T>(Network<T>& n) {
      nb::dict state;
      nb::list moments;
      for (int i = 0; i < n.solver().moments(); ++i) moments.append(read(n, i));
      state["t"] = n.steps();
      state["moments"] = moments;
      return state;
    });
  }

  void set_optimizer_state(const nb::dict& state) {
    const auto lock = locked();
    visit([&]<class T>(Network<T>& n) {
      using Moments = std::vector<std::pair<std::vector<AnyArray>, std::vector<AnyArray>>>;
      Moments moments;
      index_t t = -1;
      if (!state.contains("t") || !nb::try_cast(state["t"], t) || t < 0) {
        throw std::invalid_argument("the optimizer state needs 't', a count of steps not below 0");
      }
      if (!state.contains("moments") || !nb::try_cast(state["moments"], moments)) {
        throw std::invalid_argument("the optimizer state needs 'moments', a list of (coefs, intercepts)");
      }
      if (static_cast<int>(moments.size()) != n.solver().moments()) {
        throw std::invalid_argument("the state has " + std::to_string(moments.size()) +
                                    " moments, this solver keeps " + std::to_string(n.solver().moments()));
      }
      // All are checked before the first is written.
      for (const auto& [coefs, intercepts] : moments) checked_layers(n, coefs, intercepts);
      for (std::size_t i = 0; i < moments.size(); ++i) {
        write(n, static_cast<int>(i), moments[i].first, moments[i].second);
      }
      n.set_steps(t);
    });
  }

  void remember(const std::string& slot) {
    const auto lock = locked();
    visit([&]<class T>(Network<T>& n) { n.remember(slot); });
  }
  void recall(const std::string& slot) {
    const auto lock = locked();
    visit([&]<class T>(Network<T>& n) { n.recall(slot); });
  }
  bool parameters_finite() {
    const auto lock = locked();
    return visit([&]<class T>(Network<T>& n) { return n.finite(); });
  }

  EpochResult train_epoch(PyTeam& team, const nb::object& x, const AnyArray& y, std::optional<AnyArray> order,
                          std::optional<AnyArray> sample_weight, index_t batch_size, double learning_rate,
                          const std::string& schedule, bool adaptive_workers, StepProfile* profile) {
    return std::visit(
        [&]<class T>(std::unique_ptr<Trainer<T>>& trainer) {
          const Samples<T> samples = checked_samples(trainer->network, x, y, sample_weight);
          if (samples.sparse.starts && trainer->network.bf16_kernels()) {
            throw std::invalid_argument(
                "precision 'bf16' trains dense X alone; pass X as a dense array, or use precision 'full'");
          }
          const index_t rows = y.ndim() > 0 ? static_cast<index_t>(y.shape(0)) : 0;
          if (batch_size < 1) {
            throw std::invalid_argument("batch_size must be at least 1, got " + std::to_string(batch_size));
          }
          EpochSettings settings{.batch_size = batch_size,
                                 .learning_rate = learning_rate,
                                 .adaptive_workers = adaptive_workers,
                                 .profile = profile};
          if (schedule == "partial-gradients" || schedule == "fork-join") {
            settings.schedule = Schedule::partial_gradients;
            settings.fork_join = schedule == "fork-join";
          } else if (schedule != "two-phase") {
            throw std::invalid_argument("unknown schedule '" + schedule +
                                        "'; known: two-phase, partial-gradients, fork-join");
          }
          std::vector<index_t> all;
          const index_t* ids = nullptr;
          index_t visited = rows;
          if (order) {
            ids = checked<index_t>(*order, "order", {-1}, "int64");
            visited = static_cast<index_t>(order->shape(0));
            const auto outside =
                std::find_if(ids, ids + visited, [&](index_t i) { return i < 0 || i >= rows; });
            if (outside != ids + visited) {
              throw std::invalid_argument("order holds " + std::to_string(*outside) + ", X has rows 0 to " +
                                          std::to_string(rows - 1));
            }
          } else {
            all.resize(static_cast<std::size_t>(rows));
            std::iota(all.begin(), all.end(), index_t{0});
            ids = all.data();
          }
          if (visited < 1) throw std::invalid_argument("an epoch needs at least one row, got none");
          const auto poll = signal_poll();
          return run_without_gil([&] {
            return parmlp::train_epoch(*trainer, *team.team, samples, ids, visited, settings, poll);
          });
        },
        trainer_);
  }

  nb::object predict(PyTeam& team, const nb::object& x) {
    return visit([&]<class T>(Network<T>& n) {
      const auto& units = n.description().layer_units;
      index_t rows = 0;
      const Rows<T> data = checked_rows<T>(x, units.front(), &rows);
      T* out = nullptr;
      nb::object result =
          new_array<T>({static_cast<std::size_t>(rows), static_cast<std::size_t>(units.back())}, &out);
      const auto poll = signal_poll();
      run_without_gil([&] { return parmlp::predict(n, *team.team, data, rows, out, poll); });
      return result;
    });
  }

 private:
  static AnyTrainer make(const std::vector<index_t>& layer_units, const std::string& hidden_activation,
                         const std::string& out_activation, const std::string& loss, const std::string& dtype,
                         double leaky_relu_slope, const std::string& precision) {
    const NetworkDescription d{layer_units, activation_named(hidden_activation),
                               activation_named(out_activation), loss_named(loss), leaky_relu_slope};
    check(d);
    const Target target = current_target();
    if (precision == "bf16") {
      if (dtype != "float32") {
        throw std::invalid_argument("precision 'bf16' needs dtype 'float32', got '" + dtype + "'");
      }
      return std::make_unique<Trainer<float>>(d, kernels_for<float>(target), &bf16_kernels());
    }
    if (precision != "full") {
      throw std::invalid_argument("unknown precision '" + precision + "'; known: full, bf16");
    }
    if (dtype == "float32") return std::make_unique<Trainer<float>>(d, kernels_for<float>(target));
    if (dtype == "float64") return std::make_unique<Trainer<double>>(d, kernels_for<double>(target));
    throw std::invalid_argument("unknown dtype '" + dtype + "'; known: float32, float64");
  }

  template <class T>
  static Samples<T> checked_samples(Network<T>& n, const nb::object& x, const AnyArray& y,
                                    const std::optional<AnyArray>& sample_weight) {
    const auto& d = n.description();
    Samples<T> samples;
    index_t rows = 0;
    const Rows<T> input = checked_rows<T>(x, d.layer_units.front(), &rows);
    samples.x = input.dense;
    samples.sparse = input.sparse;
    if (y.ndim() == 1) {
      const bool one_of_many =
          d.loss == Loss::mse || (d.loss == Loss::log_loss && d.output == Activation::softmax);
      if (!one_of_many) {
        throw std::invalid_argument(
            "class indices need softmax log_loss or mse; give y of shape (n, outputs)");
      }
      samples.labels = checked<int>(y, "y", {rows}, "int32 class indices");
      const int classes = static_cast<int>(d.layer_units.back());
      const int* end = samples.labels + rows;
      const auto outside =
          std::find_if(samples.labels, end, [&](int label) { return label < 0 || label >= classes; });
      if (outside != end) {
        throw std::invalid_argument("y holds class " + std::to_string(*outside) + ", the network has " +
                                    std::to_string(classes) + " outputs");
      }
    } else {
      samples.y = checked<T>(y, "y", {rows, d.layer_units.back()}, dtype_name<T>());
    }
    if (sample_weight) {
      samples.sample_weight = checked<T>(*sample_weight, "sample_weight", {rows}, dtype_name<T>());
    }
    return samples;
  }

  // The data of every layer's weights and biases, all of the right shape and dtype.
  template <class T>
  static std::vector<std::pair<const T*, const T*>> checked_layers(const Network<T>& n,
                                                                   const std::vector<AnyArray>& coefs,
                                                                   const std::vector<AnyArray>& intercepts) {
    const auto layers = static_cast<std::size_t>(n.layers());
    if (coefs.size() != layers || intercepts.size() != layers) {
      throw std::invalid_argument("the network has " + std::to_string(layers) + " layers, got " +
                                  std::to_string(coefs.size()) + " coefs and " +
                                  std::to_string(intercepts.size()) + " intercepts");
    }
    const auto& d = n.description();
    std::vector<std::pair<const T*, const T*>> values;
    for (std::size_t l = 0; l < layers; ++l) {
      const auto layer = static_cast<index_t>(l);
      const std::string at = "[" + std::to_string(l) + "]";
      values.emplace_back(
          checked<T>(coefs[l], ("coefs" + at).c_str(), {d.units_in(layer), d.units_out(layer)},
                     dtype_name<T>()),
          checked<T>(intercepts[l], ("intercepts" + at).c_str(), {d.units_out(layer)}, dtype_name<T>()));
    }
    return values;
  }

  template <class T>
  static void write(Network<T>& n, int moment, const std::vector<AnyArray>& coefs,
                    const std::vector<AnyArray>& intercepts) {
    const auto values = checked_layers(n, coefs, intercepts);
    for (std::size_t l = 0; l < values.size(); ++l) {
      n.write(moment, static_cast<index_t>(l), values[l].first, values[l].second);
    }
  }

  template <class T>
  static nb::object read(const Network<T>& n, int moment) {
    nb::list coefs, intercepts;
    const auto& d = n.description();
    for (index_t l = 0; l < n.layers(); ++l) {
      const auto n_in = static_cast<std::size_t>(d.units_in(l));
      const auto n_out = static_cast<std::size_t>(d.units_out(l));
      T *weights = nullptr, *bias = nullptr;
      coefs.append(new_array<T>({n_in, n_out}, &weights));
      intercepts.append(new_array<T>({n_out}, &bias));
      n.read(moment, l, weights, bias);
    }
    return nb::make_tuple(coefs, intercepts);
  }

  AnyTrainer trainer_;
  OwnedMutex mutex_;  // two Python threads may share an estimator
};

using Mt19937Key = nb::ndarray<std::uint32_t, nb::shape<Mt19937::kWords>, nb::c_contig, nb::device::cpu>;
using RowOrder = nb::ndarray<std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// RandomState.shuffle on an index array, with its MT19937 state changed in place; returns the new position.
int shuffle_in_place(const Mt19937Key& key, int pos, const RowOrder& order) {
  if (pos < 0 || pos > Mt19937::kWords) {
    throw std::invalid_argument("pos must be 0 to 624, got " + std::to_string(pos));
  }
  const auto n = static_cast<index_t>(order.shape(0));
  if (n > (index_t{1} << 32)) {
    throw std::invalid_argument("at most 2^32 rows can be shuffled, got " + std::to_string(n));
  }
  const nb::gil_scoped_release release;
  Mt19937 random{key.data(), pos};
  shuffle_order(random, order.data(), n);
  return random.pos;
}

template <class T>
nb::object activate(const std::string& activation, const AnyArray& z, double slope) {
  const auto n = static_cast<index_t>(z.size());
  const T* in = checked<T>(z, "z", {n}, dtype_name<T>());
  T *values = nullptr, *derivatives = nullptr;
  nb::object a = new_array<T>({z.size()}, &values);
  nb::object d = new_array<T>({z.size()}, &derivatives);
  kernels_for<T>(current_target())
      .activate(activation_named(activation), static_cast<T>(slope), n, in, values, derivatives);
  return nb::make_tuple(a, d);
}

}  // namespace
}  // namespace parmlp

NB_MODULE(_core, m) {
  using namespace parmlp;
  m.doc() = "parmlp's native core: networks, the minibatch step and the engines that run it.";
  // An estimator that is alive when the interpreter exits is no leak worth a warning to its user.
  nb::set_leak_warnings(false);
  m.attr("compiler") = PARMLP_COMPILER;

  m.def("simd_targets", [] {
    std::vector<std::string> names;
    for (const Target target : available_targets()) names.emplace_back(name(target));
    return names;
  });
  m.def("simd_target", [] { return std::string(name(current_target())); });
  m.def(
      "set_simd_target", [](const std::string& wanted) { set_current_target(target_named(wanted)); },
      "name"_a);
  m.def("runs_bf16", &runs_bf16);
  m.def(
      "usable_cores",
      [](const std::optional<std::string>& root) { return root ? usable_cores(*root) : usable_cores(); },
      "root"_a = nb::none());
  m.def("thread_limit", &thread_limit);
  m.def("cgroup_cpu_quota", &cgroup_cpu_quota, "root"_a = "");
  m.def(
      "activate",
      [](const std::string& activation, const AnyArray& z, double slope) {
        return z.dtype() == nb::dtype<float>() ? activate<float>(activation, z, slope)
                                               : activate<double>(activation, z, slope);
      },
      "activation"_a, "z"_a, "leaky_relu_slope"_a = 0.01);

  m.def("shuffle_order", &shuffle_in_place, "key"_a.noconvert(), "pos"_a, "order"_a.noconvert());

  nb::class_<PyTeam>(m, "Team")
      .def(nb::init<const std::string&, int, std::optional<nb::capsule>>(), "engine"_a, "n_threads"_a,
           "openmp_team"_a = nb::none())
      .def_prop_ro("engine", [](const PyTeam& t) { return std::string(t.team->engine()); })
      .def_prop_ro("size", [](const PyTeam& t) { return t.team->workers(); })
      .def("self_check", &PyTeam::self_check, "phases"_a = 1, "tiles"_a = 1, "failing_tile"_a = -1,
           "fresh_threads"_a = false, "vary_workers"_a = false);

  nb::class_<WorkerChoice>(m, "WorkerChoice")
      .def(nb::init<int>(), "most"_a)
      .def_prop_ro("workers", &WorkerChoice::workers)
      .def("step_took", &WorkerChoice::step_took, "seconds"_a);

  nb::class_<PySparseRows>(m, "SparseRows")
      .def(nb::init<const nb::object&, const nb::object&, const nb::object&, index_t>(), "indptr"_a,
           "indices"_a, "data"_a, "n_features"_a)
      .def_static("compress", &PySparseRows::compress, "X"_a, "team"_a, nb::rv_policy::take_ownership)
      .def_prop_ro("n_rows", &PySparseRows::rows)
      .def_prop_ro("n_features", &PySparseRows::features)
      .def_prop_ro("n_entries", &PySparseRows::entries);

  nb::class_<StepProfile::PhaseTimes>(m, "PhaseTimes")
      .def_prop_ro("name", [](const StepProfile::PhaseTimes& t) { return name(t.phase.kind); })
      .def_prop_ro("layer", [](const StepProfile::PhaseTimes& t) { return t.phase.layer; })
      .def_ro("tiles", &StepProfile::PhaseTimes::tiles)
      .def_ro("seconds", &StepProfile::PhaseTimes::seconds)
      .def_ro("hand_over_seconds", &StepProfile::PhaseTimes::hand_over_seconds)
      .def_ro("work_seconds", &StepProfile::PhaseTimes::work_seconds);
  nb::class_<StepProfile>(m, "StepProfile")
      .def(nb::init<>())
      .def("clear", [](StepProfile& profile) { profile = {}; })
      .def_ro("steps", &StepProfile::steps)
      .def_ro("seconds", &StepProfile::seconds)
      .def_ro("between_seconds", &StepProfile::between_seconds)
      .def_ro("phases", &StepProfile::phases);

  nb::class_<EpochResult>(m, "EpochResult")
      .def_ro("loss", &EpochResult::loss)
      .def_ro("tiles", &EpochResult::tiles)
      .def_ro("workers", &EpochResult::workers)
      .def_ro("seconds", &EpochResult::seconds);

  nb::class_<PyNetwork>(m, "Network")
      .def(nb::init<const std::vector<index_t>&, const std::string&, const std::string&, const std::string&,
                    const std::string&, double, const std::string&>(),
           "layer_units"_a, "hidden_activation"_a, "out_activation"_a, "loss"_a, "dtype"_a,
           "leaky_relu_slope"_a = 0.01, "precision"_a = "full")
      .def_prop_ro("simd", &PyNetwork::simd)
      .def_prop_ro("dtype", &PyNetwork::dtype)
      .def_prop_ro("precision", &PyNetwork::precision)
      .def("set_parameters", &PyNetwork::set_parameters, "coefs"_a, "intercepts"_a)
      .def("get_parameters", &PyNetwork::get_parameters)
      .def("set_solver", &PyNetwork::set_solver, "solver"_a, nb::kw_only(), "alpha"_a, "momentum"_a,
           "nesterov"_a, "beta_1"_a, "beta_2"_a, "epsilon"_a, "weight_decay"_a)
      .def("get_optimizer_state", &PyNetwork::get_optimizer_state)
      .def("set_optimizer_state", &PyNetwork::set_optimizer_state, "state"_a)
      .def("remember", &PyNetwork::remember, "slot"_a)
      .def("recall", &PyNetwork::recall, "slot"_a)
      .def("parameters_finite", &PyNetwork::parameters_finite)
      .def("train_epoch", &PyNetwork::train_epoch, "team"_a, "X"_a, "y"_a, "order"_a.none(),
           "sample_weight"_a.none(), "batch_size"_a, "learning_rate"_a, "schedule"_a,
           "adaptive_workers"_a = true, "profile"_a = nb::none())
      .def("predict", &PyNetwork::predict, "team"_a, "X"_a);
}
