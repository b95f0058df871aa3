// The last layer: softmax, deltas and losses, row by row.

namespace parmlp::PARMLP_TARGET {

// softmax over the first `units` of a padded row, in place. Lanes first, then the lanes in order: one
// order of summation on every target. Padding lanes are left at zero.
template <class T>
PARMLP_INLINE void softmax_row(T* row, index_t units) {
  constexpr int kLength = Simd<T>::kLength;
  T largest = row[0];
  for (index_t j = 1; j < units; ++j) largest = row[j] > largest ? row[j] : largest;
  Vec<T> lanes{};
  for (index_t j = 0; j < units; j += kLength) {
    const Vec<T> e = exp(load(row + j) - largest);
    const Vec<T> kept = lane_ids<T>() < static_cast<decltype(lane_ids<T>()[0] + 0)>(units - j) ? e : Vec<T>{};
    lanes += kept;
    store(row + j, kept);
  }
  T total = 0;
  for (int lane = 0; lane < kLength; ++lane) total += lanes[lane];
  for (index_t j = 0; j < units; j += kLength) store(row + j, load(row + j) / total);
}

template <class T>
static void softmax(T* out, index_t out_stride, index_t rows, index_t units) {
  for (index_t r = 0; r < rows; ++r) softmax_row(out + r * out_stride, units);
}

// Probabilities are kept away from 0 and 1 as scikit-learn does before the logarithm; NaN stays NaN.
template <class T>
PARMLP_INLINE double log_of_probability(T p) {
  constexpr T kLow = Simd<T>::kEpsilon;
  constexpr T kHigh = 1 - Simd<T>::kEpsilon;
  p = p < kLow ? kLow : p;
  p = p > kHigh ? kHigh : p;
  return __builtin_log(static_cast<double>(p));
}

// x log y with 0 log y = 0, as scipy.special.xlogy (NaN in y is not hidden by x = 0).
PARMLP_INLINE double xlogy(double x, double log_y) { return x == 0 && log_y == log_y ? 0.0 : x * log_y; }

template <class T>
PARMLP_INLINE double row_log_loss(const OutputDelta<T>& args, const T* a, const T* y, int label) {
  double loss = 0;
  if (args.activation == Activation::softmax) {
    if (!y) return -log_of_probability(a[label]);
    for (index_t j = 0; j < args.units; ++j) {
      loss -= xlogy(static_cast<double>(y[j]), log_of_probability(a[j]));
    }
    return loss;
  }
  for (index_t j = 0; j < args.units; ++j) {
    const T p = a[j] < Simd<T>::kEpsilon       ? Simd<T>::kEpsilon
                : a[j] > 1 - Simd<T>::kEpsilon ? 1 - Simd<T>::kEpsilon
                                               : a[j];
    loss -= xlogy(static_cast<double>(y[j]), __builtin_log(static_cast<double>(p))) +
            xlogy(static_cast<double>(1 - y[j]), __builtin_log(static_cast<double>(1 - p)));
  }
  return loss;
}

PARMLP_INLINE double poisson_term(double y, double a) { return xlogy(y, __builtin_log(y / a)) - y + a; }

template <class T>
static double output_delta(const OutputDelta<T>& args) {
  constexpr int kLength = Simd<T>::kLength;
  double total = 0;
  for (index_t r = 0; r < args.rows; ++r) {
    T* a = args.out + r * args.out_stride;
    const index_t id = args.row_ids[r];
    const T* y = args.y ? args.y + id * args.units : nullptr;
    const int label = args.y ? 0 : args.labels[id];
    const T weight = args.sample_weight ? args.sample_weight[id] : T(1);
    if (args.activation == Activation::softmax) softmax_row(a, args.units);
    Vec<T> squares{};
    for (index_t j = 0; j < args.units; j += kLength) {
      const index_t left = args.units - j;
      const auto lanes = lane_ids<T>();
      using Lane = decltype(lanes[0] + 0);
      Vec<T> target{};
      if (!y) {
        target = lanes == static_cast<Lane>(label - j) ? splat(T(1)) : Vec<T>{};
      } else if (left >= kLength) {
        target = load(y + j);
      } else {
        for (index_t lane = 0; lane < left; ++lane) target[lane] = y[j + lane];
      }
      const Vec<T> value = load(a + j);
      const Vec<T> kept =
          lanes < static_cast<Lane>(left < kLength ? left : kLength) ? value - target : Vec<T>{};
      squares = squares + kept * kept;
      Vec<T> d = kept;
      if (args.loss == Loss::mse && args.activation == Activation::sigmoid) {
        d = kept * Sigmoid{}.derivative(value, value);
      }
      if (args.sample_weight) d = d * weight;
      if (args.delta) store(args.delta + r * args.delta_stride + j, d);
      const index_t panel = args.layout.panel_of(j);
      const index_t column = args.layout.first_column(panel);
      store(args.delta_panels + column * args.panel_rows + (args.panel_row + r) * args.layout.width(panel) +
                (j - column),
            d);
    }
    double loss = 0;
    switch (args.loss) {
      case Loss::mse:
        loss = 0.5 * sum_lanes<T>(squares);
        break;
      case Loss::squared_error:
        loss = 0.5 * sum_lanes<T>(squares) / static_cast<double>(args.units);
        break;
      case Loss::log_loss:
        loss = row_log_loss(args, a, y, label);
        break;
      case Loss::poisson:
        for (index_t j = 0; j < args.units; ++j) {
          loss += poisson_term(static_cast<double>(y[j]), static_cast<double>(a[j]));
        }
        break;
    }
    total += args.sample_weight ? static_cast<double>(weight) * loss : loss;
  }
  return total;
}

}  // namespace parmlp::PARMLP_TARGET
