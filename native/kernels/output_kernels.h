// The last layer: softmax, deltas and losses, row by row.

namespace parmlp::PARMLP_TARGET {

// The first `count` lanes of a, the others of b.
template <class T>
PARMLP_INLINE Vec<T> first_lanes(index_t count, Vec<T> a, Vec<T> b) {
  const auto lanes = lane_ids<T>();
  return lanes < static_cast<decltype(lanes[0] + 0)>(count < Simd<T>::kLength ? count : Simd<T>::kLength) ? a
                                                                                                          : b;
}

// softmax over the first `units` of padded rows, in place. Lanes first, then the lanes in order: one order of
// summation on every target. Padding lanes are left at zero. Each pass goes over all rows, whose chains of
// dependent operations overlap.
template <class T>
static void softmax(T* out, index_t out_stride, index_t rows, index_t units) {
  constexpr int kLength = Simd<T>::kLength;
  for (index_t r = 0; r < rows; ++r) {
    T* const row = out + r * out_stride;
    const Vec<T> first = splat(row[0]);
    Vec<T> most = first;
    for (index_t j = 0; j < units; j += kLength) {
      const Vec<T> z = first_lanes<T>(units - j, load(row + j), first);
      most = z > most ? z : most;
    }
    T largest = most[0];
    for (int lane = 1; lane < kLength; ++lane) largest = most[lane] > largest ? most[lane] : largest;
    for (index_t j = 0; j < units; j += kLength) store(row + j, load(row + j) - largest);
  }
  for (index_t r = 0; r < rows; ++r) {
    T* const row = out + r * out_stride;
    for (index_t j = 0; j < units; j += kLength) {
      store(row + j, first_lanes<T>(units - j, exp(load(row + j)), Vec<T>{}));
    }
  }
  for (index_t r = 0; r < rows; ++r) {
    T* const row = out + r * out_stride;
    Vec<T> lanes{};
    for (index_t j = 0; j < units; j += kLength) lanes += load(row + j);
    T total = 0;
    for (int lane = 0; lane < kLength; ++lane) total += lanes[lane];
    for (index_t j = 0; j < units; j += kLength) store(row + j, load(row + j) / total);
  }
}

// Probabilities are kept away from 0 and 1 as scikit-learn does before the logarithm; NaN stays NaN.
template <class T>
PARMLP_INLINE double clip_probability(T p) {
  constexpr T kLow = Simd<T>::kEpsilon;
  constexpr T kHigh = 1 - Simd<T>::kEpsilon;
  p = p < kLow ? kLow : p;
  return static_cast<double>(p > kHigh ? kHigh : p);
}

// x log y with 0 log y = 0, as scipy.special.xlogy (NaN in y is not hidden by x = 0).
PARMLP_INLINE double xlogy(double x, double log_y) { return x == 0 && log_y == log_y ? 0.0 : x * log_y; }

// -log of the probability of each row's label, times its sample weight.
template <class T>
PARMLP_INLINE double log_loss_of_labels(const OutputDelta<T>& args) {
  constexpr int kLanes = Simd<double>::kLength;
  double loss = 0;
  for (index_t first = 0; first < args.rows; first += kLanes) {
    const index_t rows = args.rows - first < kLanes ? args.rows - first : kLanes;
    double p[kLanes] = {1, 1, 1, 1}, logs[kLanes];
    for (index_t r = 0; r < rows; ++r) {
      const T* const row = args.out + (first + r) * args.out_stride;
      p[r] = clip_probability(row[args.labels[args.row_ids[first + r]]]);
    }
    store(logs, log(load(p)));
    for (index_t r = 0; r < rows; ++r) {
      const index_t id = args.row_ids[first + r];
      loss -= static_cast<double>(args.sample_weight ? args.sample_weight[id] : T(1)) * logs[r];
    }
  }
  return loss;
}

// -sum y log a, and for sigmoid outputs also -sum (1 - y) log(1 - a).
template <class T>
PARMLP_INLINE double row_log_loss(const OutputDelta<T>& args, const T* a, const T* y) {
  constexpr int kLanes = Simd<double>::kLength;
  const bool binary = args.activation != Activation::softmax;
  double loss = 0;
  for (index_t first = 0; first < args.units; first += kLanes) {
    const index_t units = args.units - first < kLanes ? args.units - first : kLanes;
    double p[kLanes] = {1, 1, 1, 1}, q[kLanes] = {1, 1, 1, 1}, log_p[kLanes], log_q[kLanes];
    for (index_t j = 0; j < units; ++j) {
      p[j] = clip_probability(a[first + j]);
      q[j] = static_cast<double>(1 - static_cast<T>(p[j]));
    }
    store(log_p, log(load(p)));
    store(log_q, log(load(q)));
    for (index_t j = 0; j < units; ++j) {
      const double target = static_cast<double>(y[first + j]);
      loss -= xlogy(target, log_p[j]);
      if (binary) loss -= xlogy(static_cast<double>(1 - y[first + j]), log_q[j]);
    }
  }
  return loss;
}

PARMLP_INLINE double poisson_term(double y, double a) { return xlogy(y, __builtin_log(y / a)) - y + a; }

// The targets of one vector of units of one row.
template <class T>
PARMLP_INLINE Vec<T> load_targets(const T* y, int label, index_t first_unit, index_t units) {
  constexpr int kLength = Simd<T>::kLength;
  if (!y) {
    const auto lanes = lane_ids<T>();
    return lanes == static_cast<decltype(lanes[0] + 0)>(label - first_unit) ? splat(T(1)) : Vec<T>{};
  }
  if (units - first_unit >= kLength) return load(y + first_unit);
  Vec<T> target{};
  for (index_t lane = 0; lane < units - first_unit; ++lane) target[lane] = y[first_unit + lane];
  return target;
}

// value - target in the lanes of units that exist, 0 in the padding.
template <class T>
PARMLP_INLINE Vec<T> residual(Vec<T> value, Vec<T> target, index_t first_unit, index_t units) {
  return first_lanes<T>(units - first_unit, value - target, Vec<T>{});
}

// The deltas of all rows, and the squared residuals of all units, by lanes, where the loss is made of them.
template <class T, bool kSigmoidMse>
PARMLP_INLINE Vec<T> output_rows(const OutputDelta<T>& args) {
  constexpr int kLength = Simd<T>::kLength;
  // Locals: for all the compiler knows the stores could change args.
  const index_t units = args.units, out_stride = args.out_stride, delta_stride = args.delta_stride;
  const index_t* const row_ids = args.row_ids;
  const T *const targets = args.y, *const weights = args.sample_weight;
  const int* const labels = args.labels;
  const PanelLayout layout = args.layout;
  const T* a = args.out;
  T* delta_row = args.delta;
  Vec<T> squares{};
  for (index_t r = 0; r < args.rows; ++r) {
    const index_t id = row_ids[r];
    const T* const y = targets ? targets + id * units : nullptr;
    const int label = targets ? 0 : labels[id];
    const Vec<T> weight = splat(weights ? weights[id] : T(1));
    for (index_t panel = 0, j = 0; panel < layout.panels; ++panel) {
      const index_t width = layout.width(panel);
      T* out = args.delta_panels + j * args.panel_rows + (args.panel_row + r) * width;
      for (const index_t end = j + width; j < end; j += kLength, out += kLength) {
        const Vec<T> value = load(a + j);
        const Vec<T> difference = residual<T>(value, load_targets(y, label, j, units), j, units);
        Vec<T> delta = difference * weight;
        squares = fma(difference, delta, squares);
        if constexpr (kSigmoidMse) delta = delta * Sigmoid{}.derivative(value, value);
        store(out, delta);
        if (delta_row) store(delta_row + j, delta);
      }
    }
    a += out_stride;
    if (delta_row) delta_row += delta_stride;
  }
  return squares;
}

template <class T>
static double output_delta(const OutputDelta<T>& args) {
  if (args.activation == Activation::softmax) softmax(args.out, args.out_stride, args.rows, args.units);
  const Vec<T> squares = args.loss == Loss::mse && args.activation == Activation::sigmoid
                             ? output_rows<T, true>(args)
                             : output_rows<T, false>(args);
  if (args.loss == Loss::mse) return 0.5 * sum_lanes<T>(squares);
  if (args.loss == Loss::squared_error) return 0.5 * sum_lanes<T>(squares) / static_cast<double>(args.units);
  if (args.loss == Loss::log_loss && !args.y) return log_loss_of_labels(args);
  double total = 0;
  for (index_t r = 0; r < args.rows; ++r) {
    const index_t id = args.row_ids[r];
    const T* a = args.out + r * args.out_stride;
    const T* y = args.y + id * args.units;
    double loss = 0;
    if (args.loss == Loss::log_loss) loss = row_log_loss(args, a, y);
    if (args.loss == Loss::poisson) {
      for (index_t j = 0; j < args.units; ++j) {
        loss += poisson_term(static_cast<double>(y[j]), static_cast<double>(a[j]));
      }
    }
    total += static_cast<double>(args.sample_weight ? args.sample_weight[id] : T(1)) * loss;
  }
  return total;
}

}  // namespace parmlp::PARMLP_TARGET
